use std::sync::{Arc, atomic::Ordering};

use super::block::{Block, GaugeCell, Kind};

/// A number that only grows. Cheap to clone; clones count into the same number.
#[derive(Clone, Debug)]
pub struct Counter {
    block: Arc<Block>,
    cell: u32,
}

impl Counter {
    /// A counter that no registry lists.
    #[must_use]
    pub fn detached() -> Self {
        Self::with_shards(1)
    }

    pub(super) fn with_shards(shards: usize) -> Self {
        Self::of(&Block::new(&[("", Kind::Counter)], shards), 0)
    }

    pub(super) fn of(block: &Arc<Block>, cell: usize) -> Self {
        Self { block: block.clone(), cell: cell as u32 }
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.block.cell(self.cell as usize).fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.block.sum(self.cell as usize)
    }
}

/// A number that goes up and down. Cheap to clone; clones share the number.
#[derive(Clone, Debug)]
pub struct Gauge {
    block: Arc<Block>,
    at: u32,
}

impl Default for Gauge {
    fn default() -> Self {
        Self::detached()
    }
}

impl Gauge {
    /// A gauge that no registry lists.
    #[must_use]
    pub fn detached() -> Self {
        Self::of(&Block::new(&[("", Kind::Gauge)], 1), 0)
    }

    pub(super) fn of(block: &Arc<Block>, at: usize) -> Self {
        Self { block: block.clone(), at: at as u32 }
    }

    fn cell(&self) -> &GaugeCell {
        self.block.gauge(self.at as usize)
    }

    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.touch();
        self.cell().value.store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes one away.
    pub fn dec(&self) {
        self.sub(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.touch();
        self.cell().value.fetch_add(i64::try_from(n).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Takes `n` away.
    pub fn sub(&self, n: u64) {
        self.touch();
        self.cell().value.fetch_sub(i64::try_from(n).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Adds one until the guard is dropped.
    #[must_use = "the gauge goes down again when the guard is dropped"]
    pub fn hold(&self) -> GaugeHold {
        self.inc();
        GaugeHold(self.clone())
    }

    /// The value now; never below zero.
    #[must_use]
    pub fn value(&self) -> u64 {
        u64::try_from(self.cell().value.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Whether it was ever changed.
    #[must_use]
    pub fn used(&self) -> bool {
        self.cell().used.load(Ordering::Relaxed)
    }

    fn touch(&self) {
        let used = &self.cell().used;
        if !used.load(Ordering::Relaxed) {
            used.store(true, Ordering::Relaxed);
        }
    }
}

/// Keeps a [`Gauge`] one higher while it lives.
#[derive(Debug)]
pub struct GaugeHold(Gauge);

impl Drop for GaugeHold {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_add_up() {
        let counter = Counter::with_shards(4);
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| (0..1000).for_each(|_| counter.inc()));
            }
        });
        assert_eq!(counter.value(), 8000);
    }

    #[test]
    fn gauge_guard_gives_back() {
        let gauge = Gauge::detached();
        assert!(!gauge.used());
        let hold = gauge.hold();
        assert_eq!(gauge.value(), 1);
        drop(hold);
        assert_eq!((gauge.value(), gauge.used()), (0, true));
    }
}
