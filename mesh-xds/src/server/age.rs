//! How long a stream may live.

use std::time::{Duration, Instant};

use super::ServerLimits;

/// When a stream that begins now has to end, if ever. `chance` is evenly spread from 0 to 1.
pub(super) fn end(limits: &ServerLimits, now: Instant, chance: f64) -> Option<Instant> {
    let age = spread(limits.max_stream_age?, limits.stream_age_jitter, chance)?;
    now.checked_add(age)
}

/// `age`, spread by at most `jitter` of it to either side; `None` if it cannot be told.
fn spread(age: Duration, jitter: f64, chance: f64) -> Option<Duration> {
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
    let factor = 1.0 + jitter * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
    Duration::try_from_secs_f64(age.as_secs_f64() * factor).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_to_either_side() {
        let age = Duration::from_secs(100);
        for (jitter, chance, seconds) in
            [(0.1, 0.0, 90), (0.1, 0.5, 100), (0.1, 1.0, 110), (0.0, 0.9, 100), (7.0, 0.0, 0), (f64::NAN, 0.0, 100)]
        {
            let spread = spread(age, jitter, chance).unwrap().as_millis();
            assert_eq!(spread, seconds * 1000, "{jitter} {chance}");
        }
    }

    #[test]
    fn none_and_more_than_can_be_told_is_for_ever() {
        let now = Instant::now();
        assert_eq!(end(&ServerLimits::default(), now, 0.5), None);
        let limits = ServerLimits { max_stream_age: Some(Duration::MAX), ..Default::default() };
        assert_eq!(end(&limits, now, 1.0), None);
    }
}
