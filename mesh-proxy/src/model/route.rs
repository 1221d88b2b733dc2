use std::{any::Any, collections::BTreeMap, sync::Arc, time::Duration};

use ::http::{HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;

use super::{HeaderMatcher, Metadata, QueryMatcher, StringMatcher};

/// `route.v3.RouteConfiguration`.
///
/// This is the configured form; the route module compiles it for searching.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// Name.
    pub name: String,
    /// Virtual hosts.
    pub virtual_hosts: Vec<Arc<VirtualHost>>,
    /// Header edits of every response and request.
    pub edits: HeaderEdits,
    /// Ports in authority are ignored when a virtual host is searched.
    pub ignore_port_in_host_matching: bool,
    /// Edits run from the most specific (route) to the least; `true` reverses.
    pub most_specific_edits_last: bool,
    /// Clusters named by routes must exist when the table is accepted.
    pub validate_clusters: bool,
    /// Filter configuration by filter name.
    pub filter_config: FilterConfigs,
}

/// Typed filter configuration by filter name, made by the filter's own factory.
pub type FilterConfigs = Arc<BTreeMap<String, Arc<dyn Any + Send + Sync>>>;

/// `route.v3.VirtualHost`.
#[derive(Clone, Debug, Default)]
pub struct VirtualHost {
    /// Unique name.
    pub name: String,
    /// Domains: exact, `*.suffix`, `prefix.*` or `*`; lower case.
    pub domains: Vec<String>,
    /// Routes, first match wins.
    pub routes: Vec<Arc<Route>>,
    /// Header edits.
    pub edits: HeaderEdits,
    /// Retry policy of routes that have none.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Plaintext requests are redirected to HTTPS: `Some(true)` all, `Some(false)` external ones only.
    pub require_tls: Option<bool>,
    /// Filter configuration by filter name.
    pub filter_config: FilterConfigs,
    /// Retry attempts are told upstream in `x-envoy-attempt-count`.
    pub include_attempt_count: bool,
}

/// `route.v3.Route`.
#[derive(Clone, Debug)]
pub struct Route {
    /// Name; may be empty.
    pub name: String,
    /// Condition.
    pub matches: RouteMatch,
    /// What is done.
    pub action: Action,
    /// Header edits.
    pub edits: HeaderEdits,
    /// Filter configuration by filter name.
    pub filter_config: FilterConfigs,
    /// Filter metadata (Istio traces the user's object here).
    pub metadata: Metadata,
}

/// `route.v3.RouteMatch`.
#[derive(Clone, Debug)]
pub struct RouteMatch {
    /// Condition on the path (without query).
    pub path: PathMatch,
    /// ASCII case of the path is ignored (exact and prefix).
    pub ignore_case: bool,
    /// All must match.
    pub headers: Vec<HeaderMatcher>,
    /// All must match.
    pub query: Vec<QueryMatcher>,
    /// Only gRPC requests.
    pub grpc: bool,
    /// Share of requests.
    pub fraction: Option<RuntimeFraction>,
    /// Condition on the client certificate: presented, validated.
    pub tls_presented: Option<bool>,
    /// See `tls_presented`.
    pub tls_validated: Option<bool>,
}

/// Condition on the path.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// Starts with.
    Prefix(String),
    /// Equal.
    Exact(String),
    /// Equal, or followed by a slash (`path_separated_prefix`).
    SeparatedPrefix(String),
    /// The whole path matches.
    Regex(regex::Regex),
    /// A `CONNECT` request.
    Connect,
}

/// `core.v3.RuntimeFractionalPercent`, the default value only: this proxy has no runtime layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeFraction {
    /// Of `denominator`.
    pub numerator: u32,
    /// 100, 10 000 or 1 000 000.
    pub denominator: u32,
}

/// What a route does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Forward upstream.
    Forward(Box<Forward>),
    /// Redirect the client.
    Redirect(Box<Redirect>),
    /// Answer here.
    Direct(DirectResponse),
}

