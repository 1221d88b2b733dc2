//! A suite that anyone's [`Authenticator`] can run in its tests. It panics with what is wrong.

#![allow(clippy::unwrap_used)] // a conformance suite reports by panicking

use std::time::{Duration, UNIX_EPOCH};

use super::{Authenticator, AuthnError, JoinTokenRecord, JoinTokenState, JoinTokenStore, RequestFacts};
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

/// Checks the contract of [`JoinTokenStore`]; it must be empty.
///
/// # Panics
/// When the contract is broken.
pub async fn check_join_token_store(store: &dyn JoinTokenStore) {
    let end = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let id = SpiffeId::parse("spiffe://example.org/conformance").unwrap();
    let record = |handle: &str, seconds| JoinTokenRecord::new(handle, [7; 32], id.clone(), end(seconds));
    let (a, b) = (record("AAAAAAAAAAAAAAAA", 100), record("-_AAAAAAAAAAAAAA", 200));
    assert_eq!(store.find(&a.handle).await.unwrap(), JoinTokenState::Unknown, "it is empty");
    assert!(!store.mark_used(&a.handle).await.unwrap(), "what is unknown has no use");
    for record in [&a, &b] {
        store.put(record).await.unwrap();
        assert_eq!(store.find(&record.handle).await.unwrap(), JoinTokenState::Unused(record.clone()));
    }
    let all = futures::future::join_all((0..8).map(|_| store.mark_used(&a.handle))).await;
    assert_eq!(all.into_iter().filter(|used| *used.as_ref().unwrap()).count(), 1, "one use for one caller");
    assert_eq!(store.find(&a.handle).await.unwrap(), JoinTokenState::Used);
    assert_eq!(store.find(&b.handle).await.unwrap(), JoinTokenState::Unused(b.clone()), "others are untouched");
    assert_eq!(store.forget_ended(end(99)).await.unwrap(), 2, "used ones are told from unknown ones until their end");
    assert_eq!(store.find(&a.handle).await.unwrap(), JoinTokenState::Used);
    assert_eq!(store.forget_ended(end(100)).await.unwrap(), 1);
    assert_eq!(store.find(&a.handle).await.unwrap(), JoinTokenState::Unknown);
    assert_eq!(store.forget_ended(end(200)).await.unwrap(), 0);
}
