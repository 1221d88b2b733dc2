//! So many a second, in turn.

use std::time::{Duration, Instant};

/// How much may come at once, in time.
const BURST: Duration = Duration::from_secs(1);

/// Gives out points in time: a rate limiter for those who wait (the generic cell rate algorithm).
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    /// When the next one would come if all came evenly.
    next: Instant,
}

impl Pace {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Self { interval: BURST / per_second.max(1), next: now }
    }

    /// How long one that comes `now` has to wait for its turn, which is then taken. `None` if longer than `max_wait`:
    /// nothing is taken then.
    pub(super) fn reserve(&mut self, now: Instant, max_wait: Duration) -> Option<Duration> {
        let next = self.next.max(now);
        let ahead = (next + self.interval).saturating_duration_since(now);
        let wait = ahead.saturating_sub(BURST);
        if wait > max_wait {
            return None;
        }
        self.next = next + self.interval;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_evenly_then_no_more() {
        let start = Instant::now();
        let mut pace = Pace::new(4, start);
        let max = Duration::from_millis(600);
        let waits: Vec<_> = (0..7).map(|_| pace.reserve(start, max).map(|w| w.as_millis())).collect();
        assert_eq!(waits, [Some(0), Some(0), Some(0), Some(0), Some(250), Some(500), None]);
        // Who was refused took nobody's turn.
        let later = start + Duration::from_millis(500);
        assert_eq!(pace.reserve(later, max), Some(Duration::from_millis(250)));
        // Idle time is not saved up.
        let much_later = start + Duration::from_secs(100);
        let waits: Vec<_> = (0..5).map(|_| pace.reserve(much_later, max).map(|w| w.as_millis())).collect();
        assert_eq!(waits, [Some(0), Some(0), Some(0), Some(0), Some(250)]);
    }
}
