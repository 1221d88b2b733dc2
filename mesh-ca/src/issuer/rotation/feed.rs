//! [`RotationFeed`]: what those who hand out bundles need of a rotating CA.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::watch;

use super::{
    holders::HolderTable,
    machine::RootId,
    root_ca::{Published, RotatingCa},
    supervisor::Supervision,
};
use crate::{
    agent::WorkloadIdentity,
    spiffe::{TrustBundle, X509Svid},
};

/// Both directions between a [`RotatingCa`] and a server that hands out its bundles and certificates: what workloads are to be
/// told, and what they have acknowledged. A cheap handle.
///
/// [`SdsServer`](crate::sds::SdsServer) and [`WorkloadApi`](crate::workload::WorkloadApi) take one, and the rotation waits for
/// their streams from then on. A workload that goes away counts until its certificate ends, or until it is back.
#[derive(Debug, Clone)]
pub struct RotationFeed {
    told: watch::Receiver<Arc<Published>>,
    holders: Arc<HolderTable>,
}

impl RotatingCa {
    /// A handle for servers of bundles and certificates.
    pub fn feed(&self) -> RotationFeed {
        RotationFeed { told: self.subscribe(), holders: Arc::clone(self.holders()) }
    }
}

impl RotationFeed {
    /// What workloads are to be told now.
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.told.borrow())
    }

    /// A receiver of what workloads are to be told, now and at each change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Published>> {
        self.told.clone()
    }

    /// Where acknowledgements go.
    pub fn holders(&self) -> &Arc<HolderTable> {
        &self.holders
    }

    /// As [`RotatingCa::follow`].
    pub fn follow(&self, identity: &WorkloadIdentity) -> Supervision {
        Supervision::follow(self, identity)
    }

    /// The number of the bundle that has just these roots, if that is what is published now.
    pub(crate) fn sequence_of(&self, bundle: &TrustBundle) -> Option<u64> {
        let published = self.told.borrow();
        same_roots(bundle, &published.bundle).then_some(published.sequence)
    }

    /// The root that a certificate of this CA ends at; `None` when it has signed no such one.
    pub(crate) fn root_of(&self, svid: &X509Svid, now: SystemTime) -> Option<RootId> {
        let issued = self.holders.leaf(svid.serial(), now).filter(|(id, ..)| id == svid.id());
        issued.map(|(_, root, _)| root).or_else(|| root_of(svid, &self.told.borrow().bundle))
    }
}

fn same_roots(a: &TrustBundle, b: &TrustBundle) -> bool {
    let within = |a: &TrustBundle, b: &TrustBundle| {
        a.roots().iter().all(|r| b.roots().iter().any(|o| o.certificate() == r.certificate()))
    };
    a.trust_domain() == b.trust_domain() && within(a, b) && within(b, a)
}

/// Which root a chain ends at shows when it is verified with that one alone.
pub(super) fn root_of(svid: &X509Svid, bundle: &TrustBundle) -> Option<RootId> {
    let ends_at = |root: &&crate::spiffe::TrustRoot| {
        let alone = TrustBundle::new(bundle.trust_domain().clone(), [root.certificate().clone()]);
        alone.is_ok_and(|alone| svid.verify(&alone, svid.not_before()).is_ok())
    };
    bundle.roots().iter().find(ends_at).map(|root| RootId::of(root.certificate()))
}
