//! How an endpoint is chosen. Source: `LoadBalancerSettings` of destination_rule.proto.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::duration::Duration;

/// How an endpoint is chosen; `simple` and `consistent_hash` exclude each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LoadBalancerSettings {
    /// An algorithm without settings.
    pub simple: Option<SimpleLb>,
    /// Affinity by a hash.
    pub consistent_hash: Option<ConsistentHashLb>,
    /// By the load that endpoints report; excludes the other two.
    pub backend_utilization: Option<BackendUtilizationLb>,
    /// Preferences among localities.
    pub locality_lb_setting: Option<LocalityLbSetting>,
    /// Preferences among zones by the load they can take; excludes `locality_lb_setting`.
    pub zone_aware_lb_setting: Option<ZoneAwareLbSetting>,
    /// How long a new endpoint is spared. Deprecated by `warmup`.
    pub warmup_duration_secs: Option<Duration>,
    /// How a new endpoint takes up its load.
    pub warmup: Option<WarmupConfiguration>,
}

/// Choice by the load that endpoints report (ORCA). Source: `BackendUtilizationLB`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BackendUtilizationLb {
    /// The metrics that make up the load.
    pub metric_names_for_computing_utilization: Vec<String>,
    /// What is added to the load for errors, in percent of it.
    pub error_utilization_penalty_percent: Option<u32>,
    /// How long an endpoint reports before its weight counts.
    pub weight_stabilization_period: Option<Duration>,
    /// How long a weight counts after the last report.
    pub weight_expiration_period: Option<Duration>,
    /// The time between updates of weights.
    pub weight_update_period: Option<Duration>,
}

/// Algorithms without settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleLb {
    /// As the mesh chooses: least request.
    #[default]
    Unspecified,
    /// The older name of least request.
    LeastConn,
    /// A random endpoint.
    Random,
    /// The address the caller asked for.
    Passthrough,
    /// Each endpoint in turn.
    RoundRobin,
    /// The less loaded of two random endpoints.
    LeastRequest,
}

/// Affinity by a hash; one key and at most one algorithm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ConsistentHashLb {
    /// Hash a header.
    pub http_header_name: Option<String>,
    /// Hash a cookie; made when absent.
    pub http_cookie: Option<HttpCookie>,
    /// Hash the caller's address.
    pub use_source_ip: Option<bool>,
    /// Hash a query parameter.
    pub http_query_parameter_name: Option<String>,
    /// Use a hash ring (the default).
    pub ring_hash: Option<RingHash>,
    /// Use Maglev.
    pub maglev: Option<Maglev>,
    /// The least size of the ring. Deprecated by `ring_hash`.
    pub minimum_ring_size: Option<u64>,
}

/// A cookie to hash.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpCookie {
    /// The name.
    pub name: String,
    /// The path it is set for.
    pub path: Option<String>,
    /// Its life; 0 s makes a session cookie.
    pub ttl: Option<Duration>,
    /// Further attributes.
    pub attributes: Vec<CookieAttribute>,
}

/// An attribute of a cookie, such as `SameSite`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CookieAttribute {
    /// The name.
    pub name: String,
    /// The value; empty for a flag.
    pub value: Option<String>,
}

/// Settings of a hash ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RingHash {
    /// The least number of points; 1024 by default.
    pub minimum_ring_size: Option<u64>,
}

/// Settings of Maglev.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Maglev {
    /// The size of the table, a prime; 65537 by default.
    pub table_size: Option<u64>,
}

/// Preferences among localities; one of the three forms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LocalityLbSetting {
    /// Shares by the caller's locality.
    pub distribute: Vec<LocalityDistribute>,
    /// Where traffic goes when a region fails.
    pub failover: Vec<LocalityFailover>,
    /// Labels that decide the order of endpoints.
    pub failover_priority: Vec<String>,
    /// Whether preferences apply; as the mesh says by default.
    pub enabled: Option<bool>,
}

/// Preferences among zones by the load they can take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ZoneAwareLbSetting {
    /// Where traffic goes when a region fails.
    pub failover: Vec<LocalityFailover>,
    /// Labels that decide the order of endpoints.
    pub failover_priority: Vec<String>,
    /// Whether preferences apply; as the mesh says by default.
    pub enabled: Option<bool>,
    /// The share of requests that zone awareness applies to, in percent.
    pub routing_enabled: Option<f64>,
    /// The least number of endpoints for zone awareness.
    pub min_cluster_size: Option<u64>,
}

/// Shares of the localities for the callers of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LocalityDistribute {
    /// The caller's locality, `region/zone/subzone` with `*`.
    pub from: String,
    /// The share of each locality in percent; together 100.
    pub to: BTreeMap<String, u32>,
}

/// Where traffic goes when a region fails.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LocalityFailover {
    /// The region that fails.
    pub from: String,
    /// The region that takes over.
    pub to: String,
}

/// How a new endpoint takes up its load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WarmupConfiguration {
    /// How long it takes.
    pub duration: Option<Duration>,
    /// The load at the beginning, in percent of the full one; 10 by default.
    pub minimum_percent: Option<f64>,
    /// The shape of the growth, at least 1; 1 (linear) by default.
    pub aggression: Option<f64>,
}
