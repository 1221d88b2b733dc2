use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{HistogramSnapshot, Stats, histogram::QUANTILES, registry::Metric};

/// Which series to show.
#[derive(Clone, Debug, Default)]
pub struct StatsQuery {
    /// Only those that ever changed.
    pub used_only: bool,
    /// Only names in which this is found.
    pub filter: Option<regex::Regex>,
    /// Only this kind.
    pub kind: Option<StatKind>,
}

/// Kind of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatKind {
    /// Counters.
    Counters,
    /// Gauges.
    Gauges,
    /// Histograms.
    Histograms,
}

impl StatsQuery {
    pub(super) fn admits(&self, name: &str, metric: &Metric) -> bool {
        let kind = match metric {
            Metric::Counter(_) => StatKind::Counters,
            Metric::Gauge(_) => StatKind::Gauges,
            Metric::Histogram(_) => StatKind::Histograms,
        };
        self.kind.is_none_or(|k| k == kind)
            && self.filter.as_ref().is_none_or(|f| f.is_match(name))
            && (!self.used_only || metric.used())
    }
}

impl Stats {
    /// The text of `/stats`: `name: value` lines sorted by name, then the histograms.
    #[must_use]
    pub fn text(&self, query: &StatsQuery) -> String {
        let mut numbers = String::new();
        let mut histograms = String::new();
        for (name, series) in self.series() {
            if !query.admits(&name, &series.metric) {
                continue;
            }
            // Writing to a String cannot fail.
            let _ = match &series.metric {
                Metric::Counter(counter) => writeln!(numbers, "{name}: {}", counter.value()),
                Metric::Gauge(gauge) => writeln!(numbers, "{name}: {}", gauge.value()),
                Metric::Histogram(histogram) => writeln!(histograms, "{name}: {}", summary(&histogram.snapshot())),
            };
        }
        numbers + &histograms
    }

    /// The JSON of `/stats?format=json`. Histograms have no interval values, since nothing is flushed.
    #[must_use]
    pub fn json(&self, query: &StatsQuery) -> Value {
        let mut numbers = Vec::new();
        let mut histograms = Vec::new();
        for (name, series) in self.series() {
            if !query.admits(&name, &series.metric) {
                continue;
            }
            match &series.metric {
                Metric::Counter(counter) => numbers.push(json!({"name": &*name, "value": counter.value()})),
                Metric::Gauge(gauge) => numbers.push(json!({"name": &*name, "value": gauge.value()})),
                Metric::Histogram(histogram) => {
                    let snapshot = histogram.snapshot();
                    let values = QUANTILES.map(|q| json!({"interval": null, "cumulative": snapshot.quantile(q)}));
                    histograms.push(json!({"name": &*name, "values": values}));
                }
            }
        }
        if !histograms.is_empty() {
            let supported = QUANTILES.map(|q| q * 100.0);
            numbers.push(json!({"histograms": {"supported_quantiles": supported, "computed_quantiles": histograms}}));
        }
        json!({ "stats": numbers })
    }
}

fn summary(snapshot: &HistogramSnapshot) -> String {
    if snapshot.count() == 0 {
        return "No recorded values".to_owned();
    }
    let one = |q: &f64| {
        let value = snapshot.quantile(*q).unwrap_or_default();
        format!("P{}(nan,{})", q * 100.0, (value * 1000.0).round() / 1000.0)
    };
    QUANTILES.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json() {
        let stats = Stats::default();
        stats.counter("b").inc();
        stats.gauge("a").set(3);
        let _ = stats.histogram("h_ms");
        assert_eq!(stats.text(&StatsQuery::default()), "a: 3\nb: 1\nstats.overflow: 0\nh_ms: No recorded values\n");
        let used = StatsQuery { used_only: true, ..Default::default() };
        assert_eq!(stats.json(&used), json!({"stats": [{"name": "a", "value": 3}, {"name": "b", "value": 1}]}));
        stats.histogram("h_ms").record(5);
        assert!(stats.text(&used).contains("h_ms: P0(nan,1) P25("), "{}", stats.text(&used));
        let json = stats.json(&StatsQuery { kind: Some(StatKind::Histograms), ..Default::default() });
        assert_eq!(json["stats"][0]["histograms"]["computed_quantiles"][0]["name"], "h_ms");
    }
}
