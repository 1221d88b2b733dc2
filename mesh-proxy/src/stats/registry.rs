use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use parking_lot::Mutex;

use super::{Counter, Gauge, Histogram};

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
    series: Mutex<BTreeMap<Arc<str>, Series>>,
    overflow: Counter,
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
        let series = Mutex::new(BTreeMap::from([(Arc::from("stats.overflow"), series)]));
        Self(Arc::new(Inner { options, series, overflow }))
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

    /// Forgets every series whose name begins with `prefix` (give the dot that ends it: `cluster.a.`). Handles of them
    /// still work but are not listed any more.
    pub fn remove_prefix(&self, prefix: &str) {
        let mut series = self.0.series.lock();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let names: Vec<Arc<str>> =
            series.range::<str, _>(from).map(|(name, _)| name.clone()).take_while(|n| n.starts_with(prefix)).collect();
        for name in names {
            series.remove(&name);
        }
    }

    /// Value of the counter or gauge of this name, if there is one.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<u64> {
        match &self.0.series.lock().get(name)?.metric {
            Metric::Counter(counter) => Some(counter.value()),
            Metric::Gauge(gauge) => Some(gauge.value()),
            Metric::Histogram(_) => None,
        }
    }

    /// All series, by name.
    pub(super) fn series(&self) -> Vec<(Arc<str>, Series)> {
        self.0.series.lock().iter().map(|(name, series)| (name.clone(), series.clone())).collect()
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
        let mut series = self.0.series.lock();
        if let Some(found) = series.get(name) {
            return found.metric.clone();
        }
        let metric = make();
        if series.len() >= self.0.options.max_series {
            self.0.overflow.inc();
        } else {
            series.insert(Arc::from(name), Series { metric: metric.clone(), labelled });
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
    use super::*;

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

    #[test]
    fn beyond_the_limit_nothing_is_listed_and_it_shows() {
        let stats = Stats::new(StatsOptions { max_series: 2, ..Default::default() });
        stats.counter("a").inc();
        stats.counter("b").inc();
        assert_eq!(stats.value("b"), None);
        assert_eq!(stats.value("stats.overflow"), Some(1));
    }
}
