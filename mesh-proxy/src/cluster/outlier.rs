//! Outlier detection (`cluster.v3.OutlierDetection`): pure, time is an argument.
//!
//! Workers tell each outcome to the [`Monitor`] of a host, a few atomic operations. When a run of failures reaches its
//! threshold, the caller asks [`EjectionRecord`] under a lock: the failure path only. [`sweep`](EjectionRecord::sweep)
//! lets hosts return.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::model::OutlierDetection;

/// How a request or connection to a host ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// An HTTP response with this status began.
    Status(u16),
    /// A connection was made, and that is all there is to tell (TCP).
    Connected,
    /// Connecting failed.
    ConnectFailed,
    /// The stream or its connection ended before the response began. Counts as [`ConnectFailed`](Self::ConnectFailed)
    /// does, as in Envoy.
    Reset,
    /// Connecting or the response took too long.
    Timeout,
}

/// Why a host was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EjectionCause {
    /// 5xx responses in a row.
    Consecutive5xx,
    /// 502, 503, 504 in a row.
    ConsecutiveGatewayFailure,
    /// Failures to connect or to keep a connection, in a row.
    ConsecutiveLocalOriginFailure,
}

/// Runs of failures of one host.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    five_xx: AtomicU32,
    gateway: AtomicU32,
    local: AtomicU32,
}

impl Monitor {
    /// Notes an outcome. Returns the cause when a run has just reached its threshold.
    pub(super) fn observe(&self, outcome: Outcome, config: &OutlierDetection) -> Option<EjectionCause> {
        let status = match (outcome, config.split_local) {
            (Outcome::Status(status), _) => status,
            (Outcome::Connected, false) => 200,
            (Outcome::Connected, true) => {
                clear(&self.local);
                return None;
            }
            (Outcome::ConnectFailed | Outcome::Reset | Outcome::Timeout, true) => {
                return reached(&self.local, config.consecutive_local)
                    .then_some(EjectionCause::ConsecutiveLocalOriginFailure);
            }
            (Outcome::ConnectFailed | Outcome::Reset, false) => 503,
            (Outcome::Timeout, false) => 504,
        };
        if matches!(outcome, Outcome::Status(_)) && config.split_local {
            clear(&self.local);
        }
        self.status(status, config)
    }

    fn status(&self, status: u16, config: &OutlierDetection) -> Option<EjectionCause> {
        if !(500..600).contains(&status) {
            clear(&self.five_xx);
            clear(&self.gateway);
            return None;
        }
        let gateway = if matches!(status, 502..=504) {
            reached(&self.gateway, config.consecutive_gateway)
        } else {
            clear(&self.gateway);
            false
        };
        let five_xx = reached(&self.five_xx, config.consecutive_5xx);
        match (gateway, five_xx) {
            (true, _) => Some(EjectionCause::ConsecutiveGatewayFailure),
            (_, true) => Some(EjectionCause::Consecutive5xx),
            _ => None,
        }
    }

    /// Starts every run anew.
    pub(super) fn reset(&self) {
        clear(&self.five_xx);
        clear(&self.gateway);
        clear(&self.local);
    }
}

/// Sets to zero, writing only if it is not: successes must not bounce the cache line.
fn clear(counter: &AtomicU32) {
    if counter.load(Relaxed) != 0 {
        counter.store(0, Relaxed);
    }
}

/// One more failure. True, and a new run begins, when there are `threshold` of them.
fn reached(counter: &AtomicU32, threshold: Option<u32>) -> bool {
    let Some(threshold) = threshold else { return false };
    if counter.fetch_add(1, Relaxed) + 1 < threshold.max(1) {
        return false;
    }
    counter.store(0, Relaxed);
    true
}

/// When and how often a host was ejected.
#[derive(Debug, Default)]
pub(super) struct EjectionRecord {
    /// `(when, jitter)` of the ejection in force.
    since: Option<(Instant, Duration)>,
    /// Factor of the base time: grows with every ejection, shrinks with every calm sweep.
    backoff: u32,
    returned: Option<Instant>,
    /// Ejections ever.
    pub(super) total: u64,
}

/// Whether one more of `hosts` may be ejected while `ejected` are.
pub(super) fn room_for_ejection(ejected: usize, hosts: usize, config: &OutlierDetection) -> bool {
    (config.always_eject_one_host && ejected == 0)
        || (ejected + 1) * 100 <= hosts * config.max_ejection_percent.min(100) as usize
}

impl EjectionRecord {
    /// Ejects the host. False if it is out already.
    pub(super) fn eject(&mut self, config: &OutlierDetection, now: Instant, jitter: Duration) -> bool {
        if self.since.is_some() {
            return false;
        }
        let longest = config.max_ejection_time.max(config.base_ejection_time);
        if config.base_ejection_time.saturating_mul(self.backoff) < longest.saturating_add(config.base_ejection_time) {
            self.backoff = self.backoff.saturating_add(1);
        }
        self.since = Some((now, jitter.min(config.max_ejection_time_jitter)));
        self.total += 1;
        true
    }

