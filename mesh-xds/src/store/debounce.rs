//! Gathering changes that come in bursts.
//!
//! A producer that changes a hundred objects in a second need not push a hundred times. What must not wait are endpoints:
//! each moment that one is missing or dead costs requests, and they are cheap to tell.
//!
//! - [`Debounce`]: when to flush; no IO, no clock.
//! - [`Debouncer`]: calls a function then, such as [`super::FilledViews::refresh`].
//! - [`DebouncedView`]: a view whose changes are gathered, endpoints at once.

mod driver;
mod view;

use std::time::{Duration, Instant};

pub use self::{
    driver::{DebounceStats, Debouncer},
    view::DebouncedView,
};

/// How long changes are gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebounceConfig {
    /// For so long nothing more must have come. Default 100 ms (Istio: `PILOT_DEBOUNCE_AFTER`).
    pub after: Duration,
    /// No change waits longer, whatever else comes. Default 10 s (Istio: `PILOT_DEBOUNCE_MAX`).
    pub max: Duration,
}

impl Default for DebounceConfig {
    fn default() -> Self {
        Self { after: Duration::from_millis(100), max: Duration::from_secs(10) }
    }
}

/// Decides when changes have settled.
///
/// ```
/// # use std::time::{Duration, Instant};
/// # use mesh_xds::store::{Debounce, DebounceConfig};
/// let mut debounce = Debounce::new(DebounceConfig::default());
/// let now = Instant::now();
/// debounce.mark(now);
/// let due = debounce.due().expect("something is waiting");
/// assert_eq!(due, now + Duration::from_millis(100));
/// assert_eq!(debounce.take(now), None);
/// assert_eq!(debounce.take(due), Some(Duration::from_millis(100)));
/// assert_eq!(debounce.due(), None);
/// ```
#[derive(Debug, Clone)]
pub struct Debounce {
    config: DebounceConfig,
    waiting: Option<Burst>,
}

/// Changes that wait.
#[derive(Debug, Clone, Copy)]
struct Burst {
    first: Instant,
    due: Instant,
}

impl Debounce {
    /// Nothing waits yet.
    #[must_use]
    pub fn new(config: DebounceConfig) -> Self {
        Self { config, waiting: None }
    }

    /// Something changed.
    pub fn mark(&mut self, now: Instant) {
        let Some(waiting) = &mut self.waiting else {
            self.waiting = Some(Burst { first: now, due: now + self.config.after.min(self.config.max) });
            return;
        };
        // One that is due is not put off any more.
        if waiting.due > now {
            waiting.due = (now + self.config.after).min(waiting.first + self.config.max);
        }
    }

    /// Something changed that must not wait. What waits already goes with it.
    pub fn mark_urgent(&mut self, now: Instant) {
        let first = self.waiting.map_or(now, |w| w.first);
        self.waiting = Some(Burst { first, due: now });
    }

    /// When [`Debounce::take`] should be called. `None` if nothing waits.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.waiting.map(|w| w.due)
    }

    /// If it is time, forgets what waits, and gives how long the first of it did.
    pub fn take(&mut self, now: Instant) -> Option<Duration> {
        let waiting = self.waiting.filter(|w| w.due <= now)?;
        self.waiting = None;
        Some(now.saturating_duration_since(waiting.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Marks at these milliseconds, `!` for an urgent one; gives when it was due, and that nothing was before.
    fn due(marks: &[(u64, bool)]) -> u64 {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let config = DebounceConfig { after: Duration::from_millis(100), max: Duration::from_secs(1) };
        let mut debounce = Debounce::new(config);
        for &(ms, urgent) in marks {
            if urgent { debounce.mark_urgent(at(ms)) } else { debounce.mark(at(ms)) }
        }
        let due = debounce.due().unwrap();
        assert_eq!(debounce.take(due - Duration::from_nanos(1)), None);
        let waited = debounce.take(due).unwrap();
        assert_eq!(waited, due - at(marks[0].0));
        assert_eq!((debounce.due(), debounce.take(due)), (None, None));
        (due - start).as_millis() as u64
    }

    #[test]
    fn waits_for_silence_but_not_for_ever() {
        assert_eq!(due(&[(5, false)]), 105);
        assert_eq!(due(&[(0, false), (60, false), (120, false)]), 220);
        let without_pause: Vec<_> = (0..30).map(|i| (i * 50, false)).collect();
        assert_eq!(due(&without_pause), 1000);
        assert_eq!(due(&[(0, false), (60, true)]), 60);
        assert_eq!(due(&[(0, false), (60, true), (61, false)]), 60);
        assert_eq!(due(&[(7, true)]), 7);
    }
}
