//! [`PeerPolicy`].

use std::{fmt, sync::Arc};

use crate::spiffe::{SpiffeId, TrustDomain};

/// Which verified peers to talk to.
#[derive(Clone)]
#[non_exhaustive]
pub enum PeerPolicy {
    /// Anybody with a certificate that verifies. Right when something behind TLS decides, by the peer's id.
    AnyTrusted,
    /// Anybody of a trust domain.
    TrustDomain(TrustDomain),
    /// Workloads of one namespace (Istio's form of ids).
    Namespace(TrustDomain, String),
    /// One of these ids.
    Ids(Vec<SpiffeId>),
    /// Whomever a function likes. It is called during handshakes and must not block.
    Custom(Arc<dyn Fn(&SpiffeId) -> bool + Send + Sync>),
}

impl PeerPolicy {
    /// Just this id.
    pub fn id(id: SpiffeId) -> Self {
        Self::Ids(vec![id])
    }

    /// Whether to talk to `id`.
    pub fn allows(&self, id: &SpiffeId) -> bool {
        match self {
            Self::AnyTrusted => true,
            Self::TrustDomain(trust_domain) => id.trust_domain() == trust_domain,
            Self::Namespace(trust_domain, namespace) => {
                id.trust_domain() == trust_domain && id.namespace() == Some(namespace)
            }
            Self::Ids(ids) => ids.contains(id),
            Self::Custom(likes) => likes(id),
        }
    }
}

impl fmt::Debug for PeerPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyTrusted => f.write_str("AnyTrusted"),
            Self::TrustDomain(t) => f.debug_tuple("TrustDomain").field(t).finish(),
            Self::Namespace(t, n) => f.debug_tuple("Namespace").field(t).field(n).finish(),
            Self::Ids(ids) => f.debug_tuple("Ids").field(ids).finish(),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::PeerPolicy;
    use crate::spiffe::{SpiffeId, TrustDomain};

    #[test]
    fn each_kind_decides_by_id() {
        let id = |s: &str| SpiffeId::parse(s).unwrap();
        let (a, b) = (id("spiffe://one/ns/x/sa/a"), id("spiffe://two/ns/x/sa/a"));
        let one = TrustDomain::parse("one").unwrap();
        let cases = [
            (PeerPolicy::AnyTrusted, true, true),
            (PeerPolicy::TrustDomain(one.clone()), true, false),
            (PeerPolicy::Namespace(one.clone(), "x".into()), true, false),
            (PeerPolicy::Namespace(one, "y".into()), false, false),
            (PeerPolicy::id(b.clone()), false, true),
            (PeerPolicy::Ids(vec![]), false, false),
            (PeerPolicy::Custom(Arc::new(|id| id.as_str().contains("one"))), true, false),
        ];
        for (policy, for_a, for_b) in cases {
            assert_eq!((policy.allows(&a), policy.allows(&b)), (for_a, for_b), "{policy:?}");
        }
    }
}
