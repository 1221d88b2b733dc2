//! What is on its way to clients, in bytes.
//!
//! To compose a push costs little: resources are shared, and composing is done by as many threads as the runtime has. What
//! costs is what was encoded and has not left yet, for clients that each see something else; clients that are told the same
//! share the bytes, and are one here. So the bound is on bytes in memory, not on a number of pushes: ten thousand clients
//! of one view are nothing, a hundred views may be everything.
//!
//! ```text
//! push made ──► small, or on its way to another too? ──► queue ──► frame ──► socket has taken it: it has left
//!                 └ no ──► its turn, first come first served ─┘                           └─► turn given back
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Inner, Metrics, metrics::add};
use crate::protocol::Content;

/// Bounds of what is on its way, over all streams of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushLimits {
    /// Bytes of pushes handed to connections that have not left yet, each content once however many clients are told it. A
    /// larger push goes alone. Default 256 MiB (Istio bounds the number: `PILOT_PUSH_THROTTLE`).
    pub max_bytes_in_flight: usize,
    /// A push of fewer bytes neither waits nor counts. Default 64 KiB.
    pub small_push_bytes: usize,
    /// How long a push waits for its turn. Then it goes all the same: clients that do not read cost memory, and not
    /// others their configuration. Default 5 s.
    pub max_wait: Duration,
    /// How long a push may take to leave, once its turn has come: this, and [`PushLimits::min_bytes_per_second`]. Default
    /// 60 s. After it the client does not read: its stream ends and its connection is closed, as what was written for it
    /// cannot be had back otherwise.
    pub write_timeout: Duration,
    /// The slowest that a large push may leave. Default 32 KiB a second.
    pub min_bytes_per_second: u32,
}

impl Default for PushLimits {
    fn default() -> Self {
        Self {
            max_bytes_in_flight: 256 << 20,
            small_push_bytes: 64 << 10,
            max_wait: Duration::from_secs(5),
            write_timeout: Duration::from_secs(60),
            min_bytes_per_second: 32 << 10,
        }
    }
}

impl PushLimits {
    /// By when a push must have left that begins to leave `now`.
    pub(super) fn due(&self, bytes: usize, now: Instant) -> Instant {
        let seconds = bytes as u64 / u64::from(self.min_bytes_per_second.max(1));
        now + self.write_timeout + Duration::from_secs(seconds)
    }
}

/// Bytes of one unit of the budget.
const UNIT: usize = 1 << 10;

/// The budget of a server.
pub(super) struct Budget {
    units: Arc<Semaphore>,
    all: u32,
    /// By the address of a content, which whoever has a place keeps alive.
    places: Mutex<HashMap<usize, Place>>,
}

/// Where a content stands that more than one stream may tell.
enum Place {
    Held(Weak<Held>),
    Waiting(Weak<Coming>),
}

/// A turn that all wait for who are told the same.
pub(super) struct Coming(Shared<BoxFuture<'static, Hold>>);

/// A content's part of the budget, given back with the last push that has it.
#[derive(Clone)]
pub(super) struct Hold {
    _held: Arc<Held>,
}

struct Held {
    inner: Arc<Inner>,
    content: Arc<Content>,
    /// None if it was not waited for any longer.
    _units: Option<OwnedSemaphorePermit>,
}

/// Where a push stands: its turn has come, or it waits.
pub(super) enum Turn {
    /// It may go, and takes this along.
    Come(Option<Hold>),
    /// It waits, with all who are told the same. Kept, so that it does not lose its place.
    Waiting(Arc<Coming>),
}

impl Budget {
    pub(super) fn new(limits: &PushLimits) -> Self {
        let units = limits.max_bytes_in_flight.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS);
        let all = u32::try_from(units).unwrap_or(u32::MAX);
        Self { units: Arc::new(Semaphore::new(all as usize)), all, places: Mutex::default() }
    }
}