/// `route.v3.RouteAction`.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Where to.
    pub cluster: ClusterSpecifier,
    /// Status when the cluster does not exist: 503 (default) or 404.
    pub cluster_not_found: StatusCode,
    /// Path rewrite.
    pub rewrite: PathRewrite,
    /// Authority rewrite.
    pub host_rewrite: HostRewrite,
    /// The authority before the rewrite is appended to `x-forwarded-host`.
    pub append_x_forwarded_host: bool,
    /// Whole request, retries included. Default 15 s; zero = none.
    pub timeout: Duration,
    /// Stream without activity; `None` = the connection manager's.
    pub idle_timeout: Option<Duration>,
    /// Longest life of the stream; `None` = the connection manager's. Zero = unlimited.
    pub max_stream_duration: Option<Duration>,
    /// Cap for `grpc-timeout`; `None` = the header is not used as a deadline. Zero = used uncapped.
    pub grpc_timeout_header_max: Option<Duration>,
    /// Retry policy; `None` = the virtual host's.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Copies sent elsewhere.
    pub mirrors: Vec<Mirror>,
    /// What the balancer hashes.
    pub hash_policy: Vec<HashPolicy>,
    /// `HIGH` priority for circuit breakers.
    pub high_priority: bool,
    /// Upgrade types switched on or off for this route.
    pub upgrades: Vec<(String, bool)>,
    /// `CONNECT` ends here: its bytes go to the cluster as they are (`connect_config`).
    pub terminates_connect: bool,
    /// Subset selector: `envoy.lb` metadata an endpoint must have.
    pub metadata_match: Option<Metadata>,
}

/// Where a route forwards to.
#[derive(Clone, Debug)]
pub enum ClusterSpecifier {
    /// A cluster.
    Cluster(Arc<str>),
    /// A cluster named by a request header.
    Header(HeaderName),
    /// By weight; the total is the sum.
    Weighted(Vec<WeightedCluster>),
}

/// One of several destinations.
#[derive(Clone, Debug)]
pub struct WeightedCluster {
    /// Cluster.
    pub name: Arc<str>,
    /// Share.
    pub weight: u32,
    /// Header edits.
    pub edits: HeaderEdits,
    /// Filter configuration by filter name.
    pub filter_config: FilterConfigs,
    /// Authority rewrite.
    pub host_rewrite: Option<String>,
}

/// Path rewrite.
#[derive(Clone, Debug, Default)]
pub enum PathRewrite {
    /// None.
    #[default]
    None,
    /// The matched prefix or path is replaced.
    Prefix(String),
    /// Regular expression and replacement in Envoy's form (`\1`).
    Regex(regex::Regex, String),
    /// The whole path is replaced (`path_rewrite`), query kept.
    Full(String),
}

/// Authority rewrite.
#[derive(Clone, Debug, Default)]
pub enum HostRewrite {
    /// None.
    #[default]
    None,
    /// To this text.
    Literal(String),
    /// To the chosen host's name (`auto_host_rewrite`).
    Auto,
    /// To the value of a header.
    Header(HeaderName),
    /// Pattern on the path, and substitution.
    PathRegex(regex::Regex, String),
}

/// `route.v3.RedirectAction`.
#[derive(Clone, Debug, Default)]
pub struct Redirect {
    /// `https_redirect` or `scheme_redirect`.
    pub scheme: Option<String>,
    /// Host.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Path.
    pub path: RedirectPath,
    /// 301 (default), 302, 303, 307, 308.
    pub status: Option<StatusCode>,
    /// The query is dropped.
    pub strip_query: bool,
}

/// Path part of a redirect.
#[derive(Clone, Debug, Default)]
pub enum RedirectPath {
    /// Kept.
    #[default]
    Keep,
    /// Replaced; may carry a query.
    Full(String),
    /// Matched prefix replaced.
    Prefix(String),
    /// Regular expression and replacement.
    Regex(regex::Regex, String),
}

/// `route.v3.DirectResponseAction`.
#[derive(Clone, Debug)]
pub struct DirectResponse {
    /// Status.
    pub status: StatusCode,
    /// Body.
    pub body: Bytes,
}

/// `route.v3.RequestMirrorPolicy`.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// Cluster.
    pub cluster: Arc<str>,
    /// Share; `None` = all.
    pub fraction: Option<RuntimeFraction>,
}

/// `route.v3.RouteAction.HashPolicy`.
#[derive(Clone, Debug)]
pub enum HashPolicy {
    /// A header's value.
    Header(HeaderName),
    /// A cookie; made with this life and path when missing (zero life = session).
    Cookie(String, Option<Duration>, String),
    /// The client's IP address.
    SourceIp,
    /// A query parameter.
    Query(String),
}

