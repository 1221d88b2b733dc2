//! [`Delivery`]: what a stream of the Workload API has handed out of a rotating CA.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::watch;

use crate::{
    issuer::rotation::{Published, RotationFeed, receivers::Receiving},
    spiffe::{TrustBundles, X509Svid},
};

/// The books of one stream.
#[derive(Debug)]
pub(super) struct Delivery {
    feed: RotationFeed,
    receiving: Receiving,
}

impl Delivery {
    pub(super) fn new(feed: RotationFeed, receiving: Receiving) -> Self {
        Self { feed, receiving }
    }

    /// A receiver that has seen what is published now.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Published>> {
        let mut told = self.feed.subscribe();
        told.mark_unchanged();
        told
    }

    /// These certificates are about to be sent: they may be in use from now on, besides those before them.
    pub(super) fn sending(&self, svids: &[Arc<X509Svid>], now: SystemTime) {
        let roots: Vec<_> = svids.iter().filter_map(|svid| self.feed.root_of(svid, now)).collect();
        let until = svids.iter().map(|svid| svid.not_after()).max();
        self.receiving.update(|held| {
            held.sequence = held.sequence.or(Some(0));
            held.roots.extend(roots);
            held.until = held.until.max(until);
        });
    }

    /// They were taken, in place of those before.
    pub(super) fn taken(&self, svids: &[Arc<X509Svid>], bundles: &TrustBundles, now: SystemTime) {
        let sequence = self.sequence(bundles);
        let roots = svids.iter().filter_map(|svid| self.feed.root_of(svid, now)).collect();
        let until = svids.iter().map(|svid| svid.not_after()).max();
        self.receiving.update(|held| {
            held.sequence = sequence.or(held.sequence);
            (held.roots, held.until) = (roots, until);
        });
    }

    /// Bundles alone were taken.
    pub(super) fn bundles_taken(&self, bundles: &TrustBundles) {
        let sequence = self.sequence(bundles);
        self.receiving.update(|held| held.sequence = sequence.or(held.sequence).or(Some(0)));
    }

    /// The number of the CA's bundle among these, if it is the one that is published.
    fn sequence(&self, bundles: &TrustBundles) -> Option<u64> {
        let published = self.feed.published();
        bundles.bundle(published.bundle.trust_domain()).and_then(|own| self.feed.sequence_of(own))
    }
}
