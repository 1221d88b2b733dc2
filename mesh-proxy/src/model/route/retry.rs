//! When a request is tried again.

use std::time::Duration;

use ::http::HeaderName;

use crate::model::HeaderMatcher;

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
    /// Back-off that a response asks for.
    pub rate_limited: Option<RateLimitedBackOff>,
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

/// `route.v3.RetryPolicy.RateLimitedRetryBackOff`.
#[derive(Clone, Debug)]
pub struct RateLimitedBackOff {
    /// Headers that tell when to come again; the first that does counts.
    pub headers: Vec<ResetHeader>,
    /// A longer time than this is not waited: the other back-off holds. Default 300 s.
    pub max_interval: Duration,
}

/// A response header that tells when to come again.
#[derive(Clone, Debug)]
pub struct ResetHeader {
    /// Name.
    pub name: HeaderName,
    /// What it says.
    pub format: ResetFormat,
}

/// What a reset header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetFormat {
    /// Seconds from now.
    Seconds,
    /// Seconds since 1970.
    UnixTimestamp,
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

impl RetryOn {
    /// Sets the condition of this name, as `retry_on` spells it; `false` if there is none.
    pub fn set(&mut self, condition: &str) -> bool {
        self.set_http(condition) || self.set_grpc(condition)
    }

    /// As [`set`](Self::set), of what `x-envoy-retry-on` may name.
    pub fn set_http(&mut self, condition: &str) -> bool {
        let flag = match condition {
            "5xx" => &mut self.five_xx,
            "gateway-error" => &mut self.gateway_error,
            "reset" => &mut self.reset,
            "reset-before-request" => &mut self.reset_before_request,
            "connect-failure" => &mut self.connect_failure,
            "retriable-4xx" => &mut self.retriable_4xx,
            "refused-stream" => &mut self.refused_stream,
            "retriable-status-codes" => &mut self.retriable_status_codes,
            "retriable-headers" => &mut self.retriable_headers,
            "envoy-ratelimited" => &mut self.envoy_ratelimited,
            _ => return false,
        };
        *flag = true;
        true
    }

    /// As [`set`](Self::set), of what `x-envoy-retry-grpc-on` may name.
    pub fn set_grpc(&mut self, condition: &str) -> bool {
        let flag = match condition {
            "cancelled" => &mut self.grpc_cancelled,
            "deadline-exceeded" => &mut self.grpc_deadline_exceeded,
            "internal" => &mut self.grpc_internal,
            "resource-exhausted" => &mut self.grpc_resource_exhausted,
            "unavailable" => &mut self.grpc_unavailable,
            _ => return false,
        };
        *flag = true;
        true
    }
}

impl Default for RetryPolicy {
    /// One retry, on nothing, with Envoy's back-off.
    fn default() -> Self {
        Self {
            on: RetryOn::default(),
            num_retries: 1,
            per_try_timeout: None,
            per_try_idle_timeout: None,
            base_interval: Duration::from_millis(25),
            max_interval: Duration::from_millis(250),
            rate_limited: None,
            avoid_previous_hosts: false,
            host_selection_attempts: 1,
            retriable_statuses: Vec::new(),
            retriable_headers: Vec::new(),
            retriable_requests: Vec::new(),
        }
    }
}
