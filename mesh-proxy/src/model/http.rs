mod options;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use self::options::{
    EscapedSlashes, HeaderCase, Http1Options, Http2Limits, InternalAddresses, IpDetection, Keepalive, LocalReplies,
    ReplyFormat, ReplyMapper, StripPort, Underscores,
};
use super::{ConfigSource, RetryOn, RouteTable, matcher::HeaderMatcher};
use crate::filter::HttpFilter;

/// `filters.network.http_connection_manager.v3.HttpConnectionManager`.
#[derive(Clone, Debug)]
pub struct HttpConnectionManager {
    /// Prefix of statistics.
    pub stat_prefix: String,
    /// Protocol spoken by clients.
    pub codec: Codec,
    /// Where the routes are.
    pub routes: RouteSource,
    /// Filters in order, without the router that ends them.
    pub filters: Vec<HttpFilterEntry>,
    /// Text of the `server` header. Default `envoy`, as tools expect.
    pub server_name: String,
    /// What is done with the `server` header.
    pub server_header: ServerHeader,
    /// The client's address is trusted as it is on the connection (`use_remote_address`), and appended to XFF.
    pub use_remote_address: bool,
    /// Hops of XFF that are trusted.
    pub xff_trusted_hops: u32,
    /// XFF is left alone (`skip_xff_append`).
    pub skip_xff_append: bool,
    /// `via` to append; empty = none.
    pub via: String,
    /// `x-request-id` is made when missing. Default true.
    pub generate_request_id: bool,
    /// A request id from outside is kept.
    pub preserve_external_request_id: bool,
    /// The request id is copied to the response.
    pub always_set_request_id_in_response: bool,
    /// What is done with `x-forwarded-client-cert`.
    pub forward_client_cert: ClientCertForwarding,
    /// Fields set in XFCC: `By` and `Hash` always; these as chosen.
    pub xfcc_subject: bool,
    /// `URI` in XFCC.
    pub xfcc_uri: bool,
    /// `DNS` in XFCC.
    pub xfcc_dns: bool,
    /// `Cert` in XFCC.
    pub xfcc_cert: bool,
    /// `Chain` in XFCC.
    pub xfcc_chain: bool,
    /// `Issuer` in XFCC.
    pub xfcc_issuer: bool,
    /// Path is normalised by RFC 3986 before anything looks at it.
    pub normalize_path: bool,
    /// Adjacent slashes are merged.
    pub merge_slashes: bool,
    /// Encoded slashes in paths.
    pub escaped_slashes: EscapedSlashes,
    /// Port that is removed from authority for matching and forwarding.
    pub strip_port: StripPort,
    /// A dot at the end of the host is removed.
    pub strip_trailing_host_dot: bool,
    /// Request headers with underscores in their names.
    pub underscores: Underscores,
    /// `:scheme` and `x-forwarded-proto` of all requests, `http` or `https`; `None` = as they come.
    pub scheme: Option<&'static str>,
    /// `x-forwarded-port` is set.
    pub append_x_forwarded_port: bool,
    /// IPv4 addresses stand in XFF as IPv6 addresses (`::ffff:a.b.c.d`).
    pub map_ipv4: bool,
    /// Which clients are internal; `None` = no one is.
    pub internal_addresses: Option<InternalAddresses>,
    /// Ways to find the client's address, tried in order; empty = `use_remote_address` and `xff_trusted_hops` count.
    pub ip_detection: Vec<IpDetection>,
    /// How answers of the proxy itself look; `None` = as they are.
    pub local_replies: Option<Arc<LocalReplies>>,
    /// A connection without active streams is closed after this. Default 1 h; zero = never.
    pub idle_timeout: Duration,
    /// A connection that is closed is read for so long yet, that its client sees the last answer. Default 1 s; zero = not.
    pub delayed_close: Duration,
    /// Longest life of a connection; `None` = unlimited.
    pub max_connection_duration: Option<Duration>,
    /// Up to so many percent are added to it, at random for each connection.
    pub max_connection_duration_jitter: f64,
    /// Longest life of a stream; `None` = unlimited.
    pub max_stream_duration: Option<Duration>,
    /// A stream without activity is reset after this. Default 5 min; zero = never.
    pub stream_idle_timeout: Duration,
    /// A client that takes nothing of an answer for so long has its stream reset; `None` = as `stream_idle_timeout`.
    pub stream_flush_timeout: Option<Duration>,
    /// The whole request must have arrived in this; zero = no limit (default).
    pub request_timeout: Duration,
    /// The request headers must have arrived in this; zero = no limit (default).
    pub request_headers_timeout: Duration,
    /// Most bytes of request headers. Default 60 KiB.
    pub max_request_headers_bytes: u32,
    /// Most request headers. Default 100.
    pub max_headers_count: u32,
    /// Requests answered on a connection before it is drained; `None` = unlimited.
    pub max_requests_per_connection: Option<u32>,
    /// HTTP/2: streams a client may have open. Default 1024 (Envoy ≥ 1.36).
    pub http2_max_concurrent_streams: u32,
    /// HTTP/2: stream window, bytes. Default 16 MiB.
    pub http2_stream_window: u32,
    /// HTTP/2: connection window, bytes. Default 24 MiB.
    pub http2_connection_window: u32,
    /// HTTP/2: frames that ask for nothing.
    pub http2_limits: Http2Limits,
    /// HTTP/2: PING frames; `None` = none.
    pub http2_keepalive: Option<Keepalive>,
    /// HTTP/2: extended `CONNECT` (RFC 8441) is offered.
    pub http2_allow_connect: bool,
    /// HTTP/1.
    pub http1: Http1Options,
    /// `expect: 100-continue` is answered by the host, not here.
    pub proxy_100_continue: bool,
    /// Upgrade types that may pass, lower case (`websocket`, `connect`).
    pub upgrades: Vec<String>,
    /// Access logs are also written when a request begins.
    pub log_new_requests: bool,
    /// The router.
    pub router: RouterOptions,
    /// Access logs.
    pub access_log: Vec<AccessLogConfig>,
    /// Filter metadata namespace of the listener's node that Istio metrics read; unset if the listener gives none.
    pub tracing_enabled: bool,
}