/// `route.v3.RetryPolicy`.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// Conditions.
    pub on: RetryOn,
    /// Retries beyond the first attempt. Default 1.
    pub num_retries: u32,
    /// Each attempt; `None` = the route's timeout.
    pub per_try_timeout: Option<Duration>,
    /// Attempt without a response byte; `None` = none.
    pub per_try_idle_timeout: Option<Duration>,
    /// Back-off base. Default 25 ms.
    pub base_interval: Duration,
    /// Back-off cap. Default ten times the base.
    pub max_interval: Duration,
    /// Hosts already tried are avoided (`envoy.retry_host_predicates.previous_hosts`).
    pub avoid_previous_hosts: bool,
    /// How often host selection is repeated for that. Default 1.
    pub host_selection_attempts: u32,
    /// Statuses for `retriable-status-codes`.
    pub retriable_statuses: Vec<u16>,
    /// Response header conditions for `retriable-headers`.
    pub retriable_headers: Vec<HeaderMatcher>,
    /// Only requests that match one of these are retried; empty = all.
    pub retriable_requests: Vec<HeaderMatcher>,
}

/// Conditions of a retry, as Envoy's `retry_on` names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub struct RetryOn {
    /// `5xx`.
    pub five_xx: bool,
    /// `gateway-error`: 502, 503, 504.
    pub gateway_error: bool,
    /// `reset`.
    pub reset: bool,
    /// `reset-before-request`.
    pub reset_before_request: bool,
    /// `connect-failure`.
    pub connect_failure: bool,
    /// `retriable-4xx`: 409.
    pub retriable_4xx: bool,
    /// `refused-stream`.
    pub refused_stream: bool,
    /// `retriable-status-codes`.
    pub retriable_status_codes: bool,
    /// `retriable-headers`.
    pub retriable_headers: bool,
    /// `envoy-ratelimited`.
    pub envoy_ratelimited: bool,
    /// gRPC `cancelled`.
    pub grpc_cancelled: bool,
    /// gRPC `deadline-exceeded`.
    pub grpc_deadline_exceeded: bool,
    /// gRPC `internal`.
    pub grpc_internal: bool,
    /// gRPC `resource-exhausted`.
    pub grpc_resource_exhausted: bool,
    /// gRPC `unavailable`.
    pub grpc_unavailable: bool,
}

/// Header edits of one level (route, virtual host, table, weighted cluster).
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits {
    /// Applied to requests, in order, after the removals.
    pub request: Vec<HeaderEdit>,
    /// Removed from requests.
    pub request_remove: Vec<HeaderName>,
    /// Applied to responses.
    pub response: Vec<HeaderEdit>,
    /// Removed from responses.
    pub response_remove: Vec<HeaderName>,
}

impl HeaderEdits {
    /// Whether nothing is edited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.request.is_empty()
            && self.request_remove.is_empty()
            && self.response.is_empty()
            && self.response_remove.is_empty()
    }
}

/// `core.v3.HeaderValueOption`.
#[derive(Clone, Debug)]
pub struct HeaderEdit {
    /// Header.
    pub name: HeaderName,
    /// Value.
    pub value: HeaderValueFormat,
    /// What happens if it is there or not.
    pub append: AppendAction,
    /// An empty value is kept.
    pub keep_empty: bool,
}

/// `core.v3.HeaderValueOption.HeaderAppendAction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppendAction {
    /// Added, beside what is there.
    #[default]
    AppendIfExistsOrAdd,
    /// Added if absent.
    AddIfAbsent,
    /// Replaces, or adds.
    OverwriteIfExistsOrAdd,
    /// Replaces if present.
    OverwriteIfExists,
}

/// A header value: constant, or with command operators as access logs have.
#[derive(Clone, Debug)]
pub enum HeaderValueFormat {
    /// No operator in it.
    Literal(HeaderValue),
    /// Text with operators such as `%DOWNSTREAM_REMOTE_ADDRESS%`.
    Format(String),
}

impl StringMatcher {
    /// A matcher of one exact text.
    #[must_use]
    pub fn exact(text: impl Into<String>) -> Self {
        StringMatcher::Exact(text.into())
    }
}
