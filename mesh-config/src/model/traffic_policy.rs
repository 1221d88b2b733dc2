//! The policy of a DestinationRule: connection pools, ejection, TLS, ports.
//!
//! Source: `istio.networking.v1`, destination_rule.proto.

use serde::{Deserialize, Serialize};

use super::{common::PortSelector, duration::Duration, load_balancer::LoadBalancerSettings};

/// What is done with traffic to a destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TrafficPolicy {
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancerSettings>,
    /// Limits of connections and requests.
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// When an endpoint is put out of use.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the destination.
    pub tls: Option<ClientTlsSettings>,
    /// Policies for single ports; each replaces the rest for its port.
    pub port_level_settings: Vec<PortTrafficPolicy>,
    /// Tunnelling of TCP over HTTP.
    pub tunnel: Option<TunnelSettings>,
    /// The PROXY protocol towards the destination.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The limit of retries as a share of active requests.
    pub retry_budget: Option<RetryBudget>,
}

/// The policy of one port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PortTrafficPolicy {
    /// The port.
    pub port: Option<PortSelector>,
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancerSettings>,
    /// Limits of connections and requests.
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// When an endpoint is put out of use.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the destination.
    pub tls: Option<ClientTlsSettings>,
}

/// Limits of connections and requests to each host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ConnectionPoolSettings {
    /// Limits for TCP, and for HTTP beneath.
    pub tcp: Option<TcpSettings>,
    /// Limits for HTTP.
    pub http: Option<HttpSettings>,
}

/// Limits for TCP connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TcpSettings {
    /// The most connections; 2^32-1 by default.
    pub max_connections: Option<i32>,
    /// The longest time to connect; 10 s by default.
    pub connect_timeout: Option<Duration>,
    /// Keep-alive probes; the system's settings by default.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// The longest life of a connection; unlimited by default.
    pub max_connection_duration: Option<Duration>,
    /// The longest time without bytes; 1 h by default, 0 s turns it off.
    pub idle_timeout: Option<Duration>,
}

/// Keep-alive probes of TCP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TcpKeepalive {
    /// How many unanswered probes end the connection.
    pub probes: u32,
    /// How long a connection is idle before the first probe.
    pub time: Option<Duration>,
    /// The time between probes.
    pub interval: Option<Duration>,
}

/// Limits for HTTP requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpSettings {
    /// The most requests that wait for a connection; 2^32-1 by default.
    pub http1_max_pending_requests: Option<i32>,
    /// The most active requests; 2^32-1 by default.
    pub http2_max_requests: Option<i32>,
    /// The most requests on one connection; unlimited by default.
    pub max_requests_per_connection: Option<i32>,
    /// The most active retries; 2^32-1 by default.
    pub max_retries: Option<i32>,
    /// The longest time without active requests; 1 h by default.
    pub idle_timeout: Option<Duration>,
    /// Whether HTTP/1.1 is upgraded to HTTP/2.
    pub h2_upgrade_policy: Option<H2UpgradePolicy>,
    /// Use the protocol of the caller; excludes an upgrade.
    pub use_client_protocol: Option<bool>,
    /// The most concurrent streams on one HTTP/2 connection.
    pub max_concurrent_streams: Option<i32>,
    /// Pings that keep HTTP/2 connections alive.
    pub http2_keep_alive: Option<Http2KeepAlive>,
}

/// Pings that keep HTTP/2 connections alive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Http2KeepAlive {
    /// The time between pings.
    pub interval: Option<Duration>,
    /// How long an answer may take.
    pub timeout: Option<Duration>,
}

/// Whether HTTP/1.1 is upgraded to HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum H2UpgradePolicy {
    /// As the mesh says.
    Default,
    /// No upgrade.
    DoNotUpgrade,
    /// Upgrade.
    Upgrade,
}

/// When an endpoint is put out of use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct OutlierDetection {
    /// Errors in a row. Removed from Istio; use `consecutive_5xx_errors`.
    pub consecutive_errors: Option<i32>,
    /// Count failures to connect apart from answers; default false.
    pub split_external_local_origin_errors: Option<bool>,
    /// Failures to connect in a row, when counted apart; 5 by default.
    pub consecutive_local_origin_failures: Option<u32>,
    /// Answers 502, 503, 504 in a row; off by default.
    pub consecutive_gateway_errors: Option<u32>,
    /// Answers 5xx in a row; 5 by default, 0 turns it off.
    #[serde(rename = "consecutive5xxErrors")]
    pub consecutive_5xx_errors: Option<u32>,
    /// The time between sweeps; 10 s by default.
    pub interval: Option<Duration>,
    /// How long the first ejection lasts; 30 s by default.
    pub base_ejection_time: Option<Duration>,
    /// The largest share of endpoints out of use, in percent; 10 by default.
    pub max_ejection_percent: Option<i32>,
    /// Detection is off while fewer endpoints are healthy, in percent; 0 by default.
    pub min_health_percent: Option<i32>,
    /// The share of failed requests that puts an endpoint out of use, in percent; off by default.
    pub failure_percentage_threshold: Option<u32>,
    /// Statuses that count as errors, 100 to 599; 5xx by default.
    pub outlier_detection_http_error_codes: Vec<u32>,
}

/// TLS towards a destination. Source: `ClientTLSSettings`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ClientTlsSettings {
    /// Whether and how TLS is used; `DISABLE` by default.
    pub mode: ClientTlsMode,
    /// The file of the client certificate; `MUTUAL` needs it.
    pub client_certificate: Option<String>,
    /// The file of the private key; `MUTUAL` needs it.
    pub private_key: Option<String>,
    /// The file of the authorities that may have signed the server's certificate.
    pub ca_certificates: Option<String>,
    /// The Secret with key, certificate and authorities; excludes the files.
    pub credential_name: Option<String>,
    /// The Secret or ConfigMap with the authorities alone.
    pub ca_cert_credential_name: Option<String>,
    /// Names of which the server's certificate must carry one.
    pub subject_alt_names: Vec<String>,
    /// The server name sent in the handshake.
    pub sni: Option<String>,
    /// Do not verify the server's certificate.
    pub insecure_skip_verify: Option<bool>,
    /// The file of revoked certificates.
    pub ca_crl: Option<String>,
}

/// Whether and how TLS is used towards a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClientTlsMode {
    /// No TLS.
    #[default]
    Disable,
    /// TLS without a client certificate.
    Simple,
    /// TLS with a client certificate from files or a Secret.
    Mutual,
    /// TLS with the workload's own mesh certificate.
    IstioMutual,
}

/// Tunnelling of TCP over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TunnelSettings {
    /// `CONNECT` (default) or `POST`.
    pub protocol: Option<String>,
    /// The host the proxy connects to.
    pub target_host: String,
    /// The port the proxy connects to.
    pub target_port: u32,
}

/// The PROXY protocol towards a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ProxyProtocol {
    /// The version; `V1` by default.
    pub version: ProxyProtocolVersion,
}

/// Versions of the PROXY protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProxyProtocolVersion {
    /// The text form.
    #[default]
    V1,
    /// The binary form.
    V2,
}

/// The limit of retries as a share of active requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RetryBudget {
    /// The share of active requests that may be retries, in percent; 20 by default.
    pub percent: Option<f64>,
    /// Retries that are always allowed; 3 by default.
    pub min_retry_concurrency: u32,
    /// The time over which requests are counted; only those that are active by default.
    pub budget_interval: Option<Duration>,
}
