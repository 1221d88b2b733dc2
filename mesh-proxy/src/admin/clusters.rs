use std::{fmt::Write as _, sync::atomic::Ordering::Relaxed};

use serde_json::{Value, json};

use super::{ClusterStatus, listeners::address};
use crate::{
    cluster::Host,
    model::{Cluster, HealthStatus, Thresholds},
};

/// Counters, then gauges of a host, as Envoy names them.
fn counters(host: &Host) -> [(&'static str, u64); 6] {
    let state = &host.state;
    [
        ("cx_connect_fail", state.cx_connect_fail.load(Relaxed)),
        ("cx_total", state.cx_total.load(Relaxed)),
        ("rq_error", state.rq_error.load(Relaxed)),
        ("rq_success", state.rq_success.load(Relaxed)),
        ("rq_timeout", state.rq_timeout.load(Relaxed)),
        ("rq_total", state.rq_total.load(Relaxed)),
    ]
}

fn gauges(host: &Host) -> [(&'static str, u64); 2] {
    let state = &host.state;
    [("cx_active", u64::from(state.cx_active.load(Relaxed))), ("rq_active", u64::from(state.rq_active.load(Relaxed)))]
}

/// The text of `/clusters`.
pub(super) fn text(clusters: &[ClusterStatus]) -> String {
    let mut out = String::new();
    for cluster in clusters {
        let config = cluster.handle.config();
        head(&mut out, config, cluster.added_via_api);
        for host in cluster.handle.hosts().all() {
            host_text(&mut out, &config.name, host);
        }
    }
    out
}

// Writing to a String cannot fail.
fn head(out: &mut String, config: &Cluster, added_via_api: bool) {
    let name = &config.name;
    let _ = writeln!(out, "{name}::observability_name::{}", config.stat_name);
    if let Some(outlier) = &config.outlier {
        let _ = writeln!(out, "{name}::outlier::success_rate_average::-1");
        let _ = writeln!(out, "{name}::outlier::max_ejection_percent::{}", outlier.max_ejection_percent);
    }
    let breakers = &config.circuit_breakers;
    for (priority, limits) in [("default", &breakers.default), ("high", &breakers.high)] {
        for (limit, value) in thresholds(limits) {
            let _ = writeln!(out, "{name}::{priority}_priority::{limit}::{value}");
        }
    }
    let _ = writeln!(out, "{name}::added_via_api::{added_via_api}");
}

fn thresholds(limits: &Thresholds) -> [(&'static str, u32); 4] {
    [
        ("max_connections", limits.max_connections),
        ("max_pending_requests", limits.max_pending_requests),
        ("max_requests", limits.max_requests),
        ("max_retries", limits.max_retries),
    ]
}

fn host_text(out: &mut String, cluster: &str, host: &Host) {
    let mut numbers: Vec<_> = counters(host).into_iter().chain(gauges(host)).collect();
    numbers.sort_unstable();
    for (stat, value) in numbers {
        let _ = writeln!(out, "{cluster}::{}::{stat}::{value}", host.name);
    }
    let locality = &host.locality;
    let facts: [(&str, &str); 4] = [
        ("hostname", &host.hostname),
        ("region", &locality.region),
        ("zone", &locality.zone),
        ("sub_zone", &locality.sub_zone),
    ];
    let _ = writeln!(out, "{cluster}::{}::health_flags::{}", host.name, health_flags(host));
    let _ = writeln!(out, "{cluster}::{}::weight::{}", host.name, host.weight);
    for (fact, value) in facts {
        let _ = writeln!(out, "{cluster}::{}::{fact}::{value}", host.name);
    }
    let _ = writeln!(out, "{cluster}::{}::priority::{}", host.name, host.priority);
    let _ = writeln!(out, "{cluster}::{}::success_rate::-1", host.name);
    let _ = writeln!(out, "{cluster}::{}::local_origin_success_rate::-1", host.name);
}

fn health_flags(host: &Host) -> String {
    let mut flags = String::new();
    if host.state.is_ejected() {
        flags.push_str("/failed_outlier_check");
    }
    match host.health {
        HealthStatus::Healthy => {}
        HealthStatus::Degraded => flags.push_str("/degraded_eds_health"),
        HealthStatus::Unhealthy => flags.push_str("/failed_eds_health"),
    }
    if flags.is_empty() { "healthy".to_owned() } else { flags }
}

/// The JSON of `/clusters?format=json`: `envoy.admin.v3.Clusters`.
pub(super) fn json(clusters: &[ClusterStatus]) -> Value {
    let one = |cluster: &ClusterStatus| {
        let config = cluster.handle.config();
        let hosts: Vec<Value> = cluster.handle.hosts().all().map(|host| host_json(host)).collect();
        let mut out = json!({
            "name": &*config.name,
            "host_statuses": hosts,
            "circuit_breakers": {"thresholds": breakers(config)},
            "observability_name": &*config.stat_name,
        });
        if cluster.added_via_api {
            out["added_via_api"] = true.into();
        }
        out
    };
    json!({ "cluster_statuses": clusters.iter().map(one).collect::<Vec<_>>() })
}

fn breakers(config: &Cluster) -> Vec<Value> {
    let limits = |limits: &Thresholds| {
        Value::Object(thresholds(limits).map(|(k, v)| (k.to_owned(), v.into())).into_iter().collect())
    };
    let mut high = limits(&config.circuit_breakers.high);
    high["priority"] = "HIGH".into();
    vec![limits(&config.circuit_breakers.default), high]
}

/// As protobuf's JSON: zeros and defaults are left out, 64 bit numbers are strings.
fn host_json(host: &Host) -> Value {
    let number = |kind: Option<&str>, name: &str, value: u64| {
        let mut out = serde_json::Map::new();
        if let Some(kind) = kind {
            out.insert("type".to_owned(), kind.into());
        }
        if value != 0 {
            out.insert("value".to_owned(), value.to_string().into());
        }
        out.insert("name".to_owned(), name.into());
        Value::Object(out)
    };
    let mut stats: Vec<Value> = counters(host).into_iter().map(|(name, value)| number(None, name, value)).collect();
    stats.extend(gauges(host).into_iter().map(|(name, value)| number(Some("GAUGE"), name, value)));
    let eds = match host.health {
        HealthStatus::Healthy => "HEALTHY",
        HealthStatus::Degraded => "DEGRADED",
        HealthStatus::Unhealthy => "UNHEALTHY",
    };
    let mut health = json!({ "eds_health_status": eds });
    if host.state.is_ejected() {
        health["failed_outlier_check"] = true.into();
    }
    let mut locality = serde_json::Map::new();
    let parts =
        [("region", &host.locality.region), ("zone", &host.locality.zone), ("sub_zone", &host.locality.sub_zone)];
    for (part, value) in parts.into_iter().filter(|(_, value)| !value.is_empty()) {
        locality.insert(part.to_owned(), value.as_str().into());
    }
    let mut out = json!({
        "address": address(&host.address), "stats": stats, "health_status": health, "weight": host.weight,
        "locality": locality,
    });
    if !host.hostname.is_empty() {
        out["hostname"] = host.hostname.as_str().into();
    }
    if host.priority != 0 {
        out["priority"] = host.priority.into();
    }
    out
}
