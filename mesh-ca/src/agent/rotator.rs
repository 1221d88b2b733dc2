//! [`Rotator`]: when to fetch, without IO.

use std::time::{Duration, Instant, SystemTime};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::clock::Now;

/// How a certificate is kept fresh. Values out of range are brought into it by [`Rotator::new`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RotationConfig {
    /// The share of its life after which a certificate is renewed (Istio's `SECRET_GRACE_PERIOD_RATIO` counted from the
    /// start). Life is counted from when it was obtained. Default 0.5; from 0.05 to 0.9.
    pub renew_after: f64,
    /// How far that share is moved at random, both ways (Istio's `SECRET_GRACE_PERIOD_RATIO_JITTER`), so that workloads
    /// that started together do not renew together. Default 0.01; from 0 to 0.1.
    pub jitter: f64,
    /// The first pause after a failure; later ones double. Default 500 milliseconds; at least 10.
    pub backoff_initial: Duration,
    /// The longest pause. Default 30 seconds; at least the first one.
    pub backoff_max: Duration,
    /// How long one fetch may take. Default 10 seconds; at least 10 milliseconds.
    pub fetch_timeout: Duration,
    /// The clocks are looked at this often at least, so that a jump is noticed. Default 10 seconds; at least 10
    /// milliseconds.
    pub check_interval: Duration,
}

impl Default for RotationConfig {
    fn default() -> Self {
        Self {
            renew_after: 0.5,
            jitter: 0.01,
            backoff_initial: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            fetch_timeout: Duration::from_secs(10),
            check_interval: Duration::from_secs(10),
        }
    }
}

const SHORTEST: Duration = Duration::from_millis(10);

impl RotationConfig {
    fn sane(mut self) -> Self {
        let share = |value: f64, low: f64, high: f64, default: f64| {
            if value.is_finite() { value.clamp(low, high) } else { default }
        };
        self.renew_after = share(self.renew_after, 0.05, 0.9, 0.5);
        self.jitter = share(self.jitter, 0.0, 0.1, 0.01);
        self.backoff_initial = self.backoff_initial.max(SHORTEST);
        self.backoff_max = self.backoff_max.max(self.backoff_initial);
        self.fetch_timeout = self.fetch_timeout.max(SHORTEST);
        self.check_interval = self.check_interval.max(SHORTEST);
        self
    }
}

/// What the driver has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Start a fetch, then report [`Rotator::obtained`] or [`Rotator::failed`], and go on polling meanwhile.
    Fetch,
    /// Give up the fetch under way, it took too long. The machine counts it as failed already.
    Abandon,
    /// Poll again after this time, or earlier when something was reported. Never zero, never more than
    /// [`RotationConfig::check_interval`].
    Wait(Duration),
}

/// Where the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RotationPhase {
    /// Nothing to serve, and no fetch under way yet.
    NoCertificate,
    /// A fetch is under way. An older certificate may still be good.
    Fetching,
    /// A certificate is good and not due yet.
    Valid {
        /// When it will be renewed, on the wall clock.
        renew_at: SystemTime,
    },
    /// The last fetch failed; the next one waits. An older certificate may still be good.
    BackingOff {
        /// How many fetches failed in a row.
        failures: u32,
    },
}

#[derive(Debug, Clone, Copy)]
struct Held {
    obtained: Now,
    not_after: SystemTime,
    life: Duration,
    renew_after: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Activity {
    Idle,
    Fetching { since: Instant },
    BackingOff { until: Instant },
}

/// Decides when to fetch a certificate. Does no IO, reads no clock: the time is an argument, chance comes from a seed.
///
/// Expiry and renewal are judged by both clocks, whichever comes first. So a wall clock that is set back cannot stretch
/// a certificate's life, and time that passes while the machine sleeps counts.
#[derive(Debug)]
pub struct Rotator {
    config: RotationConfig,
    random: StdRng,
    held: Option<Held>,
    activity: Activity,
    failures: u32,
    forced: bool,
}

impl Rotator {
    /// A machine without a certificate; its first action will be to fetch.
    pub fn new(config: RotationConfig, seed: u64) -> Self {
        Self {
            config: config.sane(),
            random: StdRng::seed_from_u64(seed),
            held: None,
            activity: Activity::Idle,
            failures: 0,
            forced: false,
        }
    }

