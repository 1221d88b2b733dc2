//! Which server is to be used: the first that can be reached (gRFC A71).
//!
//! ```text
//! ended(server, answered) ─┐                ┌─► start(): who is to be tried now
//! answered(server) ────────┼──►  Servers  ──┼─► current(): whose stream counts
//! fall_back(lacking) ──────┘                └─► next_due()
//! ```
//!
//! A server is tried only if those before it have failed and something is lacking. All up to the current one go on to be
//! tried, each with its own back-off; the first that answers is used from then on, and those behind it no more. No IO; time
//! and chance are arguments.

use std::time::{Duration, Instant};

use rand::Rng;

use super::backoff::{Backoff, BackoffConfig};

/// The servers of a client, in order. Never empty.
#[derive(Debug)]
pub(super) struct Servers {
    list: Vec<Server>,
    current: usize,
}

#[derive(Debug)]
struct Server {
    backoff: Backoff,
    attempt: Attempt,
    /// The last attempt ended without an answer.
    failed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// Due at that time.
    Due(Instant),
    Running,
}

impl Servers {
    pub(super) fn new(count: usize, backoff: &BackoffConfig, now: Instant) -> Self {
        let server = || Server { backoff: Backoff::new(backoff.clone()), attempt: Attempt::Due(now), failed: false };
        Self { list: (0..count).map(|_| server()).collect(), current: 0 }
    }

    /// The server whose stream counts. Those before it are tried besides.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// A server whose attempt is due. Call again until it gives none.
    pub(super) fn start(&mut self, now: Instant) -> Option<usize> {
        let is_due = |s: &Server| matches!(s.attempt, Attempt::Due(at) if at <= now);
        let index = self.list[..=self.current].iter().position(is_due)?;
        self.list[index].attempt = Attempt::Running;
        Some(index)
    }

    /// When the next attempt is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.list[..=self.current].iter().filter_map(Server::due).min()
    }

    /// An attempt or a stream has ended; `answered`: a response came on it, so that it was no failure.
    pub(super) fn ended(&mut self, index: usize, answered: bool, now: Instant, rng: &mut impl Rng) -> Duration {
        let server = &mut self.list[index];
        server.failed = !answered;
        if answered {
            server.backoff.reset();
        }
        let wait = server.backoff.next(rng);
        server.attempt = Attempt::Due(now + wait);
        wait
    }

    /// A server has answered that stands before the current one: it is used from now on, and those behind are no more.
    pub(super) fn answered(&mut self, index: usize, now: Instant) {
        for server in &mut self.list[index + 1..] {
            server.stop(now);
        }
        let server = &mut self.list[index];
        server.failed = false;
        server.backoff.reset();
        self.current = index;
    }

    /// Goes on to the next server, if the current one has failed, there is a next one, and something is `lacking`. An
    /// attempt at the one left behind that was running is due again.
    pub(super) fn fall_back(&mut self, lacking: bool, now: Instant) -> bool {
        if !lacking || !self.list[self.current].failed || self.current + 1 == self.list.len() {
            return false;
        }
        let left = &mut self.list[self.current];
        if left.attempt == Attempt::Running {
            left.attempt = Attempt::Due(now);
        }
        self.current += 1;
        true
    }

    /// Whether every server has failed.
    pub(super) fn all_failed(&self) -> bool {
        self.list.iter().all(|server| server.failed)
    }
}

impl Server {
    fn due(&self) -> Option<Instant> {
        match self.attempt {
            Attempt::Due(at) => Some(at),
            Attempt::Running => None,
        }
    }

