//! When a request is tried again, and after how long (`RetryPolicy`). Pure.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderName, StatusCode, header::CONTENT_TYPE};

use super::local_reply::grpc_status;
use crate::model::{HeaderKey, HeaderMatch, HeaderMatcher, HeaderView, ResetFormat, RetryOn, RetryPolicy};

const RETRY_ON: HeaderName = HeaderName::from_static("x-envoy-retry-on");
const RETRY_GRPC_ON: HeaderName = HeaderName::from_static("x-envoy-retry-grpc-on");
const MAX_RETRIES: HeaderName = HeaderName::from_static("x-envoy-max-retries");
const RETRIABLE_STATUSES: HeaderName = HeaderName::from_static("x-envoy-retriable-status-codes");
const RETRIABLE_NAMES: HeaderName = HeaderName::from_static("x-envoy-retriable-header-names");

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

/// How long the response asks to wait, between the time it names and half as much again; `None` if it names none, or one
/// that is too long. `now`: seconds since 1970.
pub(super) fn asked_pause(policy: &RetryPolicy, headers: &HeaderMap, now: Duration, random: u64) -> Option<Duration> {
    let limited = policy.rate_limited.as_ref()?;
    let wait = limited.headers.iter().find_map(|header| {
        let number: u64 = headers.get(&header.name)?.to_str().ok()?.trim().parse().ok()?;
        match header.format {
            ResetFormat::Seconds => Some(Duration::from_secs(number)),
            ResetFormat::UnixTimestamp => Duration::from_secs(number).checked_sub(now).filter(|wait| !wait.is_zero()),
        }
    })?;
    if wait > limited.max_interval {
        return None;
    }
    let half = u64::try_from(wait.as_nanos() / 2).unwrap_or(u64::MAX);
    Some(wait + if half == 0 { Duration::ZERO } else { Duration::from_nanos(random % half) })
}

/// The policy that a request is under: the route's with what `x-envoy-*` request headers add to it. The headers go: they are
/// meant for this proxy. Only internal clients' requests still have them here.
pub(super) fn policy<'p>(route: Option<&'p RetryPolicy>, headers: &mut HeaderMap) -> Option<Cow<'p, RetryPolicy>> {
    let mut take = |name: HeaderName| headers.remove(name).and_then(|value| value.to_str().ok().map(str::to_owned));
    let asked = Asked {
        on: take(RETRY_ON),
        grpc_on: take(RETRY_GRPC_ON),
        max: take(MAX_RETRIES),
        statuses: take(RETRIABLE_STATUSES),
        names: take(RETRIABLE_NAMES),
    };
    let covered = |policy: &RetryPolicy| policy.on != RetryOn::default();
    if asked.on.is_none() && asked.grpc_on.is_none() {
        let policy = route.filter(|policy| covered(policy))?;
        if asked.is_empty() {
            return Some(Cow::Borrowed(policy));
        }
        let mut policy = policy.clone();
        asked.merge(&mut policy);
        return Some(Cow::Owned(policy));
    }
    let mut policy = route.cloned().unwrap_or_default();
    asked.merge(&mut policy);
    covered(&policy).then_some(Cow::Owned(policy))
}

/// Whether the request asks for retries itself.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.contains_key(RETRY_ON) || headers.contains_key(RETRY_GRPC_ON)
}

/// What request headers say of retries.
struct Asked {
    on: Option<String>,
    grpc_on: Option<String>,
    max: Option<String>,
    statuses: Option<String>,
    names: Option<String>,
}

impl Asked {
    fn is_empty(&self) -> bool {
        self.max.is_none() && self.statuses.is_none() && self.names.is_none()
    }

    /// What is unknown or malformed is passed over, as in Envoy.
    fn merge(&self, policy: &mut RetryPolicy) {
        let list = |text: &Option<String>| -> Vec<String> {
            let items = text.iter().flat_map(|text| text.split(','));
            items.map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
        };
        for condition in list(&self.on) {
            policy.on.set_http(&condition);
        }
        for condition in list(&self.grpc_on) {
            policy.on.set_grpc(&condition);
        }
        if let Some(max) = self.max.as_ref().and_then(|max| max.parse().ok()) {
            policy.num_retries = max;
        }
        policy.retriable_statuses.extend(list(&self.statuses).iter().filter_map(|status| status.parse::<u16>().ok()));
        let names = list(&self.names);
        policy.retriable_headers.extend(names.iter().filter_map(|name| HeaderName::try_from(name).ok()).map(|name| {
            let (matches, name) = (HeaderMatch::Present(true), HeaderKey::Name(name));
            HeaderMatcher { name, matches, invert: false, missing_as_empty: false }
        }));
    }
}

