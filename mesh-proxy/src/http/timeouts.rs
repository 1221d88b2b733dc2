//! The time limits of a request: what its route says, and what its headers add.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{retry, stream::Stream, watchdog::Limits};
use crate::model::{Forward, GrpcTimeout};

const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-timeout-ms");
const PER_TRY_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms");
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The limits of a request, and its own limit of each attempt. Headers that set limits go: they are meant for this proxy.
/// Only internal clients' requests still have them here.
pub(super) fn take(stream: &mut Stream, forward: &Forward, upgrade: bool) -> (Limits, Option<Duration>) {
    let asked = stream.request.headers.remove(REQUEST_TIMEOUT).and_then(|value| millis(&value));
    let respected = stream.chain.model.router.respect_expected_timeout;
    let expected = stream.request.headers.get(EXPECTED_TIMEOUT).filter(|_| respected).and_then(millis);
    let asked = asked.or(expected);
    let per_try = stream.request.headers.remove(PER_TRY_TIMEOUT).and_then(|value| millis(&value));
    let model = &stream.chain.model;
    let start = stream.info.timings.start;
    let total = match forward.grpc_timeout {
        Some(grpc) if !grpc.of_stream && stream.grpc => grpc_limit(grpc, &stream.request.headers).unwrap_or(grpc.max),
        _ => forward.timeout,
    };
    // As in Envoy, the whole stream's limit follows the header whatever the content type is.
    let of_stream = forward.grpc_timeout.filter(|grpc| grpc.of_stream);
    let of_stream = of_stream.and_then(|grpc| grpc_limit(grpc, &stream.request.headers));
    if let Some(limit) = of_stream.filter(|_| stream.grpc)
        && let Ok(value) = HeaderValue::try_from(retry::to_grpc_timeout(limit))
    {
        stream.request.headers.insert(GRPC_TIMEOUT, value);
    }
    let life = of_stream.or(forward.max_stream_duration).or(model.max_stream_duration).and_then(some);
    let limits = Limits {
        total: some(asked.unwrap_or(total)).filter(|_| !upgrade),
        idle: some(forward.idle_timeout.unwrap_or(model.stream_idle_timeout)),
        life: life.map(|limit| start + limit),
        attempt: None,
        request: some(model.request_timeout).map(|limit| start + limit),
    };
    (limits, per_try.and_then(some))
}

/// Zero stands for no limit.
fn some(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

fn millis(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.parse().ok().map(Duration::from_millis)
}

/// `grpc-timeout`, if there is one, less the offset and under the cap.
fn grpc_limit(limit: GrpcTimeout, headers: &HeaderMap) -> Option<Duration> {
    let mut values = headers.get_all(GRPC_TIMEOUT).iter();
    // Several values are no time.
    let value = values.next().filter(|_| values.next().is_none())?;
    let asked = retry::grpc_timeout(value.as_bytes())?;
    let less = |time: Duration| if limit.offset < time { time - limit.offset } else { time };
    let capped = |time: Duration| if limit.max.is_zero() { time } else { time.min(limit.max) };
    // The newer limit is capped first.
    Some(if limit.of_stream { less(capped(asked)) } else { capped(less(asked)) })
}

/// Tells the upstream how long its answer is waited for: this attempt's limit, within what is left of the whole. `elapsed`:
/// since the request was complete.
pub(super) fn tell(headers: &mut HeaderMap, total: Option<Duration>, attempt: Option<Duration>, elapsed: Duration) {
    // Nothing left is told as a millisecond: zero would be no limit.
    let left = total.map(|total| total.saturating_sub(elapsed).max(Duration::from_millis(1)));
    if let Some(expected) = [attempt, left].into_iter().flatten().min() {
        let millis = u64::try_from(expected.as_millis()).unwrap_or(u64::MAX);
        headers.insert(EXPECTED_TIMEOUT, HeaderValue::from(millis.max(1)));
    }
}

/// When the request was complete, for [`tell`].
pub(super) fn complete(stream: &Stream) -> Option<Instant> {
    stream.upload.as_ref().map_or(Some(stream.info.timings.start), |upload| upload.ended())
}
