use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use parking_lot::Mutex;

use super::{
    Counter, Gauge, Histogram,
    block::{Block, Handles, Table},
};

/// Limits of a [`Stats`] registry.
#[derive(Clone, Copy, Debug)]
pub struct StatsOptions {
    /// Shards of each counter and histogram: as many as workers count at the same time. Default 1.
    pub shards: usize,
    /// Most series that are listed. Default 200 000.
    pub max_series: usize,
}

impl Default for StatsOptions {
    fn default() -> Self {
        Self { shards: 1, max_series: 200_000 }
    }
}

/// A series of any kind.
#[derive(Clone, Debug)]
pub(super) enum Metric {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Metric {
    pub(super) fn used(&self) -> bool {
        match self {
            Metric::Counter(counter) => counter.value() != 0,
            Metric::Gauge(gauge) => gauge.used(),
            Metric::Histogram(histogram) => histogram.snapshot().count() != 0,
        }
    }
}

/// Labels of a series that is not named in Envoy's dotted form.
pub(super) type Labels = Arc<[(&'static str, String)]>;

/// A registered series.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) metric: Metric,
    /// Family and labels, for series made by the `labelled_*` functions.
    pub(super) labelled: Option<(&'static str, Labels)>,
}

/// The registry of statistics. Cheap to clone; clones are the same registry.
#[derive(Clone, Debug)]
pub struct Stats(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: StatsOptions,
    listed: Mutex<Listed>,
    overflow: Counter,
}

/// What is listed.
#[derive(Debug, Default)]
struct Listed {
    /// Series that stand alone. Where a block has one of the same name, this is the one.
    series: BTreeMap<Arc<str>, Series>,
    /// Blocks by the prefix of their names, which ends in a dot.
    blocks: BTreeMap<Box<str>, Vec<Arc<Block>>>,
    /// Series in all blocks.
    in_blocks: usize,
}

impl Listed {
    fn len(&self) -> usize {
        self.series.len() + self.in_blocks
    }

    fn find(&self, name: &str) -> Option<Metric> {
        if let Some(series) = self.series.get(name) {
            return Some(series.metric.clone());
        }
        name.match_indices('.').find_map(|(dot, _)| {
            let (prefix, rest) = name.split_at(dot + 1);
            let mut series = self.blocks.get(prefix)?.iter().flat_map(Block::series);
            series.find_map(|(name, metric)| (name == rest).then_some(metric))
        })
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self::new(StatsOptions::default())
    }
}

impl Stats {
    /// An empty registry.
    #[must_use]
    pub fn new(options: StatsOptions) -> Self {
        let overflow = Counter::with_shards(1);
        let series = Series { metric: Metric::Counter(overflow.clone()), labelled: None };
        let series = BTreeMap::from([(Arc::from("stats.overflow"), series)]);
        let listed = Mutex::new(Listed { series, ..Default::default() });
        Self(Arc::new(Inner { options, listed, overflow }))
    }

    /// The counter of this name, made when first asked for.
    #[must_use]
    pub fn counter(&self, name: &str) -> Counter {
        self.counter_of(name, None)
    }

    /// The gauge of this name, made when first asked for.
    #[must_use]
    pub fn gauge(&self, name: &str) -> Gauge {
        let make = || Metric::Gauge(Gauge::detached());
        match self.get_or_insert(name, None, make) {
            Metric::Gauge(gauge) => gauge,
            _ => Gauge::detached(),
        }
    }

    /// The histogram of this name, made when first asked for. Names of times end in `_ms` or `_time` and are in milliseconds.
    #[must_use]
    pub fn histogram(&self, name: &str) -> Histogram {
        self.histogram_of(name, None)
    }

    /// The counter of a family whose Prometheus name and labels are exactly these (Istio's metrics).
    #[must_use]
    pub fn labelled_counter(&self, family: &'static str, labels: Vec<(&'static str, String)>) -> Counter {
        self.counter_of(&labelled_name(family, &labels), Some((family, labels.into())))
    }

    /// The histogram of a family whose Prometheus name and labels are exactly these.
    #[must_use]
    pub fn labelled_histogram(&self, family: &'static str, labels: Vec<(&'static str, String)>) -> Histogram {
        self.histogram_of(&labelled_name(family, &labels), Some((family, labels.into())))
    }

    /// The series of a table, named `prefix` (which ends in a dot) and what the table says, made when first asked for.
    pub(crate) fn block(&self, prefix: &str, table: Table) -> Handles {
        let mut listed = self.0.listed.lock();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let known = listed.series.range::<str, _>(from).map_while(|(name, s)| Some((name.strip_prefix(prefix)?, s)));
        let known = known.filter_map(|(name, series)| {
            let (name, _) = table.iter().find(|(known, _)| *known == name)?;
            Some((*name, series.metric.clone()))
        });
        let known = known.collect();
        if let Some(block) = listed.blocks.get(prefix).into_iter().flatten().find(|block| block.is_of(table)) {
            return Handles::new(block.clone(), known);
        }
        let block = Block::new(table, self.0.options.shards);
        if listed.len() + table.len() > self.0.options.max_series {
            self.0.overflow.add(table.len() as u64);
        } else {
            listed.blocks.entry(prefix.into()).or_default().push(block.clone());
            listed.in_blocks += table.len();
        }
        Handles::new(block, known)
    }

    /// Forgets every series whose name begins with `prefix` (give the dot that ends it: `cluster.a.`). Handles of them
    /// still work but are not listed any more.
    pub fn remove_prefix(&self, prefix: &str) {
        let mut listed = self.0.listed.lock();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let names: Vec<Arc<str>> = listed
            .series
            .range::<str, _>(from)
            .map(|(name, _)| name.clone())
            .take_while(|n| n.starts_with(prefix))
            .collect();
        for name in names {
            listed.series.remove(&name);
        }
        let prefixes: Vec<Box<str>> = listed
            .blocks
            .range::<str, _>(from)
            .map(|(name, _)| name.clone())
            .take_while(|n| n.starts_with(prefix))
            .collect();
        for prefix in prefixes {
            let blocks = listed.blocks.remove(&prefix).unwrap_or_default();
            listed.in_blocks -= blocks.iter().map(|block| block.len()).sum::<usize>();
        }
    }

    /// Value of the counter or gauge of this name, if there is one.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<u64> {
        match self.0.listed.lock().find(name)? {
            Metric::Counter(counter) => Some(counter.value()),
            Metric::Gauge(gauge) => Some(gauge.value()),
            Metric::Histogram(_) => None,
        }
    }

