//! [`Poller`]: when to ask for a foreign bundle, and what to take of the answers; without IO.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    clock::Now,
    fetch::FetchError,
    refresh::{PollAction, Schedule, ScheduleConfig},
    spiffe::{DocumentError, MAX_DOCUMENT_BYTES, SpiffeBundle, TrustDomain},
};

/// How foreign bundles are followed. Values out of range are brought into it by [`Poller::new`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FederationConfig {
    /// How often to ask when a bundle has no refresh hint. Default 5 minutes (SPIFFE_Federation.md section 4.1).
    pub default_interval: Duration,
    /// A shorter hint counts as this one, so that a foreign domain cannot make us ask without end. Default 10 seconds; at
    /// least 1.
    pub min_interval: Duration,
    /// A longer hint counts as this one, so that a foreign domain cannot keep a withdrawn key alive here. Default 1 day.
    pub max_interval: Duration,
    /// The first pause after a failure as long as there is no bundle at all; later ones double up to `default_interval`.
    /// With a bundle, the next try is at the next poll (section 6.2). Default 2 seconds; at least 100 milliseconds.
    pub retry_initial: Duration,
    /// How far intervals are shortened at random, so that followers do not ask together. Default 0.1; from 0 to 0.5.
    pub jitter: f64,
    /// How long one fetch may take, redirects included. Default 10 seconds.
    pub fetch_timeout: Duration,
    /// Most bytes of a document. Default, and at most, [`MAX_DOCUMENT_BYTES`].
    pub max_bytes: usize,
    /// A bundle that could not be confirmed for this long is withdrawn. Default never: an outage of the endpoint is then
    /// none of the workloads, and roots end by their own dates.
    pub max_age: Option<Duration>,
}

impl Default for FederationConfig {
    fn default() -> Self {
        Self {
            default_interval: Duration::from_secs(300),
            min_interval: Duration::from_secs(10),
            max_interval: Duration::from_secs(24 * 3600),
            retry_initial: Duration::from_secs(2),
            jitter: 0.1,
            fetch_timeout: Duration::from_secs(10),
            max_bytes: MAX_DOCUMENT_BYTES,
            max_age: None,
        }
    }
}

impl FederationConfig {
    pub(super) fn document_bytes(&self) -> usize {
        self.max_bytes.min(MAX_DOCUMENT_BYTES)
    }

    fn schedule(&self) -> ScheduleConfig {
        ScheduleConfig {
            default_interval: self.default_interval,
            min_interval: self.min_interval,
            max_interval: self.max_interval,
            retry_initial: self.retry_initial,
            patient: true,
            jitter: self.jitter,
            max_age: self.max_age,
        }
    }
}

/// Why a poll brought nothing. What was held stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FederationFailure {
    /// The document could not be fetched.
    #[error("bundle cannot be fetched: {0}")]
    Fetch(#[from] FetchError),
    /// The document cannot be used.
    #[error("bundle cannot be used: {0}")]
    Document(#[from] DocumentError),
    /// The document is older than the one held (Trust_Domain_and_Bundle.md section 4.1.1).
    #[error("sequence {got} is older than {held}, which is held; a replica may be behind")]
    SequenceWentBack {
        /// The one held.
        held: u64,
        /// The one that came.
        got: u64,
    },
    /// The server's trust domain is not known, so that it cannot be authenticated.
    #[error("there is no bundle for {0}, the trust domain of the endpoint's id")]
    NoEndpointBundle(TrustDomain),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Follows one trust domain. Does no IO and reads no clock.
///
/// An older document than the one held is not taken; one with the same number and other content is, since it may withdraw
/// a key. A document without a number counts as the newest (SPIFFE_Federation.md section 4.2).
#[derive(Debug)]
pub struct Poller {
    schedule: Schedule,
    held: Option<Arc<SpiffeBundle>>,
}

impl Poller {
    /// A machine that will ask at once.
    pub fn new(config: &FederationConfig, seed: u64) -> Self {
        Self { schedule: Schedule::new(config.schedule(), seed), held: None }
    }

    /// Starts with a bundle from elsewhere: the operator's, or one kept from before, with the time when that was fetched.
    pub fn start_with(&mut self, bundle: SpiffeBundle, confirmed: Option<Now>) {
        self.held = Some(Arc::new(bundle));
        self.schedule.start_with(confirmed);
    }

    /// What to do now.
    pub fn poll(&self, now: Now) -> PollAction {
        self.schedule.poll(now)
    }

    /// Asks at the next [`Poller::poll`], whatever is due.
    pub fn poll_now(&mut self) {
        self.schedule.poll_now();
    }

    /// A document came. Gives whether it is another than the one held.
    ///
    /// # Errors
    /// When it is older than the one held; that counts as a failure.
    pub fn obtained(&mut self, now: Now, bundle: SpiffeBundle) -> Result<bool, FederationFailure> {
        if let Some(held) = self.held.as_ref().and_then(|h| h.sequence)
            && let Some(got) = bundle.sequence.filter(|got| *got < held)
        {
            self.failed(now);
            return Err(FederationFailure::SequenceWentBack { held, got });
        }
        self.schedule.confirmed(now, bundle.refresh_hint);
        if self.held.as_deref() == Some(&bundle) {
            return Ok(false);
        }
        self.held = Some(Arc::new(bundle));
        Ok(true)
    }

    /// A fetch failed.
    pub fn failed(&mut self, now: Now) {
        self.schedule.failed(now);
    }

    /// The bundle in force; `None` before the first one, and when it has become too old.
    pub fn bundle(&self, now: Now) -> Option<&Arc<SpiffeBundle>> {
        self.held.as_ref().filter(|_| !self.schedule.is_too_old(now))
    }

    /// When the bundle held was last confirmed by its endpoint, on the wall clock.
    pub fn confirmed_at(&self) -> Option<SystemTime> {
        self.schedule.confirmed_at()
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.schedule.failures()
    }
}
