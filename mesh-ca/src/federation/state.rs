//! [`FederationState`]: what is known of all foreign trust domains at one moment.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use crate::{
    spiffe::{BundleSource, SpiffeBundle, TrustBundles, TrustDomain},
    workload::BundleSet,
};

/// What is known of one foreign trust domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FederatedDomain {
    /// Its bundle in force; `None` before the first one and after the last one became too old.
    pub bundle: Option<Arc<SpiffeBundle>>,
    /// When its endpoint last confirmed it; `None` for a bundle to start with.
    pub confirmed_at: Option<SystemTime>,
    /// Polls that failed since then.
    pub failures: u32,
    /// Why the last one did.
    pub last_error: Option<Arc<str>>,
}

impl FederatedDomain {
    /// How long ago the bundle was confirmed.
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        now.duration_since(self.confirmed_at?).ok()
    }
}

/// All foreign trust domains that are followed. Published whole, never changed.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FederationState {
    /// By trust domain; each that is followed is there.
    pub domains: BTreeMap<TrustDomain, FederatedDomain>,
    /// The X.509 bundles in force.
    pub bundles: Arc<TrustBundles>,
}

impl FederationState {
    /// Sets what is known of a domain, and gives whether that is news.
    pub(super) fn set(&mut self, trust_domain: &TrustDomain, domain: FederatedDomain) -> bool {
        let before = self.domains.insert(trust_domain.clone(), domain);
        if before.as_ref() == self.domains.get(trust_domain) {
            return false;
        }
        let bundles: TrustBundles =
            self.domains.values().filter_map(|d| Some(d.bundle.as_ref()?.x509.clone())).collect();
        if *self.bundles != bundles {
            self.bundles = Arc::new(bundles);
        }
        true
    }

    /// These and the own bundle, as the Workload API takes them. The own trust domain is always by the own bundle.
    pub fn with_own(&self, own: SpiffeBundle) -> BundleSet {
        let foreign = self.domains.values().filter_map(|d| d.bundle.as_deref().cloned());
        foreign.collect::<BundleSet>().with(own)
    }
}

/// A cheap handle to what is known. Reading never waits.
#[derive(Debug, Clone)]
pub struct FederationWatch(watch::Receiver<Arc<FederationState>>);

impl FederationWatch {
    pub(super) fn new(states: watch::Receiver<Arc<FederationState>>) -> Self {
        Self(states)
    }

    /// The state of now.
    pub fn state(&self) -> Arc<FederationState> {
        Arc::clone(&self.0.borrow())
    }

    /// A receiver of all coming states.
    pub fn subscribe(&self) -> watch::Receiver<Arc<FederationState>> {
        self.0.clone()
    }

    /// Waits until `holds` says yes of a state, and gives that. `None` when the client was dropped before. Cancel safe.
    pub async fn wait_for(&self, mut holds: impl FnMut(&FederationState) -> bool) -> Option<Arc<FederationState>> {
        let mut states = self.0.clone();
        states.wait_for(|s| holds(s)).await.ok().map(|s| Arc::clone(&s))
    }
}

impl BundleSource for FederationWatch {
    fn bundles(&self) -> Arc<TrustBundles> {
        Arc::clone(&self.0.borrow().bundles)
    }
}
