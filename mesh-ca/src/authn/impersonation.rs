//! [`Impersonation`]: who may ask in the name of others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use async_trait::async_trait;

use super::{AuthnError, Identity};
use crate::spiffe::{SpiffeId, TrustDomain};

const KIND: &str = "impersonation";

/// Decides whether a caller may have a certificate for another workload than itself: a node's proxy (Istio's ztunnel), for
/// the workloads on its node. Callers name that workload in the metadata `ImpersonatedIdentity`.
///
/// # Contract
/// - The caller has proven who it is; nothing is known of the workload but what this trait's implementation knows by itself.
/// - It may wait (for a scheduler's answer, say), within bounds of its own; it is cancel safe.
/// - [`AuthnError::Refused`] when the caller may not, [`AuthnError::Unavailable`] when that cannot be said now.
#[async_trait]
pub trait Impersonation: fmt::Debug + Send + Sync {
    /// Whether `caller` may ask for `workload`.
    ///
    /// # Errors
    /// When it may not, or nobody knows.
    async fn check(&self, caller: &Identity, workload: &SpiffeId) -> Result<(), AuthnError>;
}

/// Whom one node proxy may ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeProxyRule {
    /// Workloads by id.
    pub ids: BTreeSet<SpiffeId>,
    /// Every workload of these namespaces (Istio's form of ids) in the trust domain.
    pub namespaces: BTreeSet<(TrustDomain, String)>,
}

impl NodeProxyRule {
    /// For nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// For this workload too.
    #[must_use]
    pub fn with_id(mut self, id: SpiffeId) -> Self {
        self.ids.insert(id);
        self
    }

    /// For all workloads of a namespace too.
    #[must_use]
    pub fn with_namespace(mut self, trust_domain: TrustDomain, namespace: impl Into<String>) -> Self {
        self.namespaces.insert((trust_domain, namespace.into()));
        self
    }

    fn allows(&self, id: &SpiffeId) -> bool {
        let namespace = id.namespace().map(|n| (id.trust_domain().clone(), n.to_owned()));
        self.ids.contains(id) || namespace.is_some_and(|n| self.namespaces.contains(&n))
    }
}

/// An allow-list: node proxies by their own id, each with whom it may ask for.
#[derive(Debug, Clone, Default)]
pub struct NodeProxies {
    rules: BTreeMap<SpiffeId, NodeProxyRule>,
}

impl NodeProxies {
    /// These.
    pub fn new(rules: impl IntoIterator<Item = (SpiffeId, NodeProxyRule)>) -> Self {
        Self { rules: rules.into_iter().collect() }
    }
}

#[async_trait]
impl Impersonation for NodeProxies {
    async fn check(&self, caller: &Identity, workload: &SpiffeId) -> Result<(), AuthnError> {
        let refused = |reason: String| Err(AuthnError::Refused { kind: KIND, reason });
        let mut rules = caller.ids.iter().filter_map(|id| self.rules.get(id)).peekable();
        if rules.peek().is_none() {
            return refused("the caller is no node proxy".into());
        }
        if rules.any(|rule| rule.allows(workload)) {
            return Ok(());
        }
        refused(format!("the node proxy may not ask for {workload}"))
    }
}
