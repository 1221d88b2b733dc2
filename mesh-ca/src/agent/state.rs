//! [`IdentityState`] and its handle [`IdentityWatch`].

use std::{fmt, sync::Arc, time::SystemTime};

use tokio::sync::watch;

use super::rotator::RotationPhase;
use crate::{
    clock::Clock,
    spiffe::{BundleSource, TrustBundles, X509Svid},
};

/// What is in force for a workload at one moment. Published whole, never changed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IdentityState {
    /// The certificate and key to show; `None` before the first one and after the last one ended.
    pub svid: Option<Arc<X509Svid>>,
    /// Whom to believe.
    pub bundles: Arc<TrustBundles>,
    /// Where the rotation is.
    pub phase: RotationPhase,
    /// Certificates obtained so far; the first one counts.
    pub rotations: u64,
    /// Fetches that failed so far.
    pub failures: u64,
    /// Why the last fetch failed; `None` after one that did not. Holds no secrets.
    pub last_error: Option<Arc<str>>,
    /// When the certificate was obtained, on the wall clock.
    pub obtained_at: Option<SystemTime>,
}

impl IdentityState {
    /// Nothing but bundles.
    pub(super) fn empty(bundles: Arc<TrustBundles>) -> Self {
        Self {
            svid: None,
            bundles,
            phase: RotationPhase::NoCertificate,
            rotations: 0,
            failures: 0,
            last_error: None,
            obtained_at: None,
        }
    }

    /// Start of the certificate's validity.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.svid.as_ref().map(|s| s.not_before())
    }

    /// End of the certificate's validity.
    pub fn not_after(&self) -> Option<SystemTime> {
        self.svid.as_ref().map(|s| s.not_after())
    }
}

/// A cheap handle to the identity in force. Reading never waits.
#[derive(Clone)]
pub struct IdentityWatch {
    state: watch::Receiver<Arc<IdentityState>>,
    clock: Arc<dyn Clock>,
    /// Keeps a fixed state's channel open.
    _fixed: Option<Arc<watch::Sender<Arc<IdentityState>>>>,
}

impl IdentityWatch {
    pub(super) fn new(state: watch::Receiver<Arc<IdentityState>>, clock: Arc<dyn Clock>) -> Self {
        Self { state, clock, _fixed: None }
    }

    /// An identity that does not rotate, from files for example. It is not shown any more once it has ended.
    pub fn fixed(svid: Option<Arc<X509Svid>>, bundles: Arc<TrustBundles>, clock: Arc<dyn Clock>) -> Self {
        let mut state = IdentityState::empty(bundles);
        if let Some(svid) = &svid {
            state.phase = RotationPhase::Valid { renew_at: svid.not_after() };
            state.rotations = 1;
        }
        state.svid = svid;
        let (sender, receiver) = watch::channel(Arc::new(state));
        Self { state: receiver, clock, _fixed: Some(Arc::new(sender)) }
    }

    /// The state in force.
    pub fn state(&self) -> Arc<IdentityState> {
        Arc::clone(&self.state.borrow())
    }

    /// The certificate and key to show now: never one that has ended.
    pub fn svid(&self) -> Option<Arc<X509Svid>> {
        let now = self.clock.now().wall;
        self.state.borrow().svid.as_ref().filter(|s| now < s.not_after()).cloned()
    }

    /// A receiver of all coming states, for those who have to pass them on.
    pub fn subscribe(&self) -> watch::Receiver<Arc<IdentityState>> {
        self.state.clone()
    }

    /// Waits until there is a certificate to show. `None` when the rotation was stopped before. Cancel safe.
    pub async fn ready(&self) -> Option<Arc<X509Svid>> {
        let mut states = self.state.clone();
        loop {
            states.borrow_and_update();
            if let Some(svid) = self.svid() {
                return Some(svid);
            }
            states.changed().await.ok()?;
        }
    }

    /// The clock that expiry is judged by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

impl BundleSource for IdentityWatch {
    fn bundles(&self) -> Arc<TrustBundles> {
        Arc::clone(&self.state.borrow().bundles)
    }
}

impl fmt::Debug for IdentityWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityWatch").field("state", &self.state()).finish_non_exhaustive()
    }
}
