use std::{collections::BTreeMap, fmt::Write as _};

use super::{Stats, StatsQuery, registry::Metric, tags};

impl Stats {
    /// Prometheus' text format 0.0.4. Envoy's names get the prefix `envoy_`; labelled families keep theirs.
    ///
    /// A gauge whose name falls together with a counter's after sanitising is left out: the format allows one type for a
    /// name.
    #[must_use]
    pub fn prometheus(&self, query: &StatsQuery) -> String {
        let mut families: BTreeMap<String, (&'static str, String)> = BTreeMap::new();
        for (name, series) in self.series() {
            if !query.admits(&name, &series.metric) {
                continue;
            }
            let (family, labels) = match &series.labelled {
                Some((family, labels)) => ((*family).to_owned(), label_text(labels)),
                None => {
                    let tagged = tags::extract(&name);
                    (format!("envoy_{}", sanitise(&tagged.name)), label_text(&tagged.labels))
                }
            };
            let kind = type_of(&series.metric);
            let (first, out) = families.entry(family.clone()).or_insert_with(|| (kind, String::new()));
            if *first == kind {
                write_series(out, &family, &labels, &series.metric);
            }
        }
        let mut text = String::new();
        for (family, (kind, lines)) in families {
            let _ = writeln!(text, "# TYPE {family} {kind}");
            text.push_str(&lines);
        }
        text
    }
}

fn type_of(metric: &Metric) -> &'static str {
    match metric {
        Metric::Counter(_) => "counter",
        Metric::Gauge(_) => "gauge",
        Metric::Histogram(_) => "histogram",
    }
}

fn write_series(out: &mut String, family: &str, labels: &str, metric: &Metric) {
    // Writing to a String cannot fail.
    let _ = match metric {
        Metric::Counter(counter) => writeln!(out, "{family}{{{labels}}} {}", counter.value()),
        Metric::Gauge(gauge) => writeln!(out, "{family}{{{labels}}} {}", gauge.value()),
        Metric::Histogram(histogram) => {
            let snapshot = histogram.snapshot();
            let comma = if labels.is_empty() { "" } else { "," };
            for (bound, count) in snapshot.cumulative() {
                let le = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
                let _ = writeln!(out, "{family}_bucket{{{labels}{comma}le=\"{le}\"}} {count}");
            }
            let _ = writeln!(out, "{family}_sum{{{labels}}} {}", snapshot.sum);
            writeln!(out, "{family}_count{{{labels}}} {}", snapshot.count())
        }
    };
}

fn sanitise(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == ':' { c } else { '_' }).collect()
}

fn label_text(labels: &[(&'static str, String)]) -> String {
    let mut text = String::new();
    for (label, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(label);
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                c => text.push(c),
            }
        }
        text.push('"');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_type_line_for_a_family() {
        let stats = Stats::default();
        stats.counter("cluster.b.upstream_rq_total").inc();
        stats.counter("cluster.a.upstream_rq_total").add(2);
        stats.gauge("server.live").set(1);
        let text = stats.prometheus(&StatsQuery { used_only: true, ..Default::default() });
        assert_eq!(
            text,
            "# TYPE envoy_cluster_upstream_rq_total counter\n\
             envoy_cluster_upstream_rq_total{envoy_cluster_name=\"a\"} 2\n\
             envoy_cluster_upstream_rq_total{envoy_cluster_name=\"b\"} 1\n\
             # TYPE envoy_server_live gauge\n\
             envoy_server_live{} 1\n"
        );
    }

    #[test]
    fn labelled_families_and_histograms() {
        let stats = Stats::default();
        stats.labelled_counter("istio_requests_total", vec![("reporter", "a\"b\n".into())]).inc();
        stats.histogram("cluster.a.upstream_rq_time").record(7);
        let text = stats.prometheus(&StatsQuery::default());
        assert!(text.contains("istio_requests_total{reporter=\"a\\\"b\\n\"} 1\n"), "{text}");
        let bucket = |le: &str, n: u32| {
            format!("envoy_cluster_upstream_rq_time_bucket{{envoy_cluster_name=\"a\",le=\"{le}\"}} {n}\n")
        };
        for (le, n) in [("0.5", 0), ("5", 0), ("10", 1), ("3600000", 1), ("+Inf", 1)] {
            assert!(text.contains(&bucket(le, n)), "{le}: {text}");
        }
        assert!(text.contains("envoy_cluster_upstream_rq_time_sum{envoy_cluster_name=\"a\"} 7\n"));
        assert!(text.contains("envoy_cluster_upstream_rq_time_count{envoy_cluster_name=\"a\"} 1\n"));
    }
}