impl Place {
    /// A turn of it, unless everyone who had it is gone.
    fn turn(&self) -> Option<Turn> {
        match self {
            Self::Held(held) => held.upgrade().map(|held| Turn::Come(Some(Hold { _held: held }))),
            Self::Waiting(coming) => coming.upgrade().map(Turn::Waiting),
        }
    }

    /// Whether somebody has it. Unlike [`Place::turn`] it lets go of nothing, which would come back here.
    fn is_taken(&self) -> bool {
        match self {
            Self::Held(held) => held.strong_count() > 0,
            Self::Waiting(coming) => coming.strong_count() > 0,
        }
    }
}

fn address(content: &Arc<Content>) -> usize {
    Arc::as_ptr(content) as usize
}

impl Turn {
    /// For a push of this content.
    pub(super) fn of(inner: &Arc<Inner>, content: &Arc<Content>) -> Self {
        let bytes = content.bytes;
        if bytes < inner.limits.pushes.small_push_bytes {
            return Self::Come(None);
        }
        let Budget { units, all, places } = &inner.budget;
        let mut places = places.lock();
        if let Some(turn) = places.get(&address(content)).and_then(Place::turn) {
            return turn;
        }
        let wanted = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, *all);
        if let Ok(units) = units.clone().try_acquire_many_owned(wanted) {
            return Self::Come(Some(Hold::new(inner, content, Some(units), &mut places)));
        }
        // Those whose waiters all went away are not seen off by anyone.
        places.retain(|_, place| place.is_taken());
        let coming = Arc::new(Coming(wait(inner.clone(), content.clone(), wanted).boxed().shared()));
        places.insert(address(content), Place::Waiting(Arc::downgrade(&coming)));
        Self::Waiting(coming)
    }

    /// Whether it has not come yet.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }

    /// Waits until it has come. Cancel safe.
    pub(super) async fn come(&mut self) {
        if let Self::Waiting(coming) = self {
            let hold = coming.0.clone().await;
            *self = Self::Come(Some(hold));
        }
    }

    /// What the push takes along. Nothing if its turn has not come.
    pub(super) fn take(&mut self) -> Option<Hold> {
        match self {
            Self::Come(hold) => hold.take(),
            Self::Waiting(_) => None,
        }
    }
}

async fn wait(inner: Arc<Inner>, content: Arc<Content>, wanted: u32) -> Hold {
    let _counted = Waiting::new(&inner.metrics);
    let acquiring = inner.budget.units.clone().acquire_many_owned(wanted);
    let units = tokio::time::timeout(inner.limits.pushes.max_wait, acquiring).await;
    // Invariant: the semaphore is never closed.
    let units = units.ok().and_then(Result::ok);
    if units.is_none() {
        add(&inner.metrics.push_turns_skipped, 1);
    }
    Hold::new(&inner, &content, units, &mut inner.budget.places.lock())
}

impl Hold {
    fn new(
        inner: &Arc<Inner>,
        content: &Arc<Content>,
        units: Option<OwnedSemaphorePermit>,
        places: &mut HashMap<usize, Place>,
    ) -> Self {
        inner.metrics.push_bytes_in_flight.fetch_add(content.bytes as u64, Relaxed);
        let held = Arc::new(Held { inner: inner.clone(), content: content.clone(), _units: units });
        places.insert(address(content), Place::Held(Arc::downgrade(&held)));
        Self { _held: held }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.inner.metrics.push_bytes_in_flight.fetch_sub(self.content.bytes as u64, Relaxed);
        let mut places = self.inner.budget.places.lock();
        // Another may have taken the place between the last push and now.
        if places.get(&address(&self.content)).is_some_and(|place| !place.is_taken()) {
            places.remove(&address(&self.content));
        }
    }
}

/// Counts a push that waits.
struct Waiting<'a>(&'a Metrics);

impl<'a> Waiting<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.pushes_waiting.fetch_add(1, Relaxed);
        Self(metrics)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.pushes_waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