/// `filters.http.router.v3.Router`.
#[derive(Clone, Debug, Default)]
pub struct RouterOptions {
    /// No `x-envoy-*` header is added to requests and responses.
    pub suppress_envoy_headers: bool,
    /// `x-envoy-expected-rq-timeout-ms` of a request is a time limit where `x-envoy-upstream-rq-timeout-ms` gives none.
    pub respect_expected_timeout: bool,
    /// Request headers that must be well-formed, or the request is refused.
    pub strict_headers: Vec<StrictHeader>,
}

/// A request header that may be checked before it steers the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrictHeader {
    /// `x-envoy-upstream-rq-timeout-ms`: a number.
    Timeout,
    /// `x-envoy-upstream-rq-per-try-timeout-ms`: a number.
    PerTryTimeout,
    /// `x-envoy-max-retries`: a number.
    MaxRetries,
    /// `x-envoy-retry-on`: known conditions.
    RetryOn,
    /// `x-envoy-retry-grpc-on`: known conditions.
    RetryGrpcOn,
}

impl StrictHeader {
    /// All of them.
    pub const ALL: [StrictHeader; 5] =
        [Self::Timeout, Self::PerTryTimeout, Self::MaxRetries, Self::RetryOn, Self::RetryGrpcOn];

    /// The header's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            StrictHeader::Timeout => "x-envoy-upstream-rq-timeout-ms",
            StrictHeader::PerTryTimeout => "x-envoy-upstream-rq-per-try-timeout-ms",
            StrictHeader::MaxRetries => "x-envoy-max-retries",
            StrictHeader::RetryOn => "x-envoy-retry-on",
            StrictHeader::RetryGrpcOn => "x-envoy-retry-grpc-on",
        }
    }

    /// Whether `value` is well-formed.
    #[must_use]
    pub fn admits(self, value: &str) -> bool {
        let mut conditions = value.split(',').map(str::trim);
        match self {
            StrictHeader::Timeout | StrictHeader::PerTryTimeout | StrictHeader::MaxRetries => {
                value.parse::<u64>().is_ok()
            }
            StrictHeader::RetryOn => conditions.all(|condition| RetryOn::default().set_http(condition)),
            StrictHeader::RetryGrpcOn => conditions.all(|condition| RetryOn::default().set_grpc(condition)),
        }
    }
}

