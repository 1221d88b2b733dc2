//! [`Relationship`]: where the bundle of a foreign trust domain is found, and how its server is known.

use crate::{
    fetch::{HttpsUrl, WebRoots},
    spiffe::{SpiffeId, TrustBundle, TrustDomain},
};

/// How the server of a bundle is authenticated (SPIFFE_Federation.md section 5.2).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EndpointProfile {
    /// `https_web`: by the host in the URL, against public authorities (section 5.2.1).
    Web {
        /// The authorities; [`WebRoots::system`] are those of the operating system.
        roots: WebRoots,
    },
    /// `https_spiffe`: by SPIFFE id (section 5.2.2).
    Spiffe {
        /// Who the server must be.
        endpoint_id: SpiffeId,
        /// Whom to believe until the first bundle of the server's trust domain is fetched. May be `None` when another
        /// relationship brings that one (section 5.2.2.2).
        bootstrap: Option<TrustBundle>,
    },
}

/// The three parameters of section 5.1, configured explicitly, since a bundle does not name its trust domain.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Relationship {
    /// Whose bundle it is.
    pub trust_domain: TrustDomain,
    /// Where it is served.
    pub url: HttpsUrl,
    /// How the server is known.
    pub profile: EndpointProfile,
}

/// Parameters that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelationshipError {
    /// The bundle to start with is not of the server's trust domain.
    #[error("the bootstrap bundle is of {bundle}, but the endpoint's id is {endpoint}")]
    Bootstrap {
        /// The bundle's.
        bundle: TrustDomain,
        /// The server.
        endpoint: SpiffeId,
    },
}

impl Relationship {
    /// Follows `trust_domain` with the profile `https_web`.
    pub fn web(trust_domain: TrustDomain, url: HttpsUrl, roots: WebRoots) -> Self {
        Self { trust_domain, url, profile: EndpointProfile::Web { roots } }
    }

    /// Follows `trust_domain` with the profile `https_spiffe`.
    ///
    /// # Errors
    /// When `bootstrap` is of another trust domain than `endpoint_id`.
    pub fn spiffe(
        trust_domain: TrustDomain,
        url: HttpsUrl,
        endpoint_id: SpiffeId,
        bootstrap: Option<TrustBundle>,
    ) -> Result<Self, RelationshipError> {
        if let Some(bundle) = bootstrap.as_ref().map(TrustBundle::trust_domain)
            && bundle != endpoint_id.trust_domain()
        {
            return Err(RelationshipError::Bootstrap { bundle: bundle.clone(), endpoint: endpoint_id });
        }
        Ok(Self { trust_domain, url, profile: EndpointProfile::Spiffe { endpoint_id, bootstrap } })
    }

    /// The bundle to start with, when it is of the trust domain that is followed: a self-serving endpoint's.
    pub(super) fn own_bootstrap(&self) -> Option<&TrustBundle> {
        match &self.profile {
            EndpointProfile::Spiffe { bootstrap: Some(bundle), .. } if *bundle.trust_domain() == self.trust_domain => {
                Some(bundle)
            }
            _ => None,
        }
    }
}