/// A time in `grpc-timeout` form, rounded to the unit that its digits have room for.
pub(super) fn to_grpc_timeout(time: Duration) -> String {
    const ROOM: u128 = 100_000_000;
    match time.as_millis() {
        millis if millis < ROOM => format!("{millis}m"),
        millis if millis / 1000 < ROOM => format!("{}S", millis / 1000),
        millis => format!("{}M", (millis / 60_000).min(ROOM - 1)),
    }
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

    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

    use super::{Failure, asked_pause, back_off, grpc_timeout, on_failure, on_response, to_grpc_timeout};
    use crate::model::{RateLimitedBackOff, ResetFormat, ResetHeader, RetryOn, RetryPolicy};

    fn policy(on: RetryOn) -> RetryPolicy {
        RetryPolicy { on, num_retries: 3, retriable_statuses: vec![418], ..RetryPolicy::default() }
    }

    #[test]
    fn a_response_may_ask_for_a_pause() {
        let seconds = ResetHeader { name: HeaderName::from_static("retry-after"), format: ResetFormat::Seconds };
        let stamp = ResetHeader { name: HeaderName::from_static("x-reset"), format: ResetFormat::UnixTimestamp };
        let rate_limited = RateLimitedBackOff { headers: vec![seconds, stamp], max_interval: Duration::from_secs(300) };
        let policy = RetryPolicy { rate_limited: Some(rate_limited), ..RetryPolicy::default() };
        let pause = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
            asked_pause(&policy, &headers.collect(), Duration::from_secs(1000), 0)
        };
        assert_eq!(pause(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(pause(&[("retry-after", "soon"), ("x-reset", "1005")]), Some(Duration::from_secs(5)));
        assert_eq!(pause(&[("x-reset", "999")]), None);
        assert_eq!(pause(&[("retry-after", "301")]), None);
        assert_eq!(pause(&[]), None);
        let longest = asked_pause(
            &policy,
            &HeaderMap::from_iter([(HeaderName::from_static("retry-after"), HeaderValue::from_static("2"))]),
            Duration::ZERO,
            999_999_999,
        );
        assert_eq!(longest, Some(Duration::from_nanos(2_999_999_999)));
    }

    #[test]
    fn request_headers_change_the_policy() {
        let with = |route: Option<&RetryPolicy>, pairs: &[(&'static str, &'static str)]| {
            let mut headers: HeaderMap =
                pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
            let policy = super::policy(route, &mut headers).map(std::borrow::Cow::into_owned);
            assert!(headers.is_empty());
            policy
        };
        assert!(with(None, &[("x-envoy-max-retries", "3")]).is_none());
        assert!(with(None, &[("x-envoy-retry-on", "bogus")]).is_none());
        let asked = with(None, &[("x-envoy-retry-on", "5xx, reset"), ("x-envoy-max-retries", "4")]).unwrap();
        assert_eq!((asked.on.five_xx, asked.on.reset, asked.num_retries), (true, true, 4));
        let grpc = with(None, &[("x-envoy-retry-grpc-on", "unavailable,5xx")]).unwrap();
        assert_eq!((grpc.on.grpc_unavailable, grpc.on.five_xx, grpc.num_retries), (true, false, 1));
        let route = policy(RetryOn { retriable_status_codes: true, ..RetryOn::default() });
        let more = with(Some(&route), &[("x-envoy-retriable-status-codes", "x,429"), ("x-envoy-max-retries", "-1")]);
        let more = more.unwrap();
        assert_eq!((more.retriable_statuses, more.num_retries), (vec![418, 429], 3));
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
        assert_eq!(to_grpc_timeout(Duration::from_micros(50_900)), "50m");
        assert_eq!(to_grpc_timeout(Duration::from_secs(100_000)), "100000S");
        assert_eq!(grpc_timeout(b"100m"), Some(Duration::from_millis(100)));
        assert_eq!(grpc_timeout(b"2H"), Some(Duration::from_secs(7200)));
        for bad in [&b""[..], b"m", b"1", b"123456789S", b"1x", b"-1S"] {
            assert_eq!(grpc_timeout(bad), None);
        }
    }
}
