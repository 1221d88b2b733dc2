use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
};

/// The shard of this thread: threads are numbered when they first count something.
pub(super) fn shard() -> usize {
    thread_local!(static SHARD: Cell<usize> = const { Cell::new(usize::MAX) });
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            shard.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        shard.get()
    })
}

/// A cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Padded(AtomicU64);

/// A number that only grows. Cheap to clone; clones count into the same number.
#[derive(Clone, Debug)]
pub struct Counter(Arc<[Padded]>);

impl Counter {
    /// A counter that no registry lists.
    #[must_use]
    pub fn detached() -> Self {
        Self::with_shards(1)
    }

    pub(super) fn with_shards(shards: usize) -> Self {
        Self((0..shards.max(1)).map(|_| Padded::default()).collect())
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        let shard = if self.0.len() == 1 { 0 } else { shard() % self.0.len() };
        self.0[shard].0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.iter().map(|shard| shard.0.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct GaugeInner {
    value: AtomicI64,
    used: AtomicBool,
}

/// A number that goes up and down. Cheap to clone; clones share the number.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<GaugeInner>);

impl Gauge {
    /// A gauge that no registry lists.
    #[must_use]
    pub fn detached() -> Self {
        Self::default()
    }

    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.touch();
        self.0.value.store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
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
        self.0.value.fetch_add(i64::try_from(n).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Takes `n` away.
    pub fn sub(&self, n: u64) {
        self.touch();
        self.0.value.fetch_sub(i64::try_from(n).unwrap_or(i64::MAX), Ordering::Relaxed);
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
        u64::try_from(self.0.value.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Whether it was ever changed.
    #[must_use]
    pub fn used(&self) -> bool {
        self.0.used.load(Ordering::Relaxed)
    }

    fn touch(&self) {
        if !self.0.used.load(Ordering::Relaxed) {
            self.0.used.store(true, Ordering::Relaxed);
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