/// Protocol spoken by clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// ALPN, else found out from the first bytes.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Where the routes of an HTTP connection manager are.
#[derive(Clone, Debug)]
pub enum RouteSource {
    /// In place.
    Inline(Arc<RouteTable>),
    /// By RDS, under this name.
    Rds {
        /// Route configuration name.
        name: String,
        /// Where from.
        source: ConfigSource,
    },
}

/// What is done with the `server` response header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerHeader {
    /// Overwritten.
    #[default]
    Overwrite,
    /// Set when the upstream sent none.
    AppendIfAbsent,
    /// Left alone.
    PassThrough,
}

/// What is done with `x-forwarded-client-cert`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertForwarding {
    /// Removed.
    #[default]
    Sanitize,
    /// Kept if the connection is mutual TLS, else removed.
    ForwardOnly,
    /// Appended to if the connection is mutual TLS.
    AppendForward,
    /// Replaced by this connection's client certificate.
    SanitizeSet,
    /// Kept whatever the connection is.
    AlwaysForwardOnly,
}

/// An HTTP filter with its configuration applied.
#[derive(Clone)]
pub struct HttpFilterEntry {
    /// Name from the configuration; keys per-route configuration.
    pub name: String,
    /// Off unless a route turns it on.
    pub disabled: bool,
    /// The filter.
    pub filter: Arc<dyn HttpFilter>,
}

impl std::fmt::Debug for HttpFilterEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpFilterEntry({})", self.name)
    }
}

/// `accesslog.v3.AccessLog`.
#[derive(Clone, Debug)]
pub struct AccessLogConfig {
    /// Where lines go.
    pub sink: AccessLogSink,
    /// What a line says; `None` = Envoy's default line.
    pub format: AccessLogFormat,
    /// Which streams are logged; `None` = all.
    pub filter: Option<AccessLogFilter>,
}

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogSink {
    /// A file, opened for appending.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What an access log line says, as configured.
#[derive(Clone, Debug, Default)]
pub enum AccessLogFormat {
    /// Envoy's default text line.
    #[default]
    Default,
    /// A text with command operators.
    Text(String),
    /// A JSON object whose string values hold command operators.
    Json(serde_json::Value),
}

/// `accesslog.v3.ComparisonFilter.Op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// At least.
    AtLeast,
    /// At most.
    AtMost,
}

impl Comparison {
    /// Whether `left` compares so to `right`.
    #[must_use]
    pub fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::AtLeast => left >= right,
            Comparison::AtMost => left <= right,
        }
    }
}

/// `accesslog.v3.AccessLogFilter`, the carried part.
#[derive(Clone, Debug)]
pub enum AccessLogFilter {
    /// The response status compares so to the value.
    Status(Comparison, u32),
    /// The duration in milliseconds compares so to the value.
    DurationMillis(Comparison, u32),
    /// Not a health check request.
    NotHealthCheck,
    /// A request header matches.
    Header(HeaderMatcher),
    /// Any of these response flags is set; empty = any flag.
    ResponseFlags(Vec<String>),
    /// All of them.
    And(Vec<AccessLogFilter>),
    /// One of them.
    Or(Vec<AccessLogFilter>),
}
