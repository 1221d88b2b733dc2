//! [`Schedule`]: when to ask again for a document that somebody else publishes; without IO.

use std::time::{Duration, SystemTime};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::clock::Now;

/// Bounds of a [`Schedule`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScheduleConfig {
    /// How often to ask when the publisher does not say.
    pub(crate) default_interval: Duration,
    /// What the publisher says is brought between these.
    pub(crate) min_interval: Duration,
    pub(crate) max_interval: Duration,
    /// The first pause after a failure; later ones double up to `default_interval`.
    pub(crate) retry_initial: Duration,
    /// Whether failures after the first success wait for the whole interval instead.
    pub(crate) patient: bool,
    /// How far intervals are shortened at random, from 0 to 0.5.
    pub(crate) jitter: f64,
    /// After this time without confirmation a document counts no more.
    pub(crate) max_age: Option<Duration>,
}

impl ScheduleConfig {
    fn sane(mut self) -> Self {
        self.min_interval = self.min_interval.max(Duration::from_secs(1));
        self.max_interval = self.max_interval.max(self.min_interval);
        self.default_interval = self.default_interval.clamp(self.min_interval, self.max_interval);
        self.retry_initial = self.retry_initial.clamp(Duration::from_millis(100), self.default_interval);
        self.jitter = if self.jitter.is_finite() { self.jitter.clamp(0.0, 0.5) } else { 0.1 };
        self
    }
}

/// What the driver has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PollAction {
    /// Fetch, then report how it went.
    Fetch,
    /// Look again after this time. Never zero, never more than a minute.
    Wait(Duration),
}

/// The clocks are looked at this often at least, so that a sleep of the machine is noticed.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Judges by both clocks, whichever says more: a wall clock that is set back stretches nothing, and time that passes while
/// the machine sleeps counts.
#[derive(Debug)]
pub(crate) struct Schedule {
    config: ScheduleConfig,
    random: StdRng,
    confirmed: Option<Now>,
    interval: Duration,
    due: Option<Now>,
    failures: u32,
}

impl Schedule {
    /// Due at once.
    pub(crate) fn new(config: ScheduleConfig, seed: u64) -> Self {
        let config = config.sane();
        let interval = config.default_interval;
        Self { config, random: StdRng::seed_from_u64(seed), confirmed: None, interval, due: None, failures: 0 }
    }

    /// There is a document from before.
    pub(crate) fn start_with(&mut self, confirmed: Option<Now>) {
        self.confirmed = confirmed;
    }

    pub(crate) fn poll(&self, now: Now) -> PollAction {
        let Some(due) = self.due else { return PollAction::Fetch };
        let left = due.monotonic.saturating_duration_since(now.monotonic);
        if left.is_zero() || due.wall <= now.wall {
            return PollAction::Fetch;
        }
        // Coming to the end of a document's age is an event too.
        let ends = self.age(now).zip(self.config.max_age).map(|(age, max)| max.saturating_sub(age));
        let wait = ends.filter(|e| !e.is_zero()).map_or(left, |e| e.min(left));
        PollAction::Wait(wait.clamp(Duration::from_millis(1), CHECK_INTERVAL))
    }

    pub(crate) fn poll_now(&mut self) {
        self.due = None;
    }

    /// The document was confirmed; `hint` is how often its publisher wants to be asked.
    pub(crate) fn confirmed(&mut self, now: Now, hint: Option<Duration>) {
        self.failures = 0;
        self.confirmed = Some(now);
        let (min, max) = (self.config.min_interval, self.config.max_interval);
        self.interval = hint.map_or(self.config.default_interval, |h| h.clamp(min, max));
        self.wait(now, self.interval);
    }

    pub(crate) fn failed(&mut self, now: Now) {
        let pause = if self.config.patient && self.confirmed.is_some() {
            self.interval
        } else {
            let doubled = self.config.retry_initial.saturating_mul(1 << self.failures.min(16));
            doubled.min(self.config.default_interval)
        };
        self.failures = self.failures.saturating_add(1);
        self.wait(now, pause);
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn confirmed_at(&self) -> Option<SystemTime> {
        self.confirmed.map(|c| c.wall)
    }

    /// Whether what was confirmed last counts no more.
    pub(crate) fn is_too_old(&self, now: Now) -> bool {
        self.config.max_age.zip(self.age(now)).is_some_and(|(max, age)| age >= max)
    }

    fn age(&self, now: Now) -> Option<Duration> {
        let confirmed = self.confirmed?;
        let wall = now.wall.duration_since(confirmed.wall).unwrap_or_default();
        Some(wall.max(now.monotonic.saturating_duration_since(confirmed.monotonic)))
    }

    fn wait(&mut self, now: Now, pause: Duration) {
        let pause = pause.mul_f64(1.0 - self.config.jitter * self.random.random::<f64>());
        self.due = Some(Now { wall: now.wall + pause, monotonic: now.monotonic + pause });
    }
}
