//! Waiting between attempts.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Exponential back-off with full jitter: the wait is drawn evenly from zero up to a ceiling that doubles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackoffConfig {
    /// The first ceiling. Default 250 ms.
    pub base: Duration,
    /// The highest ceiling. Default 30 s.
    pub max: Duration,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self { base: Duration::from_millis(250), max: Duration::from_secs(30) }
    }
}

/// The back-off of one client.
#[derive(Debug)]
pub(super) struct Backoff {
    config: BackoffConfig,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(config: BackoffConfig) -> Self {
        Self { config, failures: 0 }
    }

    /// An attempt went well.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// An attempt failed: how long to wait before the next.
    pub(super) fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let ceiling = self.config.base.saturating_mul(factor).min(self.config.max);
        self.failures = (self.failures + 1).min(31);
        ceiling.mul_f64(rng.random_range(0.0..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn ceiling_doubles_up_to_the_bound_and_resets() {
        let config = BackoffConfig { base: Duration::from_millis(100), max: Duration::from_secs(1) };
        let mut backoff = Backoff::new(config);
        let mut rng = StdRng::seed_from_u64(1);
        for ceiling in [100, 200, 400, 800, 1000, 1000] {
            assert!(backoff.next(&mut rng) <= Duration::from_millis(ceiling));
        }
        for _ in 0..100 {
            assert!(backoff.next(&mut rng) <= Duration::from_secs(1));
        }
        backoff.reset();
        assert!(backoff.next(&mut rng) <= Duration::from_millis(100));
    }
}
