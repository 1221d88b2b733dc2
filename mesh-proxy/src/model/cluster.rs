use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{
    Assignment, ClientTls, ConfigSource, HeaderCase, Keepalive, Metadata, ProxyProtocolVersion, Tlv, TlvSelection,
};

/// `cluster.v3.Cluster`.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Unique name.
    pub name: Arc<str>,
    /// Name in statistics (`alt_stat_name`), else the name.
    pub stat_name: Arc<str>,
    /// How its endpoints are found.
    pub kind: ClusterKind,
    /// How one of them is picked.
    pub lb: LbPolicy,
    /// A locality is picked by its weight first (`locality_weighted_lb_config`, `wrr_locality`); `false`: locality weights
    /// are not looked at.
    pub locality_weighted: bool,
    /// TCP connect. Default 5 s.
    pub connect_timeout: Duration,
    /// Circuit breakers by priority.
    pub circuit_breakers: CircuitBreakers,
    /// Ejection of hosts that fail; `None` = off.
    pub outlier: Option<OutlierDetection>,
    /// Transport.
    pub socket: UpstreamSocket,
    /// Transports chosen by endpoint metadata, first match wins (`transport_socket_matches`).
    pub socket_matches: Vec<SocketMatch>,
    /// Protocol toward the hosts.
    pub protocol: HttpProtocol,
    /// Pool limits.
    pub pool: PoolOptions,
    /// Own address of connections to hosts (`upstream_bind_config`); `None` = the system chooses.
    pub source_address: Option<IpAddr>,
    /// Soft limit on bytes buffered for a connection. Default 1 MiB.
    pub buffer_limit: u32,
    /// Panic threshold, percent of healthy hosts. Default 50; zero = never panic.
    pub panic_threshold: f64,
    /// Connections are closed (finishing what is under way) when hosts come or go
    /// (`close_connections_on_host_set_change`).
    pub close_connections_on_set_change: bool,
    /// Filter metadata.
    pub metadata: Metadata,
}

/// How a cluster finds its endpoints (`Cluster.DiscoveryType`).
#[derive(Clone, Debug)]
pub enum ClusterKind {
    /// Given in place.
    Static(Endpoints),
    /// Names resolved; every address is a host.
    StrictDns {
        /// Names and static addresses.
        endpoints: Endpoints,
        /// Re-resolution. Default 5 s.
        refresh: Duration,
        /// Which families.
        family: DnsFamily,
    },
    /// One name; a connection goes to the address current at that time.
    LogicalDns {
        /// One name.
        endpoints: Endpoints,
        /// Re-resolution. Default 5 s.
        refresh: Duration,
        /// Which families.
        family: DnsFamily,
    },
    /// By EDS.
    Eds {
        /// Resource name: `service_name`, else the cluster's name.
        service_name: String,
        /// Where from.
        source: ConfigSource,
    },
    /// To the connection's original destination.
    OriginalDst {
        /// Destination is read from this header instead.
        header: Option<::http::HeaderName>,
    },
}

/// Endpoints given in place.
pub type Endpoints = Arc<Assignment>;

/// `Cluster.DnsLookupFamily`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsFamily {
    /// IPv6 if there is any, else IPv4 (Envoy's default).
    #[default]
    Auto,
    /// IPv4 only.
    V4Only,
    /// IPv6 only.
    V6Only,
    /// IPv4 if there is any, else IPv6.
    V4Preferred,
    /// Both.
    All,
}

/// Load balancing policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum LbPolicy {
    /// Weighted round robin.
    #[default]
    RoundRobin,
    /// Least active requests among `choices` random hosts. Default 2.
    LeastRequest {
        /// Hosts compared.
        choices: u32,
    },
    /// Random.
    Random,
    /// Ketama ring.
    RingHash {
        /// Entries at least. Default 1024.
        min_size: u64,
        /// Entries at most. Default 8 Mi.
        max_size: u64,
    },
    /// Maglev table.
    Maglev {
        /// Prime size. Default 65537.
        table_size: u64,
    },
    /// The cluster's own (original destination).
    ClusterProvided,
}

/// Limits by priority.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CircuitBreakers {
    /// `DEFAULT`.
    pub default: Thresholds,
    /// `HIGH`.
    pub high: Thresholds,
}

/// `cluster.v3.CircuitBreakers.Thresholds`.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// Connections. Default 1024.
    pub max_connections: u32,
    /// Requests waiting for a connection. Default 1024.
    pub max_pending_requests: u32,
    /// Requests under way. Default 1024.
    pub max_requests: u32,
    /// Retries under way. Default 3. Unused while `retry_budget` is set.
    pub max_retries: u32,
    /// Share of active and pending requests that may be retries (percent, default 20), and the number always allowed (default 3).
    pub retry_budget: Option<(f64, u32)>,
    /// Gauges of what is left are kept.
    pub track_remaining: bool,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
            retry_budget: None,
            track_remaining: false,
        }
    }
}