    fn stop(&mut self, now: Instant) {
        self.attempt = Attempt::Due(now);
        self.failed = false;
        self.backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    struct Bench {
        servers: Servers,
        rng: StdRng,
        now: Instant,
    }

    impl Bench {
        fn new(count: usize) -> Self {
            let now = Instant::now();
            Self { servers: Servers::new(count, &BackoffConfig::default(), now), rng: StdRng::seed_from_u64(7), now }
        }

        fn started(&mut self) -> Vec<usize> {
            std::iter::from_fn(|| self.servers.start(self.now)).collect()
        }

        fn ended(&mut self, index: usize, answered: bool) {
            self.servers.ended(index, answered, self.now, &mut self.rng);
        }

        fn fall_back(&mut self, lacking: bool) -> bool {
            self.servers.fall_back(lacking, self.now)
        }

        /// Lets every back-off end.
        fn wait(&mut self) {
            self.now += BackoffConfig::default().max;
        }
    }

    #[test]
    fn only_the_first_is_tried_at_the_start() {
        let mut bench = Bench::new(3);
        assert_eq!(bench.started(), [0]);
        assert!(!bench.fall_back(true), "it has not failed");
        assert_eq!(bench.servers.next_due(), None);
    }

    #[test]
    fn a_fallback_needs_a_failure_a_lack_and_a_server() {
        for (failed, lacking, count, expected) in
            [(true, true, 2, true), (true, true, 1, false), (true, false, 2, false), (false, true, 2, false)]
        {
            let mut bench = Bench::new(count);
            bench.started();
            bench.ended(0, !failed);
            assert_eq!(bench.fall_back(lacking), expected, "{failed} {lacking} {count}");
            assert_eq!(bench.servers.current(), usize::from(expected));
        }
    }

    #[test]
    fn a_stream_that_was_answered_is_no_failure_but_the_next_attempt_may_be() {
        let mut bench = Bench::new(2);
        bench.started();
        bench.ended(0, true);
        assert!(!bench.fall_back(true));
        bench.wait();
        assert_eq!(bench.started(), [0]);
        assert!(!bench.fall_back(true), "while it is tried for the first time");
        bench.ended(0, false);
        assert!(bench.fall_back(true));
    }

    #[test]
    fn a_lack_that_comes_later_counts_at_once() {
        let mut bench = Bench::new(2);
        bench.started();
        bench.ended(0, false);
        assert!(!bench.fall_back(false));
        bench.wait();
        assert_eq!(bench.started(), [0]);
        assert!(bench.fall_back(true), "it has failed before, and may fail again");
        assert_eq!(bench.started(), [0, 1]);
    }

    #[test]
    fn servers_left_behind_are_tried_besides() {
        let mut bench = Bench::new(3);
        bench.started();
        bench.ended(0, false);
        bench.fall_back(true);
        assert_eq!(bench.started(), [1], "the first is in its back-off");
        bench.ended(1, false);
        bench.fall_back(true);
        bench.wait();
        assert_eq!(bench.started(), [0, 1, 2]);
        bench.ended(2, false);
        assert!(!bench.fall_back(true), "there is no further");
    }

    #[test]
    fn the_first_that_answers_is_used_and_those_behind_no_more() {
        let mut bench = Bench::new(3);
        bench.started();
        bench.ended(0, false);
        bench.fall_back(true);
        bench.started();
        bench.ended(1, false);
        bench.fall_back(true);
        bench.wait();
        assert_eq!(bench.started(), [0, 1, 2]);
        bench.servers.answered(1, bench.now);
        assert_eq!(bench.servers.current(), 1);
        bench.wait();
        assert_eq!(bench.started(), [] as [usize; 0], "0 is being tried, 1 is in use, 2 is not wanted");
        bench.servers.answered(0, bench.now);
        assert_eq!((bench.servers.current(), bench.servers.next_due()), (0, None));
        // It starts from the beginning when the first fails again.
        bench.ended(0, false);
        assert!(bench.fall_back(true));
        assert_eq!(bench.started(), [1]);
    }

    #[test]
    fn all_failed_is_said_of_all() {
        let mut bench = Bench::new(2);
        bench.started();
        bench.ended(0, false);
        assert!(!bench.servers.all_failed());
        bench.fall_back(true);
        bench.started();
        bench.ended(1, false);
        assert!(bench.servers.all_failed());
    }
}
