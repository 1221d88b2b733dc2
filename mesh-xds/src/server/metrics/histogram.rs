//! Counts by size.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts values by upper bounds. The unit is the caller's.
#[derive(Debug)]
pub(in crate::server) struct Histogram {
    bounds: &'static [f64],
    /// One more than bounds: what is larger than all.
    counts: Vec<AtomicU64>,
    /// In millionths, so that it can be added to at once.
    sum: AtomicU64,
}

/// A histogram as of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bounds, and how many values were at most that: each count includes those before.
    pub buckets: Vec<(f64, u64)>,
    /// How many values there were.
    pub count: u64,
    /// All values added up.
    pub sum: f64,
}

const MILLION: f64 = 1e6;

impl Histogram {
    pub(in crate::server) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    pub(in crate::server) fn record(&self, value: f64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.counts[place].fetch_add(1, Relaxed);
        self.sum.fetch_add((value * MILLION) as u64, Relaxed);
    }

    pub(in crate::server) fn snapshot(&self) -> HistogramSnapshot {
        let mut count = 0;
        let mut up_to = self.counts.iter().map(|c| {
            count += c.load(Relaxed);
            count
        });
        let buckets = self.bounds.iter().copied().zip(&mut up_to).collect();
        up_to.next();
        HistogramSnapshot { buckets, count, sum: self.sum.load(Relaxed) as f64 / MILLION }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_includes_those_before() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for value in [0.05, 0.1, 0.5, 7.25] {
            histogram.record(value);
        }
        let expected = HistogramSnapshot { buckets: vec![(0.1, 2), (1.0, 3)], count: 4, sum: 7.9 };
        assert_eq!(histogram.snapshot(), expected);
    }
}
