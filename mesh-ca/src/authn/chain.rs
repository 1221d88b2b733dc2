//! [`AuthenticatorChain`].

use std::sync::Arc;

use async_trait::async_trait;

use super::{Authenticator, AuthnError, Identity, RequestFacts};

/// Asks several authenticators in order; the first who knows the caller decides, as in Istio.
///
/// When none does, the error names what each found. It is [`AuthnError::Unavailable`] if one of them could not judge,
/// [`AuthnError::NoProof`] only if all of them saw no proof.
#[derive(Debug, Clone)]
pub struct AuthenticatorChain {
    members: Vec<Arc<dyn Authenticator>>,
}

impl AuthenticatorChain {
    /// A chain of the given members. An empty one refuses everybody.
    pub fn new(members: impl IntoIterator<Item = Arc<dyn Authenticator>>) -> Self {
        Self { members: members.into_iter().collect() }
    }
}

const KIND: &str = "credential";

#[async_trait]
impl Authenticator for AuthenticatorChain {
    async fn authenticate(&self, facts: &RequestFacts) -> Result<Identity, AuthnError> {
        let mut refused = Vec::new();
        let mut unavailable = None;
        for member in &self.members {
            match member.authenticate(facts).await {
                Ok(identity) => return Ok(identity),
                Err(AuthnError::NoProof(_)) => {}
                Err(e @ AuthnError::Unavailable { .. }) => unavailable = Some(e),
                Err(e) => refused.push(e.to_string()),
            }
        }
        match unavailable {
            Some(e) => Err(e),
            None if refused.is_empty() => Err(AuthnError::NoProof(KIND)),
            None => Err(AuthnError::Refused { kind: KIND, reason: refused.join("; ") }),
        }
    }
}