    /// Lets the host return if its time is over; to be called every `interval`. True if it returns now.
    pub(super) fn sweep(&mut self, config: &OutlierDetection, now: Instant) -> bool {
        let Some((since, jitter)) = self.since else {
            let calm = self.returned.is_none_or(|at| now.saturating_duration_since(at) >= config.interval);
            if calm {
                self.backoff = self.backoff.saturating_sub(1);
            }
            return false;
        };
        let longest = config.max_ejection_time.max(config.base_ejection_time);
        let time = config.base_ejection_time.saturating_mul(self.backoff).min(longest).saturating_add(jitter);
        if now.saturating_duration_since(since) < time {
            return false;
        }
        self.release(now);
        true
    }

    /// Lets the host return at once.
    pub(super) fn release(&mut self, now: Instant) {
        self.since = None;
        self.returned = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config() -> OutlierDetection {
        OutlierDetection {
            consecutive_5xx: Some(3),
            consecutive_gateway: None,
            consecutive_local: Some(2),
            split_local: false,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(100),
            max_ejection_time_jitter: Duration::ZERO,
            max_ejection_percent: 50,
            always_eject_one_host: false,
        }
    }

    fn run(config: &OutlierDetection, outcomes: &[Outcome]) -> Vec<Option<EjectionCause>> {
        let monitor = Monitor::default();
        outcomes.iter().map(|o| monitor.observe(*o, config)).collect()
    }

    #[test]
    fn a_success_ends_a_run() {
        use Outcome::Status;
        let seen = run(&config(), &[Status(500), Status(503), Status(200), Status(500), Status(500), Status(501)]);
        assert_eq!(seen, [None, None, None, None, None, Some(EjectionCause::Consecutive5xx)]);
    }

    #[test]
    fn gateway_failures_are_counted_apart() {
        use Outcome::Status;
        let config = OutlierDetection { consecutive_5xx: Some(100), consecutive_gateway: Some(2), ..config() };
        let seen = run(&config, &[Status(503), Status(500), Status(502), Status(504)]);
        assert_eq!(seen, [None, None, None, Some(EjectionCause::ConsecutiveGatewayFailure)]);
    }

    #[test]
    fn local_failures_count_as_503_unless_split() {
        let seen = run(&config(), &[Outcome::ConnectFailed, Outcome::Timeout, Outcome::Reset]);
        assert_eq!(seen[2], Some(EjectionCause::Consecutive5xx));
        let split = OutlierDetection { split_local: true, ..config() };
        let seen =
            run(&split, &[Outcome::ConnectFailed, Outcome::Status(500), Outcome::ConnectFailed, Outcome::Timeout]);
        assert_eq!(seen, [None, None, None, Some(EjectionCause::ConsecutiveLocalOriginFailure)]);
    }

    #[test]
    fn ejection_time_grows_to_its_cap_and_shrinks_in_calm() {
        let config = config();
        let mut record = EjectionRecord::default();
        let mut now = Instant::now();
        for expected in [30, 60, 90, 100, 100] {
            assert!(record.eject(&config, now, Duration::ZERO));
            assert!(!record.eject(&config, now, Duration::ZERO), "only once");
            assert!(!record.sweep(&config, now + Duration::from_secs(expected - 1)));
            now += Duration::from_secs(expected);
            assert!(record.sweep(&config, now), "after {expected} s");
        }
        for _ in 0..10 {
            now += config.interval;
            record.sweep(&config, now);
        }
        assert!(record.eject(&config, now, Duration::ZERO));
        assert!(record.sweep(&config, now + Duration::from_secs(30)), "calm sweeps forgive");
    }

    /// As Envoy 1.40 was seen to do: of three hosts none at 33 percent, one at 34.
    #[test]
    fn the_share_of_ejected_hosts_is_capped() {
        let room = |ejected, hosts, max_ejection_percent, always_eject_one_host| {
            let config = OutlierDetection { max_ejection_percent, always_eject_one_host, ..config() };
            room_for_ejection(ejected, hosts, &config)
        };
        assert!(!room(0, 3, 10, false) && room(0, 3, 10, true) && !room(1, 3, 10, true));
        assert!(!room(0, 3, 33, false) && room(0, 3, 34, false));
        assert!(room(0, 10, 10, false) && !room(1, 10, 10, false));
        assert!(room(4, 10, 50, false) && !room(5, 10, 50, false));
    }

    proptest! {
        /// Whatever happens, the time out is at least the base and at most the cap plus jitter.
        #[test]
        fn ejections_end_in_time(gaps in proptest::collection::vec((0u64..400, 0u64..20), 1..40)) {
            let config = OutlierDetection { max_ejection_time_jitter: Duration::from_secs(5), ..config() };
            let mut record = EjectionRecord::default();
            let mut now = Instant::now();
            for (gap, jitter) in gaps {
                now += Duration::from_secs(gap);
                record.sweep(&config, now);
                prop_assert!(record.eject(&config, now, Duration::from_secs(jitter)));
                prop_assert!(!record.sweep(&config, now + Duration::from_secs(29)));
                now += Duration::from_secs(105);
                prop_assert!(record.sweep(&config, now));
            }
        }

        /// An ejection needs `threshold` failures since the last success.
        #[test]
        fn no_run_no_ejection(statuses in proptest::collection::vec(prop_oneof![Just(200u16), Just(500), Just(503)], 0..60)) {
            let config = config();
            let monitor = Monitor::default();
            let mut run = 0;
            for status in statuses {
                run = if status < 500 { 0 } else { run + 1 };
                let cause = monitor.observe(Outcome::Status(status), &config);
                prop_assert_eq!(cause.is_some(), run == 3);
                if run == 3 { run = 0; }
            }
        }
    }
}