/// `cluster.v3.OutlierDetection`, the carried part.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierDetection {
    /// 5xx in a row. Default 5; `None` = off.
    pub consecutive_5xx: Option<u32>,
    /// 502, 503, 504 in a row. Default: not enforced.
    pub consecutive_gateway: Option<u32>,
    /// Failures to connect or keep a connection in a row, counted apart only with `split_local`. Default 5.
    pub consecutive_local: Option<u32>,
    /// Local and upstream failures are counted apart.
    pub split_local: bool,
    /// Time between sweeps. Default 10 s.
    pub interval: Duration,
    /// First ejection. Default 30 s; multiplied by the number of ejections.
    pub base_ejection_time: Duration,
    /// Longest ejection. Default 300 s (or the base, if longer).
    pub max_ejection_time: Duration,
    /// Random addition to an ejection. Default 0.
    pub max_ejection_time_jitter: Duration,
    /// Most hosts ejected, percent. Default 10: of fewer than ten hosts none, unless `always_eject_one_host`.
    pub max_ejection_percent: u32,
    /// One host may always be ejected, whatever the percentage. Default false.
    pub always_eject_one_host: bool,
}

/// Transport toward a host.
#[derive(Clone, Debug, Default)]
pub enum UpstreamSocket {
    /// Plaintext.
    #[default]
    Plain,
    /// TLS.
    Tls(Arc<ClientTls>),
    /// A PROXY protocol header, then another transport.
    Proxied(Arc<ProxyHeader>, Box<UpstreamSocket>),
}

impl UpstreamSocket {
    /// TLS, if it is spoken.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<ClientTls>> {
        match self {
            UpstreamSocket::Plain => None,
            UpstreamSocket::Tls(tls) => Some(tls),
            UpstreamSocket::Proxied(_, inner) => inner.tls(),
        }
    }

    /// The PROXY protocol header that goes before everything else, if one does.
    #[must_use]
    pub fn proxy_header(&self) -> Option<&Arc<ProxyHeader>> {
        match self {
            UpstreamSocket::Proxied(header, _) => Some(header),
            _ => None,
        }
    }
}

/// `transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport`: a header on every connection to a host.
///
/// It tells the client's addresses; connections that are made for no client have a `LOCAL` header in version 2, and their
/// own addresses in version 1. HTTP connections are shared only by requests of the same client and destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Version of the header.
    pub version: ProxyProtocolVersion,
    /// TLVs of the client's own header that are passed on; version 2 only.
    pub pass_through: TlvSelection,
    /// TLVs added; they replace the client's of the same types.
    pub added: Vec<Tlv>,
}

/// `Cluster.TransportSocketMatch`.
#[derive(Clone, Debug)]
pub struct SocketMatch {
    /// Name.
    pub name: String,
    /// Values that the endpoint's `envoy.transport_socket_match` metadata must have; empty matches all.
    pub criteria: serde_json::Map<String, serde_json::Value>,
    /// Transport.
    pub socket: UpstreamSocket,
}

/// Protocol toward hosts (`upstreams.http.v3.HttpProtocolOptions`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, prior knowledge or ALPN.
    Http2,
    /// As the client's.
    Downstream,
    /// By ALPN.
    Auto,
}

/// Limits of connection pools.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolOptions {
    /// Idle connections are closed after this. Default 1 h; zero = never.
    pub idle_timeout: Duration,
    /// Oldest age of a connection; `None` = unlimited.
    pub max_connection_duration: Option<Duration>,
    /// Requests on a connection; `None` = unlimited.
    pub max_requests_per_connection: Option<u32>,
    /// Longest life of an upstream stream; `None` = unlimited.
    pub max_stream_duration: Option<Duration>,
    /// HTTP/2: streams on a connection. Default 1024 (Envoy ≥ 1.36).
    pub http2_max_concurrent_streams: u32,
    /// HTTP/2: stream window, bytes. Default 16 MiB.
    pub http2_stream_window: u32,
    /// HTTP/2: connection window, bytes. Default 24 MiB.
    pub http2_connection_window: u32,
    /// TCP keepalive: idle time, interval, probes.
    pub tcp_keepalive: Option<(Duration, Duration, u32)>,
    /// Response headers at most. Default 100.
    pub max_headers_count: u32,
    /// Bytes of response headers at most; `None` = the codec's own limits.
    pub max_response_headers_bytes: Option<u32>,
    /// HTTP/1: how header names are written.
    pub http1_header_case: HeaderCase,
    /// HTTP/1: the whole URL stands in the request line.
    pub http1_fully_qualified: bool,
    /// HTTP/1: trailers pass, both ways. Default false.
    pub http1_trailers: bool,
    /// HTTP/2: PING frames; `None` = none.
    pub http2_keepalive: Option<Keepalive>,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(3600),
            max_connection_duration: None,
            max_requests_per_connection: None,
            max_stream_duration: None,
            http2_max_concurrent_streams: 1024,
            http2_stream_window: 16 << 20,
            http2_connection_window: 24 << 20,
            tcp_keepalive: None,
            max_headers_count: 100,
            max_response_headers_bytes: None,
            http1_header_case: HeaderCase::Lower,
            http1_fully_qualified: false,
            http1_trailers: false,
            http2_keepalive: None,
        }
    }
}
