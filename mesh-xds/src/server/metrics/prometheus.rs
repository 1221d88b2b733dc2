//! Counters in Prometheus' text format.

use std::fmt::Write as _;

use super::{HistogramSnapshot, MetricsSnapshot, TypeMetrics};
use crate::server::XdsServer;

/// Labels of a server's lines: names and values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// Counters of servers, each under its own labels, in Prometheus' text format (version 0.0.4). With several servers the
/// labels must tell them apart.
///
/// Every counter of [`MetricsSnapshot`] is `mesh_xds_NAME`. Besides, under the names that operators of Istio know, what can
/// be measured here and means the same:
///
/// | name | what |
/// |---|---|
/// | `pilot_xds` | gauge: streams open |
/// | `pilot_xds_pushes{type}` | pushes |
/// | `pilot_xds_config_size_bytes{type}` | histogram: bytes of a push |
/// | `pilot_total_xds_rejects{type}` | pushes refused |
/// | `pilot_xds_{cds,eds,lds,rds}_reject` | pushes refused, by name |
/// | `pilot_xds_expired_nonce{type}` | answers dropped for their nonce |
/// | `pilot_xds_write_timeout` | streams ended because the client did not read |
/// | `pilot_proxy_convergence_time` | histogram: seconds from a change of the view to the client's last answer (Istio: to the last push) |
/// | `mesh_xds_answer_seconds{type}` | histogram: seconds from a push to its acceptance |
///
/// `type` is bounded: see [`TypeMetrics::type_name`].
#[must_use]
pub fn prometheus<'a>(servers: impl IntoIterator<Item = (&'a XdsServer, Labels<'a>)>) -> String {
    let all: Vec<Told<'_>> = servers.into_iter().map(|(server, labels)| Told::of(server, labels)).collect();
    let mut text = String::new();
    for (index, (name, help, kind)) in MetricsSnapshot::families().enumerate() {
        let value = |t: &Told<'_>| t.counters.iter().nth(index).map_or(0, |(_, value)| value);
        family(&mut text, &format!("mesh_xds_{name}"), help, kind, all.iter().map(|t| (t.labels, value(t))));
    }
    let open = all.iter().map(|t| (t.labels, t.counters.streams_open));
    family(&mut text, "pilot_xds", "Streams open now.", "gauge", open);
    let unread = all.iter().map(|t| (t.labels, t.counters.write_timeouts));
    family(&mut text, "pilot_xds_write_timeout", "Streams ended because the client did not read.", "counter", unread);
    by_type(&mut text, &all, "pilot_xds_pushes", "Pushes sent.", |t| t.pushes);
    by_type(&mut text, &all, "pilot_total_xds_rejects", "Pushes refused.", |t| t.nacks);
    by_type(&mut text, &all, "pilot_xds_expired_nonce", "Answers dropped for their nonce.", |t| t.stale_nonces);
    for name in ["cds", "eds", "lds", "rds"] {
        let refused = |t: &Told<'_>| t.types.iter().find(|t| t.type_name == name).map_or(0, |t| t.nacks);
        let help = format!("Pushes of {name} refused.");
        let values = all.iter().map(|t| (t.labels, refused(t)));
        family(&mut text, &format!("pilot_xds_{name}_reject"), &help, "counter", values);
    }
    let name = "pilot_proxy_convergence_time";
    head(&mut text, name, "Seconds from a change to the client's last answer.", "histogram");
    all.iter().for_each(|t| histogram(&mut text, name, t.labels, None, &t.convergence));
    histograms(&mut text, &all, "pilot_xds_config_size_bytes", "Bytes of a push.", |t| &t.push_bytes);
    histograms(&mut text, &all, "mesh_xds_answer_seconds", "Seconds from a push to its acceptance.", |t| {
        &t.answer_time
    });
    text
}

/// What is told of one server.
struct Told<'a> {
    labels: Labels<'a>,
    counters: MetricsSnapshot,
    types: Vec<TypeMetrics>,
    convergence: HistogramSnapshot,
}

impl<'a> Told<'a> {
    fn of(server: &XdsServer, labels: Labels<'a>) -> Self {
        Self {
            labels,
            counters: server.metrics(),
            types: server.metrics_by_type(),
            convergence: server.convergence_time(),
        }
    }
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", help.trim());
}

