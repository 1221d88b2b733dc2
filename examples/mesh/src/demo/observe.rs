//! What the sidecars and the control plane tell of the mesh: read over HTTP, never out of their memory.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{
    metrics::{self, quantile},
    plan::Plan,
};
use crate::net;

/// Response flags of requests that no host was asked for.
const ANSWERED_HERE: [&str; 6] = ["FI", "NR", "NC", "UH", "UO", "RL"];

const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Calls from one workload to one version of a service, counted where they begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edge {
    pub(crate) requests: f64,
    pub(crate) by_code: BTreeMap<String, f64>,
    /// 5xx or no answer, without a flag that says that the configuration asked for it.
    pub(crate) unexpected: f64,
    /// Requests that got as far as a host of the destination; the others were answered by the source's sidecar.
    pub(crate) carried: f64,
    /// Requests were carried by mutual TLS.
    pub(crate) mutual_tls: bool,
    buckets: BTreeMap<u64, f64>,
    timed: f64,
}

impl Edge {
    /// Latency quantile in milliseconds.
    pub(crate) fn latency(&self, q: f64) -> Option<f64> {
        quantile(q, &self.buckets, self.timed)
    }

    /// Adds a sample of a histogram's bucket.
    fn time(&mut self, sample: &metrics::Sample) {
        let bound = match sample.label("le") {
            "+Inf" => f64::INFINITY,
            number => number.parse().unwrap_or(f64::INFINITY),
        };
        *self.buckets.entry(bound.to_bits()).or_default() += sample.value;
        if bound.is_infinite() {
            self.timed += sample.value;
        }
    }

    /// Share of requests below 500 that were answered.
    pub(crate) fn success_rate(&self) -> f64 {
        let failed: f64 =
            self.by_code.iter().filter(|(code, _)| code.starts_with('5') || *code == "0").map(|(_, n)| n).sum();
        if self.requests > 0.0 { 1.0 - failed / self.requests } else { 1.0 }
    }
}

/// A picture of the mesh at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picture {
    /// By source workload and destination (service and subset).
    pub(crate) edges: BTreeMap<(String, String), Edge>,
    /// By workload: what its agent says of its certificate.
    pub(crate) identities: BTreeMap<String, Value>,
    /// What the control plane says of each proxy.
    pub(crate) proxies: Value,
    /// What the control plane says of the configuration: findings and version.
    pub(crate) config: Value,
    /// Workloads that did not answer.
    pub(crate) silent: Vec<String>,
}

/// Reads everything, each at the same time.
pub(crate) async fn picture(plan: &Plan) -> Picture {
    let mut picture = Picture::default();
    let sidecars = plan.workloads.iter().map(|w| async move {
        let stats = net::get(plan.status(w), "/stats/prometheus", READ_TIMEOUT).await;
        let identity = net::get(plan.status(w), "/identity", READ_TIMEOUT).await;
        (w, stats, identity)
    });
    let control = async {
        let read = |path: &'static str| async move {
            let (_, body) = net::get(plan.control_plane_admin(), path, READ_TIMEOUT).await.ok()?;
            serde_json::from_slice(&body).ok()
        };
        tokio::join!(read("/debug/syncz"), read("/debug/configz"))
    };
    let (sidecars, (proxies, config)) = tokio::join!(futures::future::join_all(sidecars), control);
    for (workload, stats, identity) in sidecars {
        match stats {
            Ok((200, text)) => picture.add_stats(&workload.name(), &String::from_utf8_lossy(&text)),
            _ => picture.silent.push(workload.name()),
        }
        if let Some(identity) = identity.ok().and_then(|(_, body)| serde_json::from_slice(&body).ok()) {
            picture.identities.insert(workload.name(), identity);
        }
    }
    picture.proxies = proxies.unwrap_or(Value::Null);
    picture.config = config.unwrap_or(Value::Null);
    picture
}

impl Picture {
    fn add_stats(&mut self, workload: &str, text: &str) {
        if text.contains("istio_requests_total{") {
            self.add_istio_stats(workload, text);
        } else {
            self.add_envoy_stats(workload, text);
        }
    }

    /// Envoy without Istio's extensions counts by cluster: `outbound|9080|v1|reviews.default.svc.cluster.local`.
    fn add_envoy_stats(&mut self, workload: &str, text: &str) {
        for sample in metrics::samples(text, "envoy_cluster_") {
            let Some(destination) = outbound(sample.label("envoy_cluster_name")) else { continue };
            let key = (workload.to_owned(), destination);
            match sample.name.as_str() {
                "envoy_cluster_upstream_rq" => {
                    let edge = self.edges.entry(key).or_default();
                    let code = sample.label("envoy_response_code").to_owned();
                    edge.requests += sample.value;
                    edge.carried += sample.value;
                    if code.starts_with('5') {
                        edge.unexpected += sample.value;
                    }
                    *edge.by_code.entry(code).or_default() += sample.value;
                }
                "envoy_cluster_upstream_rq_time_bucket" if sample.value > 0.0 => {
                    self.edges.entry(key).or_default().time(&sample);
                }
                "envoy_cluster_ssl_handshake" if sample.value > 0.0 => {
                    self.edges.entry(key).or_default().mutual_tls = true;
                }
                _ => {}
            }
        }
        self.edges.retain(|_, edge| edge.requests > 0.0);
    }

    fn add_istio_stats(&mut self, workload: &str, text: &str) {
        for sample in metrics::samples(text, "istio_requests_total") {
            if sample.label("reporter") != "source" {
                continue;
            }
            let edge = self.edges.entry((workload.to_owned(), destination(&sample))).or_default();
            edge.requests += sample.value;
            *edge.by_code.entry(sample.label("response_code").to_owned()).or_default() += sample.value;
            let code = sample.label("response_code");
            let flagged = |flags: &[&str]| sample.label("response_flags").split(',').any(|f| flags.contains(&f));
            let asked_for = flagged(&["FI", "DI"]);
            if !flagged(&ANSWERED_HERE) {
                edge.carried += sample.value;
            }
            if (code.starts_with('5') || code == "0") && !asked_for {
                edge.unexpected += sample.value;
            }
            edge.mutual_tls |= sample.label("connection_security_policy") == "mutual_tls"
                || !sample.label("destination_principal").is_empty()
                    && sample.label("destination_principal") != "unknown";
        }
        for sample in metrics::samples(text, "istio_request_duration_milliseconds_bucket") {
            if sample.label("reporter") != "source" {
                continue;
            }
            self.edges.entry((workload.to_owned(), destination(&sample))).or_default().time(&sample);
        }
    }
}

/// `reviews v1`: the destination's canonical name and version, or what is known of them.
fn destination(sample: &metrics::Sample) -> String {
    let known = |name: &str| Some(sample.label(name)).filter(|v| !v.is_empty() && *v != "unknown").map(str::to_owned);
    let name =
        known("destination_service_name").or_else(|| known("destination_app")).unwrap_or_else(|| "unknown".into());
    match known("destination_version") {
        Some(version) => format!("{name} {version}"),
        None => name,
    }
}

/// `reviews v1` of `outbound|9080|v1|reviews.default.svc.cluster.local`.
fn outbound(cluster: &str) -> Option<String> {
    let mut parts = cluster.strip_prefix("outbound|")?.split('|').skip(1);
    let (subset, host) = (parts.next()?, parts.next()?);
    let name = host.split('.').next()?;
    Some(if subset.is_empty() { name.to_owned() } else { format!("{name} {subset}") })
}
