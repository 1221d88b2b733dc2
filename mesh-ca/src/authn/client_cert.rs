//! [`ClientCertAuthenticator`].

use std::sync::Arc;

use async_trait::async_trait;

use super::{Authenticator, AuthnError, Identity, ProofKind, RequestFacts};
use crate::{
    clock::Clock,
    spiffe::{BundleSource, TrustDomain},
};

const KIND: &str = "client certificate";

/// A valid SVID of our trust domain may be renewed by its holder.
///
/// The certificates are verified again here, at the time of the call: a connection may outlive its certificate.
#[derive(Debug, Clone)]
pub struct ClientCertAuthenticator {
    trust_domain: TrustDomain,
    bundles: Arc<dyn BundleSource>,
    clock: Arc<dyn Clock>,
}

impl ClientCertAuthenticator {
    /// Accepts SVIDs of `trust_domain` that verify against `bundles`.
    pub fn new(trust_domain: TrustDomain, bundles: Arc<dyn BundleSource>, clock: Arc<dyn Clock>) -> Self {
        Self { trust_domain, bundles, clock }
    }
}

#[async_trait]
impl Authenticator for ClientCertAuthenticator {
    async fn authenticate(&self, facts: &RequestFacts) -> Result<Identity, AuthnError> {
        let Some((leaf, rest)) = facts.peer_certificates.split_first() else { return Err(AuthnError::NoProof(KIND)) };
        let refused = |reason: String| AuthnError::Refused { kind: KIND, reason };
        let seen = self
            .bundles
            .bundles()
            .verify(leaf, rest, self.clock.now().wall)
            .map_err(|broken| refused(broken.to_string()))?;
        if seen.id.trust_domain() != &self.trust_domain {
            return Err(refused(format!("{} is not of trust domain {}", seen.id, self.trust_domain)));
        }
        let subject = format!("{} serial {}", seen.id, seen.serial);
        Ok(Identity::new(seen.id, ProofKind::ClientCertificate, subject))
    }
}
