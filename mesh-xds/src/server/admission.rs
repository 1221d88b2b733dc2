//! Who may begin now. A start costs what a whole view costs; a running stream costs what changes. So starts take turns.

mod pace;
mod shed;

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::pace::Pace;
pub use self::shed::{NeverShed, ServerLoad, Shed, ShedImbalance};
use super::{Inner, metrics::add, stream::clock};
use crate::store::Refusal;

/// Bounds of starts: new streams, and single questions. Who finds no place in time is refused with `UNAVAILABLE`, and
/// tries again, elsewhere perhaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Clients that may be getting their view and first answer at a time. Default 64.
    pub max_starting: usize,
    /// After this time a start that still goes on no longer counts as one: a view that waits for configuration holds up
    /// nobody else. Default 5 s.
    pub max_start: Duration,
    /// Clients that may wait for their turn. Default 20 000.
    pub max_waiting: u64,
    /// How long a client may wait for its turn. Default 10 s.
    pub max_wait: Duration,
    /// Starts per second, after as many at once as come in a second. Default `None`: no bound
    /// (Istio: `PILOT_MAX_REQUESTS_PER_SECOND`).
    pub max_per_second: Option<u32>,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            max_starting: 64,
            max_start: Duration::from_secs(5),
            max_waiting: 20_000,
            max_wait: Duration::from_secs(10),
            max_per_second: None,
        }
    }
}

/// The turns of a server.
#[derive(Debug)]
pub(super) struct Admission {
    places: Arc<Semaphore>,
    pace: Option<Mutex<Pace>>,
}

/// A place among those that start. Given back when dropped.
pub(super) struct Starting {
    inner: Arc<Inner>,
    _place: OwnedSemaphorePermit,
}

impl Admission {
    pub(super) fn new(limits: &AdmissionLimits, now: Instant) -> Self {
        // A place fewer than one would let nobody in.
        let places = limits.max_starting.clamp(1, Semaphore::MAX_PERMITS);
        let pace = limits.max_per_second.map(|rate| Mutex::new(Pace::new(rate, now)));
        Self { places: Arc::new(Semaphore::new(places)), pace }
    }
}

/// Asks whether one more is welcome at all.
///
/// # Errors
/// If it is not.
pub(super) fn welcome(inner: &Inner) -> Result<(), Refusal> {
    match inner.shed.shed(&load(inner)) {
        None => Ok(()),
        Some(reason) => Err(turned_away(inner, reason)),
    }
}

/// Waits for a turn. Cancel safe.
///
/// # Errors
/// If there is none in time.
pub(super) async fn enter(inner: &Arc<Inner>) -> Result<Starting, Refusal> {
    let limits = &inner.limits.admission;
    let full = |what: &str| turned_away(inner, format!("{what}; try again, or another server"));
    let _waiting = Waiting::new(inner).ok_or_else(|| full("too many clients wait to start"))?;
    let deadline = tokio::time::Instant::now() + limits.max_wait;
    if let Some(pace) = &inner.admission.pace {
        let wait = pace.lock().reserve(clock(), limits.max_wait);
        tokio::time::sleep(wait.ok_or_else(|| full("too many clients start"))?).await;
    }
    let place = tokio::time::timeout_at(deadline, inner.admission.places.clone().acquire_owned()).await;
    // Invariant: the semaphore is never closed.
    let Ok(Ok(place)) = place else { return Err(full("too many clients start at a time")) };
    inner.metrics.streams_starting.fetch_add(1, Relaxed);
    Ok(Starting { inner: inner.clone(), _place: place })
}

/// Does a start's work, and keeps its place for as long as a start may take.
pub(super) async fn keep<T>(starting: Starting, work: impl Future<Output = T>) -> (T, Option<Starting>) {
    let mut work = pin!(work);
    match tokio::time::timeout(starting.inner.limits.admission.max_start, work.as_mut()).await {
        Ok(done) => (done, Some(starting)),
        Err(_) => {
            drop(starting);
            (work.await, None)
        }
    }
}

/// How much the server has to do.
pub(super) fn load(inner: &Inner) -> ServerLoad {
    let metrics = &inner.metrics;
    ServerLoad {
        streams: metrics.streams_open.load(Relaxed),
        starting: metrics.streams_starting.load(Relaxed),
        waiting: metrics.streams_waiting.load(Relaxed),
    }
}

fn turned_away(inner: &Inner, reason: String) -> Refusal {
    add(&inner.metrics.streams_shed, 1);
    Refusal::NotReady(reason)
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.inner.metrics.streams_starting.fetch_sub(1, Relaxed);
    }
}

/// Counts one that waits.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn new(inner: &'a Inner) -> Option<Self> {
        let waiting = inner.metrics.streams_waiting.fetch_add(1, Relaxed);
        let counted = Self(inner);
        (waiting < inner.limits.admission.max_waiting).then_some(counted)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.metrics.streams_waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
