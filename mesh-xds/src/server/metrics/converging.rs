//! How long changes take to be everywhere.

use std::time::{Duration, Instant};

/// One stream's way from a change to the last answer.
#[derive(Debug, Default)]
pub(in crate::server) struct Converging {
    since: Option<Instant>,
    pushed: bool,
}

impl Converging {
    /// The view has changed. What is under way already goes on.
    pub(in crate::server) fn changed(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// It concerned this stream.
    pub(in crate::server) fn pushed(&mut self) {
        self.pushed = true;
    }

    /// Nothing is unsent or unanswered. Gives how long a change took, if there was one for this stream.
    pub(in crate::server) fn settled(&mut self, now: Instant) -> Option<Duration> {
        let pushed = std::mem::take(&mut self.pushed);
        self.since.take().filter(|_| pushed).map(|since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_the_first_change_to_the_last_answer() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut stream = Converging::default();
        // The first answers are to no change.
        stream.pushed();
        assert_eq!(stream.settled(at(1)), None);
        stream.changed(at(2));
        stream.pushed();
        stream.changed(at(3));
        assert_eq!(stream.settled(at(7)), Some(Duration::from_secs(5)));
        // A change of something else.
        stream.changed(at(8));
        assert_eq!(stream.settled(at(8)), None);
    }
}
