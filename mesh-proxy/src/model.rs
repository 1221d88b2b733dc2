//! Validated configuration as plain values.
//!
//! Nothing here can be half-wrong: what the API allows and this proxy does not carry was rejected by name in the
//! configuration edge before one of these values was made. Values are immutable and shared in `Arc`s; a change makes a
//! new value.

mod address;
mod cluster;
mod endpoint;
mod http;
mod listener;
mod listener_filter;
mod matcher;
mod route;
mod socket;
mod tcp_proxy;
mod tls;

pub use address::{Address, CidrRange};
pub use cluster::{
    CircuitBreakers, Cluster, ClusterKind, DnsFamily, Endpoints, HttpProtocol, LbPolicy, OutlierDetection, PoolOptions,
    ProxyHeader, SocketMatch, Thresholds, UpstreamSocket,
};
pub use endpoint::{Assignment, Endpoint, HealthStatus, Locality, LocalityEndpoints, Metadata};
pub use http::{
    AccessLogConfig, AccessLogFilter, AccessLogFormat, AccessLogSink, ClientCertForwarding, Codec, Comparison,
    EscapedSlashes, HeaderCase, Http1Options, Http2Limits, HttpConnectionManager, HttpFilterEntry, InternalAddresses,
    IpDetection, Keepalive, LocalReplies, ReplyFormat, ReplyMapper, RouteSource, RouterOptions, ServerHeader,
    StrictHeader, StripPort, Underscores,
};
pub use listener::{FilterChain, FilterChainMatch, Listener, NetworkFilterEntry, TerminalFilter, TransportProtocol};
pub use listener_filter::{
    ListenerFilter, ListenerFilterKind, ListenerPredicate, ProxyProtocol, ProxyProtocolVersion, TlsInspector, Tlv,
    TlvRule, TlvSelection,
};
pub use matcher::{HeaderKey, HeaderMatch, HeaderMatcher, HeaderView, QueryMatcher, StringMatcher};
pub(crate) use route::cookie;
pub use route::{
    Action, AppendAction, ClusterName, ClusterSpecifier, CookieMatcher, DirectResponse, FilterConfigs, FilterDisabled,
    Forward, GrpcTimeout, HashBy, HashPolicy, HeaderEdit, HeaderEdits, HeaderValueFormat, HostRewrite,
    InternalRedirect, Mirror, MirrorEdit, PathMatch, PathRewrite, RateLimitedBackOff, Redirect, RedirectPath,
    RedirectPredicate, ResetFormat, ResetHeader, RetryOn, RetryPolicy, RewriteTemplate, Route, RouteMatch, RouteTable,
    RuntimeFraction, TemplateError, UriTemplate, VirtualHost, WeightedCluster, WeightedClusters,
};
pub use socket::{SocketOption, SocketSetting, SocketSettings, SocketState};
pub use tcp_proxy::{TcpLogTimes, TcpProxy, TcpTunnel, TlvMerge};
pub use tls::{
    CertificateSource, ClientTls, ConfigSource, KeyLogFile, PeerRules, Resumption, SanMatcher, SanType, Secret,
    SecretRef, SecretValue, ServerTls, SessionTicketKey, SessionTickets, TlsCommon, TlsVersion, ValidationSource,
};
