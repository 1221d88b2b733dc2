//! A suite that anyone's [`Authenticator`] can run in its tests. It panics with what is wrong.

use super::{Authenticator, AuthnError, RequestFacts};
use crate::spiffe::SpiffeId;

/// Checks the contract of [`Authenticator`]: `good` must be accepted as `id`, each of `bad` refused, no facts be
/// [`AuthnError::NoProof`], and no error show a token.
///
/// # Panics
/// When the contract is broken.
pub async fn check_authenticator(
    authenticator: &dyn Authenticator,
    good: &RequestFacts,
    id: &SpiffeId,
    bad: &[(&str, RequestFacts)],
) {
    let seen = authenticator.authenticate(good).await.unwrap_or_else(|e| panic!("the good proof is refused: {e}"));
    assert_eq!(seen.ids.as_slice(), std::slice::from_ref(id), "the good proof gives the id");
    let none = authenticator.authenticate(&RequestFacts::new()).await;
    assert!(matches!(none, Err(AuthnError::NoProof(_))), "no facts are no proof: {none:?}");
    for (name, facts) in bad {
        let refused = authenticator.authenticate(facts).await;
        assert!(matches!(refused, Err(AuthnError::Refused { .. })), "{name}: {refused:?}");
        let text = format!("{refused:?}");
        for token in &facts.bearer_tokens {
            let secret = token.expose().rsplit('.').next().unwrap_or_default();
            assert!(secret.len() < 8 || !text.contains(secret), "{name}: the error shows the token");
        }
    }
}
