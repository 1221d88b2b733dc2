//! [`BundlePublisher`].

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use tokio::sync::watch;

use crate::{clock::Clock, spiffe::SpiffeBundle};

/// Holds the own bundle as it is to be published, with a sequence number that grows with each change.
///
/// Numbers are seconds since 1970 at the time of the change, or one more than the last: they grow over restarts without
/// being kept anywhere (Trust_Domain_and_Bundle.md section 4.1.1). Several replicas that publish the same bundle should
/// agree on numbers instead: a bundle that comes with a number keeps it when it is larger than the last one.
#[derive(Debug)]
pub struct BundlePublisher {
    published: watch::Sender<Arc<SpiffeBundle>>,
    clock: Arc<dyn Clock>,
    refresh_hint: Duration,
}

impl BundlePublisher {
    /// Publishes `bundle`. A bundle without refresh hint gets `refresh_hint`: keys that come must have been published for
    /// 3 to 5 times that long before they are used (SPIFFE_Federation.md section 4.1).
    pub fn new(bundle: SpiffeBundle, refresh_hint: Duration, clock: Arc<dyn Clock>) -> Self {
        let now = clock.now().wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut bundle = bundle;
        bundle.sequence = bundle.sequence.or(Some(now));
        bundle.refresh_hint = bundle.refresh_hint.or(Some(refresh_hint));
        Self { published: watch::Sender::new(Arc::new(bundle)), clock, refresh_hint }
    }

    /// Publishes another bundle from now on. Nothing happens when it has the same keys as the one before.
    pub fn publish(&self, mut bundle: SpiffeBundle) {
        bundle.refresh_hint = bundle.refresh_hint.or(Some(self.refresh_hint));
        self.published.send_if_modified(|before| {
            let last = before.sequence.unwrap_or_default();
            let given = bundle.sequence.take().filter(|given| *given > last);
            let same = before.x509 == bundle.x509
                && before.jwt == bundle.jwt
                && before.refresh_hint == bundle.refresh_hint
                && given.is_none();
            if same {
                return false;
            }
            let now = self.clock.now().wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            bundle.sequence = given.or(Some(now.max(last.saturating_add(1))));
            *before = Arc::new(bundle.clone());
            true
        });
    }

    /// What is published, now and later.
    pub fn subscribe(&self) -> watch::Receiver<Arc<SpiffeBundle>> {
        self.published.subscribe()
    }
}
