//! What is done to a routed HTTP request: retries, faults, cross-origin rules, headers.
//!
//! Source: `istio.networking.v1`, virtual_service.proto.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{common::Percent, duration::Duration, string_match::StringMatch};

/// How failed requests are tried again. Source: `HTTPRetry`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpRetry {
    /// How many times at most, beside the first; 0 turns retries off.
    pub attempts: i32,
    /// The longest time for one try; the route's timeout by default.
    pub per_try_timeout: Option<Duration>,
    /// The conditions, comma separated: Envoy's `retry_on` values, gRPC conditions, and status codes.
    pub retry_on: Option<String>,
    /// Whether other localities may be tried; default false.
    pub retry_remote_localities: Option<bool>,
    /// Whether endpoints that were tried before may be tried again; default true.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// The shortest wait before a retry; 25 ms by default.
    pub backoff: Option<Duration>,
}

/// Faults put in on purpose. Source: `HTTPFaultInjection`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpFaultInjection {
    /// Requests that wait before they are forwarded.
    pub delay: Option<FaultDelay>,
    /// Requests that are answered with an error.
    pub abort: Option<FaultAbort>,
}

/// A delay before forwarding; one of the delay fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FaultDelay {
    /// The share of requests in percent. Deprecated by `percentage`.
    pub percent: Option<i32>,
    /// The share of requests; none by default.
    pub percentage: Option<Percent>,
    /// The wait.
    pub fixed_delay: Option<Duration>,
    /// A random wait with this mean. Not implemented by Istio.
    pub exponential_delay: Option<Duration>,
}

/// An error in place of an answer; one of the error fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FaultAbort {
    /// The share of requests; none by default.
    pub percentage: Option<Percent>,
    /// The HTTP status code, 200 to 599.
    pub http_status: Option<i32>,
    /// The gRPC status by name, such as `UNAVAILABLE`.
    pub grpc_status: Option<String>,
    /// An HTTP/2 error. Not implemented by Istio.
    pub http2_error: Option<String>,
}

/// Cross-origin rules. Source: `CorsPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CorsPolicy {
    /// Allowed origins as texts. Deprecated by `allow_origins`.
    pub allow_origin: Vec<String>,
    /// Allowed origins.
    pub allow_origins: Vec<StringMatch>,
    /// Allowed methods.
    pub allow_methods: Vec<String>,
    /// Allowed request headers.
    pub allow_headers: Vec<String>,
    /// Response headers that scripts may see.
    pub expose_headers: Vec<String>,
    /// How long a preflight answer may be kept.
    pub max_age: Option<Duration>,
    /// Whether credentials may be sent.
    pub allow_credentials: Option<bool>,
    /// Whether preflight requests that match no origin are forwarded.
    pub unmatched_preflights: Option<UnmatchedPreflights>,
}

/// What happens to preflight requests that match no allowed origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UnmatchedPreflights {
    /// As `FORWARD`.
    Unspecified,
    /// They go to the destination.
    Forward,
    /// They are answered here.
    Ignore,
}

/// Changes of headers. Source: `Headers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Headers {
    /// Changes of the request.
    pub request: Option<HeaderOperations>,
    /// Changes of the response.
    pub response: Option<HeaderOperations>,
}

/// Changes of one header map.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HeaderOperations {
    /// Headers whose value is replaced.
    pub set: BTreeMap<String, String>,
    /// Headers to which a value is added.
    pub add: BTreeMap<String, String>,
    /// Headers that are taken out.
    pub remove: Vec<String>,
}
