//! Series that belong together, in one piece of memory.
//!
//! A cluster has some fifty series, and a mesh has thousands of clusters of which a proxy asks a few. So a block names its
//! series by a table that all blocks of its kind share, and has room for numbers only where something was counted.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
};

use super::{Counter, Gauge, Histogram, histogram::WIDTH, registry::Metric};

/// What a series of a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// How many cells it takes.
    fn cells(self) -> usize {
        match self {
            Kind::Counter => 1,
            Kind::Gauge => 0,
            Kind::Histogram => WIDTH,
        }
    }
}

/// The series of a block in order: names behind its prefix, and kinds.
pub(crate) type Table = &'static [(&'static str, Kind)];

/// Eight cells: a cache line, so that shards do not share one.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; 8]);

/// Four gauges: a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct GaugeLine([GaugeCell; 4]);

/// The number of a gauge.
#[derive(Debug, Default)]
pub(super) struct GaugeCell {
    pub(super) value: AtomicI64,
    pub(super) used: AtomicBool,
}

/// The numbers of one table.
#[derive(Debug)]
pub(super) struct Block {
    table: Table,
    /// Counters and histograms, for each shard; made when that shard first counts.
    shards: Box<[OnceLock<Box<[Line]>>]>,
    gauges: Box<[GaugeLine]>,
}

/// The shard of this thread: threads are numbered when they first count something.
fn shard() -> usize {
    thread_local!(static SHARD: Cell<usize> = const { Cell::new(usize::MAX) });
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            shard.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        shard.get()
    })
}

impl Block {
    pub(super) fn new(table: Table, shards: usize) -> Arc<Self> {
        let gauges = table.iter().filter(|(_, kind)| *kind == Kind::Gauge).count();
        Arc::new(Self {
            table,
            shards: (0..shards.max(1)).map(|_| OnceLock::new()).collect(),
            gauges: (0..gauges.div_ceil(4)).map(|_| GaugeLine::default()).collect(),
        })
    }

    /// The cell in which this thread counts.
    pub(super) fn cell(&self, at: usize) -> &AtomicU64 {
        let shard = if self.shards.len() == 1 { 0 } else { shard() % self.shards.len() };
        let lines = self.shards[shard].get_or_init(|| {
            let cells: usize = self.table.iter().map(|(_, kind)| kind.cells()).sum();
            (0..cells.div_ceil(8)).map(|_| Line::default()).collect()
        });
        &lines[at / 8].0[at % 8]
    }

    /// What all shards counted.
    pub(super) fn sum(&self, at: usize) -> u64 {
        let lines = self.shards.iter().filter_map(OnceLock::get);
        lines.map(|lines| lines[at / 8].0[at % 8].load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }

    pub(super) fn gauge(&self, at: usize) -> &GaugeCell {
        &self.gauges[at / 4].0[at % 4]
    }

    /// How many series it has.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether it was made by this table.
    pub(super) fn is_of(&self, table: Table) -> bool {
        std::ptr::eq(self.table, table) || self.table == table
    }

    /// Handles of all series, in order.
    pub(super) fn series(self: &Arc<Self>) -> impl Iterator<Item = (&'static str, Metric)> {
        let mut handles = Handles::new(self.clone(), BTreeMap::new());
        self.table.iter().map(move |(name, _)| (*name, handles.next_metric()))
    }
}

/// The handles of a block, taken out in the order of its table.
#[derive(Debug)]
pub(crate) struct Handles {
    block: Arc<Block>,
    /// Series of these names that were there before: they go on.
    known: BTreeMap<&'static str, Metric>,
    next: usize,
    cell: usize,
    gauge: usize,
}

impl Handles {
    pub(super) fn new(block: Arc<Block>, known: BTreeMap<&'static str, Metric>) -> Self {
        Self { block, known, next: 0, cell: 0, gauge: 0 }
    }

    /// The next handle, which the table says is a counter.
    pub(crate) fn counter(&mut self) -> Counter {
        match self.next_metric() {
            Metric::Counter(counter) => counter,
            _ => Counter::detached(),
        }
    }

    /// The next handle, which the table says is a gauge.
    pub(crate) fn gauge(&mut self) -> Gauge {
        match self.next_metric() {
            Metric::Gauge(gauge) => gauge,
            _ => Gauge::detached(),
        }
    }

    /// The next handle, which the table says is a histogram.
    pub(crate) fn histogram(&mut self) -> Histogram {
        match self.next_metric() {
            Metric::Histogram(histogram) => histogram,
            _ => Histogram::detached(),
        }
    }

    /// Beyond the table, a counter that nobody lists.
    fn next_metric(&mut self) -> Metric {
        let Some(&(name, kind)) = self.block.table.get(self.next) else { return Metric::Counter(Counter::detached()) };
        let metric = match kind {
            Kind::Counter => Metric::Counter(Counter::of(&self.block, self.cell)),
            Kind::Gauge => Metric::Gauge(Gauge::of(&self.block, self.gauge)),
            Kind::Histogram => Metric::Histogram(Histogram::of(&self.block, self.cell)),
        };
        self.next += 1;
        self.cell += kind.cells();
        self.gauge += usize::from(kind == Kind::Gauge);
        self.known.remove(name).unwrap_or(metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static TABLE: Table = &[
        ("a", Kind::Counter),
        ("g", Kind::Gauge),
        ("h", Kind::Histogram),
        ("b", Kind::Counter),
        ("g2", Kind::Gauge),
        ("c", Kind::Counter),
    ];

    #[test]
    fn numbers_do_not_touch_each_other() {
        let block = Block::new(TABLE, 3);
        assert!(block.shards.iter().all(|shard| shard.get().is_none()), "nothing counted, no room taken");
        let mut handles = Handles::new(block.clone(), BTreeMap::new());
        let (a, g, h) = (handles.counter(), handles.gauge(), handles.histogram());
        let (b, g2, c) = (handles.counter(), handles.gauge(), handles.counter());
        std::thread::scope(|s| {
            for _ in 0..6 {
                s.spawn(|| {
                    a.add(1);
                    b.add(10);
                    c.add(100);
                    h.record(7);
                    h.record(u64::from(u32::MAX));
                });
            }
        });
        g.set(5);
        g2.add(6);
        assert_eq!((a.value(), b.value(), c.value()), (6, 60, 600));
        assert_eq!((g.value(), g2.value()), (5, 6));
        assert_eq!(h.snapshot().count(), 12);
        assert_eq!(h.snapshot().sum, 6 * (7 + u64::from(u32::MAX)));
        let names: Vec<_> = block.series().map(|(name, metric)| (name, metric.used())).collect();
        assert_eq!(names, [("a", true), ("g", true), ("h", true), ("b", true), ("g2", true), ("c", true)]);
    }
}