    /// What to do now.
    pub fn poll(&mut self, now: Now) -> Action {
        match self.activity {
            Activity::Fetching { since } => {
                let spent = now.monotonic.saturating_duration_since(since);
                if spent >= self.config.fetch_timeout {
                    self.failed(now);
                    return Action::Abandon;
                }
                self.wait(now, self.config.fetch_timeout - spent)
            }
            Activity::BackingOff { until } if now.monotonic < until => self.wait(now, until - now.monotonic),
            Activity::BackingOff { .. } => self.fetch(now),
            Activity::Idle => match self.due_in(now) {
                Some(rest) => self.wait(now, rest),
                None => self.fetch(now),
            },
        }
    }

    /// Reports a certificate that ends at `not_after`. `false` when it is of no use because it has ended already, by our
    /// clock; that counts as a failure.
    #[must_use]
    pub fn obtained(&mut self, now: Now, not_after: SystemTime) -> bool {
        let life = not_after.duration_since(now.wall).unwrap_or_default();
        if life.is_zero() {
            self.failed(now);
            return false;
        }
        let share = self.config.renew_after + self.config.jitter * self.random.random_range(-1.0..=1.0);
        let renew_after = life.mul_f64(share.clamp(0.01, 0.99));
        self.held = Some(Held { obtained: now, not_after, life, renew_after });
        self.activity = Activity::Idle;
        self.failures = 0;
        self.forced = false;
        true
    }

    /// Reports that a fetch failed.
    pub fn failed(&mut self, now: Now) {
        self.failures = self.failures.saturating_add(1);
        let pause = self.pause(now);
        self.activity = Activity::BackingOff { until: now.monotonic + pause };
    }

    /// Asks for a renewal ahead of time, after a handshake error for example. A back-off under way is kept to.
    pub fn renew_now(&mut self) {
        self.forced = true;
    }

    /// Whether the certificate held may be shown to peers.
    pub fn is_servable(&self, now: Now) -> bool {
        !self.remaining(now).is_zero()
    }

    /// Where the machine is.
    pub fn phase(&self, now: Now) -> RotationPhase {
        match (self.activity, self.held) {
            (Activity::Fetching { .. }, _) => RotationPhase::Fetching,
            (Activity::BackingOff { .. }, _) => RotationPhase::BackingOff { failures: self.failures },
            (Activity::Idle, Some(held)) if self.is_servable(now) => {
                RotationPhase::Valid { renew_at: held.obtained.wall + held.renew_after }
            }
            (Activity::Idle, _) => RotationPhase::NoCertificate,
        }
    }

    fn fetch(&mut self, now: Now) -> Action {
        self.activity = Activity::Fetching { since: now.monotonic };
        Action::Fetch
    }

    /// Waits for `rest`, the expiry, or the next look at the clocks, whichever comes first.
    fn wait(&self, now: Now, rest: Duration) -> Action {
        let mut wait = rest.min(self.config.check_interval);
        let remaining = self.remaining(now);
        if !remaining.is_zero() {
            wait = wait.min(remaining);
        }
        Action::Wait(wait.max(Duration::from_millis(1)))
    }

    /// Time until renewal; `None` when it is due.
    fn due_in(&self, now: Now) -> Option<Duration> {
        let held = self.held.filter(|_| !self.forced && self.is_servable(now))?;
        let spent = now.monotonic.saturating_duration_since(held.obtained.monotonic);
        let by_monotonic = held.renew_after.checked_sub(spent)?;
        let by_wall = (held.obtained.wall + held.renew_after).duration_since(now.wall).ok()?;
        Some(by_monotonic.min(by_wall)).filter(|rest| !rest.is_zero())
    }

