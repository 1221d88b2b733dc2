//! The summary that `mesh demo --output json` prints. Its schema is documented in `examples/mesh/README.md`.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use serde_json::{Value, json};

use super::{observe::Picture, traffic::Seen};

/// One run in figures. Fields are only ever added.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    duration_seconds: f64,
    requests: u64,
    answered: u64,
    success_rate: f64,
    unexpected_failures: u64,
    /// What the unexpected failures were.
    failures: BTreeMap<String, u64>,
    services_reached: Vec<String>,
    reviews_share: BTreeMap<String, f64>,
    edges: Vec<EdgeSummary>,
    certificates: Vec<CertificateSummary>,
    certificate_rotations: u64,
    mutual_tls: bool,
    xds: Value,
    config: Value,
}

#[derive(Debug, Serialize)]
struct EdgeSummary {
    source: String,
    destination: String,
    requests: u64,
    requests_per_second: f64,
    success_rate: f64,
    by_code: BTreeMap<String, u64>,
    p50_ms: Option<f64>,
    p90_ms: Option<f64>,
    p99_ms: Option<f64>,
    mutual_tls: bool,
}

#[derive(Debug, Serialize)]
struct CertificateSummary {
    workload: String,
    spiffe_id: Value,
    rotations: u64,
    age_seconds: Value,
    expires_in_seconds: Value,
}

impl Summary {
    /// Puts together what the traffic saw and what the mesh told.
    pub(crate) fn new(elapsed: Duration, seen: &Seen, picture: &Picture) -> Self {
        let failures = unexpected(seen, picture);
        let certificates: Vec<CertificateSummary> = picture
            .identities
            .iter()
            .map(|(workload, identity)| CertificateSummary {
                workload: workload.clone(),
                spiffe_id: identity["spiffe_id"].clone(),
                rotations: identity["rotations"].as_u64().unwrap_or(0),
                age_seconds: identity["age_seconds"].clone(),
                expires_in_seconds: identity["expires_in_seconds"].clone(),
            })
            .collect();
        Self {
            duration_seconds: elapsed.as_secs_f64(),
            requests: seen.sent,
            answered: seen.answered,
            success_rate: share(seen.ok, seen.answered),
            unexpected_failures: failures.values().sum(),
            failures,
            services_reached: reached(seen),
            reviews_share: {
                let total = seen.reviews.values().sum();
                seen.reviews.iter().map(|(version, n)| (version.clone(), share(*n, total))).collect()
            },
            edges: edges(elapsed, picture),
            certificate_rotations: certificates.iter().map(|c| c.rotations).sum(),
            certificates,
            mutual_tls: {
                let mut carried = picture.edges.values().filter(|e| e.carried > 0.0).peekable();
                carried.peek().is_some() && carried.all(|e| e.mutual_tls)
            },
            xds: proxies(&picture.proxies),
            config: json!({
                "version": picture.config["version"],
                "diagnostics": picture.config["diagnostics"],
            }),
        }
    }

    /// The run in one line, for people.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} requests in {:.0} s, {} of them failed unexpectedly; {} certificates were renewed meanwhile.",
            self.requests, self.duration_seconds, self.unexpected_failures, self.certificate_rotations
        )
    }

    /// Whether every request was answered as the configuration asked.
    pub(crate) fn is_clean(&self) -> bool {
        self.unexpected_failures == 0 && self.answered > 0
    }
}

/// For each proxy, what it has acknowledged: `[{name, types: {CDS: {state, resources, acks, nacks}}}]`.
fn proxies(syncz: &Value) -> Value {
    let short = |proxy: &Value| {
        let types: serde_json::Map<_, _> = proxy["types"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(kind, t)| {
                let resources = t["resources"].as_object().map_or(0, serde_json::Map::len);
                (
                    kind.clone(),
                    json!({"state": t["state"], "resources": resources, "acks": t["acks"], "nacks": t["nacks"]}),
                )
            })
            .collect();
        json!({"name": proxy["name"], "types": types})
    };
    syncz.as_array().into_iter().flatten().map(short).collect()
}

fn share(part: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { part as f64 / total as f64 }
}

/// Services that answered at all.
fn reached(seen: &Seen) -> Vec<String> {
    let mut services: Vec<String> =
        seen.calls.keys().filter(|(_, status)| *status == 200).map(|(s, _)| s.clone()).collect();
    if seen.page.contains_key(&200) {
        services.push("productpage".into());
    }
    services.sort();
    services.dedup();
    services
}

/// Failures nobody asked for: no answer at all, and 5xx without a fault's flag where the call began.
fn unexpected(seen: &Seen, picture: &Picture) -> BTreeMap<String, u64> {
    let mut failures = seen.no_answer.clone();
    for ((source, destination), edge) in &picture.edges {
        if edge.unexpected > 0.0 {
            failures.insert(format!("{source} -> {destination}: 5xx or no answer"), edge.unexpected as u64);
        }
    }
    failures
}

fn edges(elapsed: Duration, picture: &Picture) -> Vec<EdgeSummary> {
    picture
        .edges
        .iter()
        .map(|((source, destination), edge)| EdgeSummary {
            source: source.clone(),
            destination: destination.clone(),
            requests: edge.requests as u64,
            requests_per_second: edge.requests / elapsed.as_secs_f64().max(0.001),
            success_rate: edge.success_rate(),
            by_code: edge.by_code.iter().map(|(code, n)| (code.clone(), *n as u64)).collect(),
            p50_ms: edge.latency(0.5),
            p90_ms: edge.latency(0.9),
            p99_ms: edge.latency(0.99),
            mutual_tls: edge.mutual_tls,
        })
        .collect()
}