    /// All series, by name.
    pub(super) fn series(&self) -> Vec<(Arc<str>, Series)> {
        let listed = self.0.listed.lock();
        let mut all: Vec<_> = listed.series.iter().map(|(name, series)| (name.clone(), series.clone())).collect();
        for (prefix, block) in listed.blocks.iter().flat_map(|(prefix, blocks)| blocks.iter().map(move |b| (prefix, b)))
        {
            let named = block.series().map(|(name, metric)| (Arc::from(format!("{prefix}{name}")), metric));
            let alone = named.filter(|(name, _)| !listed.series.contains_key(name));
            all.extend(alone.map(|(name, metric)| (name, Series { metric, labelled: None })));
        }
        drop(listed);
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    fn counter_of(&self, name: &str, labelled: Option<(&'static str, Labels)>) -> Counter {
        let make = || Metric::Counter(Counter::with_shards(self.0.options.shards));
        match self.get_or_insert(name, labelled, make) {
            Metric::Counter(counter) => counter,
            _ => Counter::detached(),
        }
    }

    fn histogram_of(&self, name: &str, labelled: Option<(&'static str, Labels)>) -> Histogram {
        let make = || Metric::Histogram(Histogram::with_shards(self.0.options.shards));
        match self.get_or_insert(name, labelled, make) {
            Metric::Histogram(histogram) => histogram,
            _ => Histogram::detached(),
        }
    }

    fn get_or_insert(
        &self,
        name: &str,
        labelled: Option<(&'static str, Labels)>,
        make: impl FnOnce() -> Metric,
    ) -> Metric {
        let mut listed = self.0.listed.lock();
        if let Some(found) = listed.find(name) {
            return found;
        }
        let metric = make();
        if listed.len() >= self.0.options.max_series {
            self.0.overflow.inc();
        } else {
            listed.series.insert(Arc::from(name), Series { metric: metric.clone(), labelled });
        }
        metric
    }
}

fn labelled_name(family: &str, labels: &[(&'static str, String)]) -> String {
    let mut name = family.to_owned();
    for (label, value) in labels {
        name.push_str(if name.len() == family.len() { "{" } else { "," });
        name.push_str(label);
        name.push('=');
        name.push_str(value);
    }
    name.push('}');
    name
}

#[cfg(test)]
mod tests {
    use super::{super::Kind, *};

    #[test]
    fn same_name_same_number() {
        let stats = Stats::default();
        stats.counter("a.b").add(2);
        stats.clone().counter("a.b").inc();
        assert_eq!(stats.value("a.b"), Some(3));
    }

    #[test]
    fn removal_takes_the_prefix_only() {
        let stats = Stats::default();
        for name in ["cluster.a.x", "cluster.a.y", "cluster.ab.x", "cluster.b.x"] {
            stats.counter(name).inc();
        }
        stats.remove_prefix("cluster.a.");
        let left: Vec<_> = stats.series().into_iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(left, ["cluster.ab.x", "cluster.b.x", "stats.overflow"]);
    }

    static TABLE: Table = &[("hits", Kind::Counter), ("level", Kind::Gauge), ("time", Kind::Histogram)];

    #[test]
    fn a_blocks_series_are_series() {
        let stats = Stats::default();
        let before = stats.counter("cluster.a.hits");
        for name in ["cluster.a.", "cluster.b."] {
            let mut block = stats.block(name, TABLE);
            block.counter().inc();
            block.gauge().set(7);
            block.histogram().record(3);
        }
        assert_eq!((before.value(), stats.value("cluster.b.hits")), (1, Some(1)));
        stats.counter("cluster.b.hits").inc();
        stats.block("cluster.b.", TABLE).counter().inc();
        assert_eq!(stats.value("cluster.b.hits"), Some(3));
        assert_eq!(stats.gauge("cluster.a.level").value(), 7);
        assert_eq!(stats.histogram("cluster.a.time").snapshot().sum, 3);
        let names: Vec<_> = stats.series().into_iter().map(|(name, _)| name.to_string()).collect();
        let expected = ["a.hits", "a.level", "a.time", "b.hits", "b.level", "b.time"].map(|n| format!("cluster.{n}"));
        assert_eq!(names[..6], expected);
        assert_eq!(names[6..], ["stats.overflow"]);
        stats.remove_prefix("cluster.b.");
        assert_eq!(stats.value("cluster.b.hits"), None);
        assert_eq!(stats.block("cluster.b.", TABLE).counter().value(), 0, "begins anew");
    }

    #[test]
    fn blocks_count_toward_the_limit() {
        let stats = Stats::new(StatsOptions { max_series: 5, ..Default::default() });
        stats.block("a.", TABLE).counter().inc();
        let mut late = stats.block("b.", TABLE);
        late.counter().inc();
        assert_eq!((stats.value("a.hits"), stats.value("b.hits")), (Some(1), None));
        assert_eq!(stats.value("stats.overflow"), Some(3));
        stats.remove_prefix("a.");
        stats.block("b.", TABLE).counter().inc();
        assert_eq!(stats.value("b.hits"), Some(1));
    }

    #[test]
    fn beyond_the_limit_nothing_is_listed_and_it_shows() {
        let stats = Stats::new(StatsOptions { max_series: 2, ..Default::default() });
        stats.counter("a").inc();
        stats.counter("b").inc();
        assert_eq!(stats.value("b"), None);
        assert_eq!(stats.value("stats.overflow"), Some(1));
    }
}