fn family<'a>(text: &mut String, name: &str, help: &str, kind: &str, values: impl Iterator<Item = (Labels<'a>, u64)>) {
    head(text, name, help, kind);
    for (labels, value) in values {
        let _ = writeln!(text, "{name}{} {value}", Braces(labels, None, None));
    }
}

fn by_type(text: &mut String, all: &[Told<'_>], name: &str, help: &str, of: impl Fn(&TypeMetrics) -> u64) {
    head(text, name, help, "counter");
    for (told, one) in all.iter().flat_map(|t| t.types.iter().map(move |one| (t, one))) {
        let _ = writeln!(text, "{name}{} {}", Braces(told.labels, Some(one.type_name), None), of(one));
    }
}

fn histograms(
    text: &mut String,
    all: &[Told<'_>],
    name: &str,
    help: &str,
    of: impl Fn(&TypeMetrics) -> &HistogramSnapshot,
) {
    head(text, name, help, "histogram");
    for (told, one) in all.iter().flat_map(|t| t.types.iter().map(move |one| (t, one))) {
        histogram(text, name, told.labels, Some(one.type_name), of(one));
    }
}

fn histogram(text: &mut String, name: &str, labels: Labels<'_>, type_name: Option<&str>, values: &HistogramSnapshot) {
    let buckets = values.buckets.iter().map(|(bound, count)| (bound.to_string(), *count));
    for (bound, count) in buckets.chain([("+Inf".to_owned(), values.count)]) {
        let _ = writeln!(text, "{name}_bucket{} {count}", Braces(labels, type_name, Some(&bound)));
    }
    let braces = Braces(labels, type_name, None);
    let _ = writeln!(text, "{name}_sum{braces} {}\n{name}_count{braces} {}", values.sum, values.count);
}

/// `{name="value",type="...",le="..."}`, or nothing.
struct Braces<'a>(Labels<'a>, Option<&'a str>, Option<&'a str>);

impl std::fmt::Display for Braces<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let special = [("type", self.1), ("le", self.2)];
        let special = special.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let mut open = "{";
        for (name, value) in self.0.iter().copied().chain(special) {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(f, "{open}{name}=\"{value}\"")?;
            open = ",";
        }
        if open == "," { f.write_str("}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;
    use crate::{
        TypeUrl,
        store::{SingleView, View},
    };

    #[test]
    fn families_are_whole_and_values_are_under_their_labels() {
        let servers = ["tls", "plain"].map(|_| XdsServer::builder(SingleView(View::new())).build());
        servers[0].inner.by_type.pushed(&TypeUrl::CLUSTER, 20_000);
        servers[0].inner.by_type.nacked(&TypeUrl::CLUSTER);
        servers[1].inner.by_type.acked(&"x/acme.Own".into(), Duration::from_millis(500));
        servers[1].inner.convergence.record(0.2);
        let labels = [[("port", "tls")], [("port", "pl\"ain")]];
        let text = prometheus(servers.iter().zip(labels.iter().map(|l| &l[..])));
        for line in [
            r#"pilot_xds{port="tls"} 0"#,
            r#"pilot_xds_pushes{port="tls",type="cds"} 1"#,
            r#"pilot_xds_pushes{port="pl\"ain",type="cds"} 0"#,
            r#"pilot_total_xds_rejects{port="tls",type="cds"} 1"#,
            r#"pilot_xds_cds_reject{port="tls"} 1"#,
            r#"pilot_xds_config_size_bytes_bucket{port="tls",type="cds",le="10000"} 0"#,
            r#"pilot_xds_config_size_bytes_bucket{port="tls",type="cds",le="1000000"} 1"#,
            r#"pilot_xds_config_size_bytes_sum{port="tls",type="cds"} 20000"#,
            r#"pilot_proxy_convergence_time_bucket{port="pl\"ain",le="0.1"} 0"#,
            r#"pilot_proxy_convergence_time_bucket{port="pl\"ain",le="+Inf"} 1"#,
            r#"mesh_xds_answer_seconds_sum{port="pl\"ain",type="other"} 0.5"#,
            "# TYPE mesh_xds_streams_open gauge",
            "# TYPE mesh_xds_streams_total counter",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        // A family is told once, all of it together.
        let mut told = BTreeSet::new();
        for name in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")).filter_map(|l| l.split(' ').next()) {
            assert!(told.insert(name), "{name} twice");
        }
        let no_labels = prometheus([(&servers[0], &[][..])]);
        assert!(no_labels.contains("\npilot_xds 0\n"), "{no_labels}");
    }
}
