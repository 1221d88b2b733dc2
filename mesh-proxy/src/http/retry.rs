//! When a request is tried again, and after how long (`RetryPolicy`). Pure.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};

use super::local_reply::grpc_status;
use crate::model::{HeaderView, RetryOn, RetryPolicy};

/// How an attempt failed before response headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection to the host.
    Connect,
    /// The connection or stream ended; `sent` = the host may have seen the request.
    Reset {
        /// The request may have reached the host.
        sent: bool,
    },
    /// The host refused the stream: it was not processed.
    RefusedStream,
    /// The attempt's own time is up.
    PerTryTimeout,
}

/// Whether the policy covers this failure.
pub(super) fn on_failure(on: RetryOn, failure: Failure) -> bool {
    match failure {
        Failure::Connect => on.connect_failure || on.gateway_error || on.five_xx || on.reset || on.reset_before_request,
        Failure::RefusedStream => on.refused_stream || on.gateway_error || on.five_xx || on.reset,
        Failure::Reset { sent } => on.reset || on.five_xx || on.gateway_error || (on.reset_before_request && !sent),
        Failure::PerTryTimeout => on.five_xx || on.gateway_error || on.reset,
    }
}

/// Whether the policy covers this response.
pub(super) fn on_response(policy: &RetryPolicy, status: StatusCode, headers: &HeaderMap) -> bool {
    let on = policy.on;
    let code = status.as_u16();
    let limited = headers.contains_key("x-envoy-ratelimited");
    if limited {
        return on.envoy_ratelimited;
    }
    (on.five_xx && status.is_server_error())
        || (on.gateway_error && matches!(code, 502..=504))
        || (on.retriable_4xx && code == 409)
        || (on.retriable_status_codes && policy.retriable_statuses.contains(&code))
        || (on.retriable_headers && {
            let view = HeaderView { method: "", path: "", authority: "", scheme: "", headers };
            policy.retriable_headers.iter().any(|m| m.matches(&view))
        })
        || on_grpc(on, headers)
}

fn on_grpc(on: RetryOn, headers: &HeaderMap) -> bool {
    let any = on.grpc_cancelled
        || on.grpc_deadline_exceeded
        || on.grpc_internal
        || on.grpc_resource_exhausted
        || on.grpc_unavailable;
    if !any || !headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc")) {
        return false;
    }
    match grpc_status(headers) {
        Some(1) => on.grpc_cancelled,
        Some(4) => on.grpc_deadline_exceeded,
        Some(8) => on.grpc_resource_exhausted,
        Some(13) => on.grpc_internal,
        Some(14) => on.grpc_unavailable,
        _ => false,
    }
}

/// Time before retry number `retry` (from 1): fully jittered, exponential.
/// `random` is uniform in `0..=u64::MAX`.
pub(super) fn back_off(policy: &RetryPolicy, retry: u32, random: u64) -> Duration {
    let factor = 1_u32.checked_shl(retry.min(31)).map_or(u32::MAX, |f| f - 1);
    let cap = policy.base_interval.saturating_mul(factor).min(policy.max_interval);
    let nanos = u64::try_from(cap.as_nanos()).unwrap_or(u64::MAX);
    if nanos == 0 { Duration::ZERO } else { Duration::from_nanos(random % nanos) }
}

/// A duration in `grpc-timeout` form (gRPC over HTTP/2): up to 8 digits and a unit.
pub(super) fn grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let n: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(n * 3600),
        b'M' => Duration::from_secs(n * 60),
        b'S' => Duration::from_secs(n),
        b'm' => Duration::from_millis(n),
        b'u' => Duration::from_micros(n),
        b'n' => Duration::from_nanos(n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, StatusCode};

    use super::{Failure, back_off, grpc_timeout, on_failure, on_response};
    use crate::model::{RetryOn, RetryPolicy};

    fn policy(on: RetryOn) -> RetryPolicy {
        RetryPolicy {
            on,
            num_retries: 3,
            per_try_timeout: None,
            per_try_idle_timeout: None,
            base_interval: Duration::from_millis(25),
            max_interval: Duration::from_millis(250),
            avoid_previous_hosts: false,
            host_selection_attempts: 1,
            retriable_statuses: vec![418],
            retriable_headers: vec![],
            retriable_requests: vec![],
        }
    }

    #[test]
    fn statuses() {
        let none = HeaderMap::new();
        let five = policy(RetryOn { five_xx: true, ..RetryOn::default() });
        assert!(on_response(&five, StatusCode::INTERNAL_SERVER_ERROR, &none));
        assert!(!on_response(&five, StatusCode::CONFLICT, &none));
        let gateway = policy(RetryOn { gateway_error: true, ..RetryOn::default() });
        assert!(!on_response(&gateway, StatusCode::INTERNAL_SERVER_ERROR, &none));
        assert!(on_response(&gateway, StatusCode::BAD_GATEWAY, &none));
        let teapot = policy(RetryOn { retriable_status_codes: true, ..RetryOn::default() });
        assert!(on_response(&teapot, StatusCode::IM_A_TEAPOT, &none));
        let grpc = policy(RetryOn { grpc_unavailable: true, ..RetryOn::default() });
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", "14".parse().unwrap());
        assert!(!on_response(&grpc, StatusCode::OK, &headers));
        headers.insert("content-type", "application/grpc".parse().unwrap());
        assert!(on_response(&grpc, StatusCode::OK, &headers));
    }

    #[test]
    fn failures() {
        let before = RetryOn { reset_before_request: true, ..RetryOn::default() };
        assert!(on_failure(before, Failure::Reset { sent: false }));
        assert!(!on_failure(before, Failure::Reset { sent: true }));
        let connect = RetryOn { connect_failure: true, ..RetryOn::default() };
        assert!(on_failure(connect, Failure::Connect));
        assert!(!on_failure(connect, Failure::RefusedStream));
    }

    #[test]
    fn back_off_grows_to_its_cap() {
        let p = policy(RetryOn::default());
        assert!(back_off(&p, 1, u64::MAX) < Duration::from_millis(25));
        assert!(back_off(&p, 2, u64::MAX) < Duration::from_millis(75));
        assert!(back_off(&p, 40, u64::MAX) < Duration::from_millis(250));
    }

    #[test]
    fn grpc_timeouts() {
        assert_eq!(grpc_timeout(b"100m"), Some(Duration::from_millis(100)));
        assert_eq!(grpc_timeout(b"2H"), Some(Duration::from_secs(7200)));
        for bad in [&b""[..], b"m", b"1", b"123456789S", b"1x", b"-1S"] {
            assert_eq!(grpc_timeout(bad), None);
        }
    }
}