    /// What is left of the certificate's life by the stricter clock; zero when there is none.
    fn remaining(&self, now: Now) -> Duration {
        let Some(held) = self.held else { return Duration::ZERO };
        let by_wall = held.not_after.duration_since(now.wall).unwrap_or_default();
        let spent = now.monotonic.saturating_duration_since(held.obtained.monotonic);
        by_wall.min(held.life.saturating_sub(spent))
    }

    /// The pause after a failure: doubled each time, half of it at random, and never so long that the certificate would
    /// end without several more tries.
    fn pause(&mut self, now: Now) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(20);
        let full = self.config.backoff_initial.saturating_mul(1 << doublings).min(self.config.backoff_max);
        let pause = full.mul_f64(self.random.random_range(0.5..=1.0));
        let remaining = self.remaining(now);
        if remaining.is_zero() { pause } else { pause.min((remaining / 4).max(self.config.backoff_initial / 2)) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_oneof, proptest};

    use super::{Action, Now, RotationConfig, RotationPhase, Rotator};

    const LIFE: Duration = Duration::from_secs(60);

    fn start() -> Now {
        Now { wall: UNIX_EPOCH + Duration::from_secs(1_700_000_000), monotonic: Instant::now() }
    }

    fn later(now: Now, by: Duration) -> Now {
        Now { wall: now.wall + by, monotonic: now.monotonic + by }
    }

    fn holding(now: Now) -> Rotator {
        let mut rotator = Rotator::new(RotationConfig::default(), 7);
        assert_eq!(rotator.phase(now), RotationPhase::NoCertificate);
        assert_eq!(rotator.poll(now), Action::Fetch);
        assert!(rotator.obtained(now, now.wall + LIFE));
        rotator
    }

    #[test]
    fn renews_at_half_of_its_life() {
        let t0 = start();
        let mut rotator = holding(t0);
        assert!(matches!(rotator.poll(later(t0, LIFE.mul_f64(0.48))), Action::Wait(_)));
        assert_eq!(rotator.poll(later(t0, LIFE.mul_f64(0.52))), Action::Fetch);
        assert!(rotator.is_servable(later(t0, LIFE.mul_f64(0.52))), "the old one is served meanwhile");
    }

    #[test]
    fn clock_jumps() {
        let t0 = start();
        // Forward, past the end: nothing is served, a fetch starts at once.
        let mut rotator = holding(t0);
        let jumped = Now { wall: t0.wall + LIFE * 10, ..t0 };
        assert!(!rotator.is_servable(jumped));
        assert_eq!(rotator.poll(jumped), Action::Fetch);
        // Back: the life is not stretched.
        let mut rotator = holding(t0);
        let back = Now { wall: t0.wall - LIFE * 10, monotonic: t0.monotonic + LIFE.mul_f64(0.6) };
        assert_eq!(rotator.poll(back), Action::Fetch);
        assert!(!rotator.is_servable(Now { monotonic: t0.monotonic + LIFE, ..back }));
    }

    #[test]
    fn a_fetch_that_hangs_is_abandoned() {
        let t0 = start();
        let mut rotator = Rotator::new(RotationConfig::default(), 1);
        assert_eq!(rotator.poll(t0), Action::Fetch);
        assert!(matches!(rotator.poll(later(t0, Duration::from_secs(9))), Action::Wait(_)));
        assert_eq!(rotator.poll(later(t0, Duration::from_secs(10))), Action::Abandon);
        assert_eq!(rotator.phase(t0), RotationPhase::BackingOff { failures: 1 });
    }

    #[test]
    fn a_dead_certificate_counts_as_failure() {
        let t0 = start();
        let mut rotator = Rotator::new(RotationConfig::default(), 1);
        assert_eq!(rotator.poll(t0), Action::Fetch);
        assert!(!rotator.obtained(t0, t0.wall));
        assert_eq!(rotator.phase(t0), RotationPhase::BackingOff { failures: 1 });
    }

