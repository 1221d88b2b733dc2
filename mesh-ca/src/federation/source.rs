//! [`FederatedSource`].

use std::sync::{Arc, Mutex, PoisonError};

use super::state::FederationWatch;
use crate::spiffe::{BundleSource, TrustBundles, TrustDomain};

/// The own trust domain's bundle and those of federated ones, each for its own domain. What the federation says of the own
/// trust domain is not asked.
#[derive(Debug)]
pub struct FederatedSource {
    trust_domain: TrustDomain,
    own: Arc<dyn BundleSource>,
    foreign: FederationWatch,
    made: Mutex<Option<Made>>,
}

/// What was put together last, and of what.
#[derive(Debug)]
struct Made {
    own: Arc<TrustBundles>,
    foreign: Arc<TrustBundles>,
    all: Arc<TrustBundles>,
}

impl FederatedSource {
    /// `own` speaks for `trust_domain`, `foreign` for all others.
    pub fn new(trust_domain: TrustDomain, own: Arc<dyn BundleSource>, foreign: FederationWatch) -> Self {
        Self { trust_domain, own, foreign, made: Mutex::new(None) }
    }
}

impl BundleSource for FederatedSource {
    fn bundles(&self) -> Arc<TrustBundles> {
        let (own, foreign) = (self.own.bundles(), self.foreign.bundles());
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref().filter(|m| Arc::ptr_eq(&m.own, &own) && Arc::ptr_eq(&m.foreign, &foreign)) {
            return Arc::clone(&made.all);
        }
        let mut all: TrustBundles =
            foreign.iter().filter(|b| *b.trust_domain() != self.trust_domain).cloned().collect();
        if let Some(bundle) = own.bundle(&self.trust_domain) {
            all.insert(bundle.clone());
        }
        let all = Arc::new(all);
        *made = Some(Made { own, foreign, all: Arc::clone(&all) });
        all
    }
}
