use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::block::{Block, Kind};

/// Upper bounds of the buckets, inclusive: Envoy's default ones (`source/common/stats/histogram_impl.cc`). The last bucket,
/// without a bound, comes behind them. Times are in milliseconds.
pub(super) const BOUNDS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// Quantiles that `/stats` shows.
pub(super) const QUANTILES: [f64; 10] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0];

/// Cells of a histogram: its buckets, and the sum of the values.
pub(super) const WIDTH: usize = BOUNDS.len() + 2;

/// A distribution. Cheap to clone; clones record into the same one.
#[derive(Clone, Debug)]
pub struct Histogram {
    block: Arc<Block>,
    first: u32,
}

impl Histogram {
    /// A histogram that no registry lists.
    #[must_use]
    pub fn detached() -> Self {
        Self::with_shards(1)
    }

    pub(super) fn with_shards(shards: usize) -> Self {
        Self::of(&Block::new(&[("", Kind::Histogram)], shards), 0)
    }

    pub(super) fn of(block: &Arc<Block>, first: usize) -> Self {
        Self { block: block.clone(), first: first as u32 }
    }

    /// Records one value, in the unit the name says.
    pub fn record(&self, value: u64) {
        #[allow(clippy::cast_precision_loss)] // bounds end at 3.6e6
        let bucket = BOUNDS.partition_point(|bound| *bound < value as f64);
        let first = self.first as usize;
        self.block.cell(first + bucket).fetch_add(1, Ordering::Relaxed);
        self.block.cell(first + WIDTH - 1).fetch_add(value, Ordering::Relaxed);
    }

    /// Records a time in whole milliseconds.
    pub fn record_ms(&self, time: Duration) {
        self.record(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    /// What was recorded so far.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        let first = self.first as usize;
        HistogramSnapshot {
            buckets: std::array::from_fn(|bucket| self.block.sum(first + bucket)),
            sum: self.block.sum(first + WIDTH - 1),
        }
    }
}

/// A [`Histogram`] at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Values in each bucket, not cumulated; the last has no upper bound.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Sum of the values.
    pub sum: u64,
}

impl HistogramSnapshot {
    /// Values recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Upper bounds and the number of values at or below each; the last bound is infinite.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.buckets).scan(0, |total, (bound, count)| {
            *total += count;
            Some((bound, *total))
        })
    }

    /// The value below which the share `q` (0 to 1) lies, interpolated within its bucket; `None` without values. Beyond
    /// the last bound it is that bound.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * total as f64;
        let mut below = 0.0;
        let mut lower = 0.0;
        for (bound, count) in BOUNDS.iter().copied().chain([f64::INFINITY]).zip(self.buckets) {
            let count = count as f64;
            if count > 0.0 && below + count >= rank {
                let upper = if bound.is_finite() { bound } else { lower };
                return Some(lower + (upper - lower) * ((rank - below) / count));
            }
            below += count;
            if bound.is_finite() {
                lower = bound;
            }
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        let histogram = Histogram::detached();
        for value in [0, 1, 5, 6, 3_600_000, 3_600_001] {
            histogram.record(value);
        }
        let cumulative: Vec<_> = histogram.snapshot().cumulative().collect();
        assert_eq!(cumulative[..4], [(0.5, 1), (1.0, 2), (5.0, 3), (10.0, 4)]);
        assert_eq!(cumulative[18..], [(3_600_000.0, 5), (f64::INFINITY, 6)]);
        assert_eq!(histogram.snapshot().sum, 7_200_013);
    }

    #[test]
    fn quantiles_lie_in_their_bucket() {
        let histogram = Histogram::detached();
        assert_eq!(histogram.snapshot().quantile(0.5), None);
        (0..90).for_each(|_| histogram.record(3));
        (0..10).for_each(|_| histogram.record(200));
        let snapshot = histogram.snapshot();
        let p50 = snapshot.quantile(0.5).unwrap();
        let p99 = snapshot.quantile(0.99).unwrap();
        assert!((1.0..=5.0).contains(&p50), "{p50}");
        assert!((100.0..=250.0).contains(&p99), "{p99}");
    }
}