    #[test]
    fn asked_for_renewal() {
        let t0 = start();
        let mut rotator = holding(t0);
        rotator.renew_now();
        assert_eq!(rotator.poll(t0), Action::Fetch);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Pass(Duration),
        JumpWall(i64),
        Obtain(Duration),
        Fail,
        Force,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0u64..40_000).prop_map(|ms| Step::Pass(Duration::from_millis(ms))),
            (-200i64..200).prop_map(Step::JumpWall),
            (0u64..120).prop_map(|s| Step::Obtain(Duration::from_secs(s))),
            proptest::strategy::Just(Step::Fail),
            proptest::strategy::Just(Step::Force),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn never_serves_expired_and_always_schedules(steps in steps(), seed in any::<u64>()) {
            let config = RotationConfig::default();
            let mut rotator = Rotator::new(config.clone(), seed);
            let mut now = start();
            let (mut fetching, mut not_after) = (false, None::<SystemTime>);
            for step in steps {
                match step {
                    Step::Pass(by) => now = later(now, by),
                    Step::JumpWall(by) => {
                        let span = Duration::from_secs(by.unsigned_abs());
                        now.wall = if by < 0 { now.wall - span } else { now.wall + span };
                    }
                    Step::Obtain(life) if fetching => {
                        fetching = false;
                        if rotator.obtained(now, now.wall + life) {
                            not_after = Some(now.wall + life);
                        }
                    }
                    Step::Fail if fetching => {
                        fetching = false;
                        rotator.failed(now);
                    }
                    Step::Force => rotator.renew_now(),
                    Step::Obtain(_) | Step::Fail => {}
                }
                prop_assert!(!rotator.is_servable(now) || not_after.is_some_and(|end| now.wall < end));
                match rotator.poll(now) {
                    Action::Fetch => { prop_assert!(!fetching, "one fetch at a time"); fetching = true; }
                    Action::Abandon => { prop_assert!(fetching); fetching = false; }
                    Action::Wait(wait) => {
                        prop_assert!(!wait.is_zero() && wait <= config.check_interval);
                        // Without a good certificate something is always on its way.
                        let idle = matches!(rotator.phase(now), RotationPhase::NoCertificate);
                        prop_assert!(!idle);
                    }
                }
            }
        }

        #[test]
        fn backoff_is_bounded(failures in 1usize..80, seed in any::<u64>()) {
            let config = RotationConfig::default();
            let mut rotator = Rotator::new(config.clone(), seed);
            let mut now = start();
            for _ in 0..failures {
                // Whatever the waits are, the next fetch comes within the longest pause.
                let began = now.monotonic;
                loop {
                    match rotator.poll(now) {
                        Action::Wait(wait) => now = later(now, wait),
                        other => { prop_assert!(other == Action::Fetch); break; }
                    }
                }
                prop_assert!(now.monotonic - began <= config.backoff_max + Duration::from_millis(1));
                rotator.failed(now);
            }
        }

        /// A CA that answers again at any moment before the end is asked before the end.
        #[test]
        fn tries_before_the_end(seed in any::<u64>(), life in 10u64..3600) {
            let mut rotator = Rotator::new(RotationConfig::default(), seed);
            let mut now = start();
            prop_assert!(rotator.poll(now) == Action::Fetch);
            let end = now.wall + Duration::from_secs(life);
            prop_assert!(rotator.obtained(now, end));
            let mut tries_in_last_quarter = 0;
            while now.wall < end {
                match rotator.poll(now) {
                    Action::Wait(wait) => now = later(now, wait),
                    Action::Fetch => {
                        tries_in_last_quarter += u32::from(now.wall > end - Duration::from_secs(life) / 4);
                        rotator.failed(now);
                    }
                    _ => {}
                }
            }
            prop_assert!(tries_in_last_quarter >= 2);
            prop_assert!(!rotator.is_servable(now));
        }
    }
}
