//! A function that is called when changes have settled.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Debounce, DebounceConfig};

/// Calls a function when what was marked has settled. Cheap to clone. When the last clone is dropped, what waits is
/// flushed, and the task ends.
///
/// ```no_run
/// # use mesh_xds::store::{Attach, DebounceConfig, Debouncer, FilledViews, Refusal, View, ViewFiller};
/// # fn refresh<F: ViewFiller>(views: FilledViews<F>, only_endpoints_changed: bool) {
/// let debouncer = Debouncer::spawn(DebounceConfig::default(), move || {
///     views.refresh();
/// });
/// // Whenever what the filler reads has changed:
/// if only_endpoints_changed { debouncer.mark_urgent() } else { debouncer.mark() }
/// # }
/// ```
#[derive(Clone)]
pub struct Debouncer {
    handle: Arc<Handle>,
}

/// What a debouncer has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DebounceStats {
    /// Changes that were marked.
    pub marks: u64,
    /// Calls of the function.
    pub flushes: u64,
    /// How long the first change of each flush has waited, added up (by [`DebounceStats::flushes`], Istio's
    /// `pilot_debounce_time` on average).
    pub waited: Duration,
}

/// Ends the task with its last clone.
struct Handle(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    debounce: Debounce,
    stats: DebounceStats,
    closed: bool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.change(|state| state.closed = true);
    }
}

impl fmt::Debug for Debouncer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Debouncer").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Debouncer {
    /// Starts the task. `flush` runs where blocking is allowed, never twice at a time; what is marked while it runs waits
    /// for another call. If it panics, the task ends. To be called within a tokio runtime.
    pub fn spawn(config: DebounceConfig, flush: impl FnMut() + Send + 'static) -> Self {
        let state = State { debounce: Debounce::new(config), stats: DebounceStats::default(), closed: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Notify::new() });
        tokio::spawn(run(shared.clone(), flush));
        Self { handle: Arc::new(Handle(shared)) }
    }

    /// Something changed. Does not block.
    pub fn mark(&self) {
        self.handle.0.change(|state| {
            state.stats.marks += 1;
            state.debounce.mark(now());
        });
    }

    /// Something changed that must not wait, such as endpoints. What waits already goes with it. Does not block.
    pub fn mark_urgent(&self) {
        self.handle.0.change(|state| {
            state.stats.marks += 1;
            state.debounce.mark_urgent(now());
        });
    }

    /// What has been done so far.
    #[must_use]
    pub fn stats(&self) -> DebounceStats {
        self.handle.0.state.lock().stats
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.wake.notify_one();
    }

    /// Whether to flush now, else until when to wait at most; `None` if nothing is left to do.
    fn next(&self) -> Option<Next> {
        let state = &mut *self.state.lock();
        let now = now();
        if state.closed {
            state.debounce.due()?;
            state.debounce.mark_urgent(now);
        }
        Some(match state.debounce.take(now) {
            None => Next::Wait(state.debounce.due()),
            Some(waited) => {
                state.stats.flushes += 1;
                state.stats.waited += waited;
                Next::Flush
            }
        })
    }
}

enum Next {
    Flush,
    Wait(Option<Instant>),
}

async fn run(shared: Arc<Shared>, mut flush: impl FnMut() + Send + 'static) {
    while let Some(next) = shared.next() {
        match next {
            Next::Flush => {
                let flushing = tokio::task::spawn_blocking(move || {
                    flush();
                    flush
                });
                // A function that panicked has printed why.
                let Ok(again) = flushing.await else { return };
                flush = again;
            }
            Next::Wait(None) => shared.wake.notified().await,
            Next::Wait(Some(due)) => {
                let _ = tokio::time::timeout_at(due.into(), shared.wake.notified()).await;
            }
        }
    }
}

/// The runtime's clock, which a test may drive.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    /// A debouncer, and when it flushed.
    fn debouncer() -> (Debouncer, mpsc::UnboundedReceiver<Instant>) {
        let (sender, flushes) = mpsc::unbounded_channel();
        let clock = tokio::runtime::Handle::current();
        let debouncer = Debouncer::spawn(DebounceConfig::default(), move || {
            let _within = clock.enter();
            let _ = sender.send(now());
        });
        (debouncer, flushes)
    }

    /// The runtime's timers have a grain of a millisecond.
    fn about(time: Duration, expected: u64) {
        let expected = Duration::from_millis(expected);
        assert!(time >= expected && time < expected + Duration::from_millis(3), "{time:?}, expected {expected:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_one_flush_and_an_urgent_mark_does_not_wait() {
        let (debouncer, mut flushes) = debouncer();
        let start = now();
        for _ in 0..3 {
            debouncer.mark();
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        about(flushes.recv().await.unwrap() - start, 220);
        let start = now();
        debouncer.mark();
        tokio::time::sleep(Duration::from_millis(50)).await;
        debouncer.mark_urgent();
        about(flushes.recv().await.unwrap() - start, 50);
        let stats = debouncer.stats();
        assert_eq!((stats.marks, stats.flushes), (5, 2));
        about(stats.waited, 270);
    }

    #[tokio::test(start_paused = true)]
    async fn no_change_waits_longer_than_it_may() {
        let (debouncer, mut flushes) = debouncer();
        let start = now();
        let marking = async {
            loop {
                debouncer.mark();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = marking => {}
            flushed = flushes.recv() => about(flushed.unwrap() - start, 10_000),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_flushed_at_the_end() {
        let (debouncer, mut flushes) = debouncer();
        let start = now();
        debouncer.clone().mark();
        drop(debouncer);
        about(flushes.recv().await.unwrap() - start, 0);
        assert_eq!(flushes.recv().await, None, "the task has ended");
    }
}
