//! One request: attempts at hosts of its cluster, with retries, under the route's time limits.

use std::{
    borrow::Cow,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header::HOST};
use smallvec::SmallVec;

use super::rewrite_host;
use crate::{
    balancer::PickContext,
    body::Body,
    cluster::{Host, Outcome},
    filter::ResponseFlags,
    http::{
        failure::{Failed, Reset},
        manager::{Reply, Routed, Upgrade},
        retry,
        stream::Stream,
        target, timeouts,
        tunnel::Tunnel,
        watchdog::{Expired, Limits, watch},
        wire,
    },
    model::{ClusterKind, Forward, HostRewrite, HttpProtocol, RetryPolicy},
    upstream::{LocalCluster, SendErrorKind, UpstreamBody},
};

/// Connections tried when one after another closes before the request is written.
const MAX_UNSENT: u32 = 4;

pub(in crate::http) const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
const IS_TIMEOUT_RETRY: HeaderName = HeaderName::from_static("x-envoy-is-timeout-retry");
const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");

/// One request on its way through attempts.
pub(super) struct Call<'a> {
    pub(super) routed: &'a Routed,
    pub(super) random: u64,
    pub(super) forward: &'a Forward,
    pub(super) cluster: Rc<LocalCluster>,
    pub(super) policy: Option<Cow<'a, RetryPolicy>>,
    pub(super) limits: Limits,
    pub(super) per_try: Option<Duration>,
    pub(super) hash: Option<u64>,
    pub(super) upgrade: Option<Upgrade>,
}

impl Call<'_> {
    /// Goes from attempt to attempt until there is an answer.
    pub(super) async fn run(&mut self, stream: &mut Stream) -> Reply {
        match self.cluster.admit_request(self.forward.high_priority, false) {
            Ok(permit) => stream.admitted[0] = Some(permit),
            Err(_) => return Reply::local(Failed::Overflow.reply(false)),
        }
        let mut tried: SmallVec<[Arc<Host>; 4]> = SmallVec::new();
        loop {
            stream.info.attempts += 1;
            let result = self.attempt(stream, &mut tried).await;
            let failed = match result {
                Ok(response) if !self.retry_response(stream, &response) => {
                    return self.succeed(stream, response);
                }
                Ok(response) => {
                    stream.timed_out = false;
                    if !self.admit_retry(stream, Some(response.headers())).await {
                        return self.succeed(stream, response);
                    }
                    continue;
                }
                Err(failed) => failed,
            };
            stream.info.upstream_failure = failed.transport_reason();
            self.count_failure(&failed);
            let retries = failed.retry_kind().zip(self.policy()).is_some_and(|(kind, p)| retry::on_failure(p.on, kind));
            if retries && self.is_exhausted(stream) {
                self.note_exhausted(stream);
            }
            let retries = retries && self.has_budget(stream);
            stream.timed_out = matches!(failed, Failed::Expired(_));
            if !retries || !self.admit_retry(stream, None).await {
                if let Failed::Expired(which) = &failed {
                    stream.chain.stats.note_expired(*which);
                }
                let reply = Reply::local(failed.reply(stream.info.attempts > 1));
                return if failed.is_managers() { reply } else { self.with_attempts(stream, reply) };
            }
        }
    }

    fn policy(&self) -> Option<&RetryPolicy> {
        self.policy.as_deref()
    }

    fn is_exhausted(&self, stream: &Stream) -> bool {
        self.policy().is_some_and(|p| stream.info.attempts > p.num_retries)
    }

    fn note_exhausted(&self, stream: &mut Stream) {
        stream.info.flags.insert(ResponseFlags::UPSTREAM_RETRY_LIMIT);
        self.cluster.handle().stats().upstream_rq_retry_limit_exceeded.inc();
    }

    /// Whether this response is to be dropped for another attempt.
    fn retry_response(&self, stream: &Stream, response: &Response<UpstreamBody>) -> bool {
        self.policy().is_some_and(|p| retry::on_response(p, response.status(), response.headers()))
            && self.has_budget(stream)
    }

    fn has_budget(&self, stream: &Stream) -> bool {
        self.policy().is_some_and(|p| stream.info.attempts <= p.num_retries)
            && stream.upload.as_ref().is_none_or(|u| u.is_replayable())
    }

    /// Asks the retry breaker and waits the back-off. `false`: there is no retry.
    async fn admit_retry(&self, stream: &mut Stream, response: Option<&HeaderMap>) -> bool {
        let Some(policy) = self.policy() else { return false };
        let Ok(permit) = self.cluster.admit_request(self.forward.high_priority, true) else {
            stream.info.flags.insert(ResponseFlags::UPSTREAM_OVERFLOW);
            return false;
        };
        let random = stream.chain.worker.random();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let asked = response.and_then(|headers| retry::asked_pause(policy, headers, now, random));
        let pause = asked.unwrap_or_else(|| retry::back_off(policy, stream.info.attempts, random));
        let start = stream.info.timings.start;
        let upload = stream.upload.clone();
        let slept = pin!(tokio::time::sleep(pause));
        let waited = watch(slept, &self.limits, start, Instant::now(), upload.as_deref()).await.is_ok();
        stream.admitted[1] = Some(permit);
        self.cluster.handle().stats().upstream_rq_retry.inc();
        waited
    }

    /// Picks a host and sends the request to it.
    async fn attempt(
        &mut self,
        stream: &mut Stream,
        tried: &mut SmallVec<[Arc<Host>; 4]>,
    ) -> Result<Response<UpstreamBody>, Failed> {
        let avoid = self.policy().is_some_and(|p| p.avoid_previous_hosts);
        let host = self.cluster.pick(&PickContext {
            hash: self.hash,
            exclude: if avoid { tried } else { &[] },
            host_selection_retries: self.policy().map_or(0, |p| p.host_selection_attempts),
            attempt: 0,
            original_dst: self.original_destination(stream),
        });
        let Ok(host) = host else { return Err(Failed::NoHost) };
        tried.push(host.clone());
        stream.info.upstream_host = Some(host.name.clone());
        stream.info.upstream_metadata = Some(host.metadata.clone());
        let now = Instant::now();
        let mut limits = self.limits;
        let quiet = |p: &RetryPolicy| p.per_try_idle_timeout.filter(|_| stream.upload.is_none());
        let limit = [self.per_try, self.policy().and_then(quiet)].into_iter().flatten().min();
        limits.attempt = limit.map(|limit| now + limit);
        let (start, upload) = (stream.info.timings.start, stream.upload.clone());
        let result = {
            // Pinned here: what is handed over by value takes its place twice.
            let exchange = pin!(self.exchange(stream, &host));
            match watch(exchange, &limits, start, now, upload.as_deref()).await {
                Ok(result) => result,
                Err(which) => Err(Failed::Expired(which)),
            }
        };
        self.report(&host, &result);
        match result {
            Err(Failed::Reset { .. }) if upload.is_some_and(|u| u.has_failed()) => Err(Failed::Client),
            result => result,
        }
    }

    /// Where an `ORIGINAL_DST` cluster sends the request: to what its header names, if it has one that is an address, else
    /// to the connection's original destination.
    fn original_destination(&self, stream: &Stream) -> Option<SocketAddr> {
        let named = match &self.cluster.handle().config().kind {
            ClusterKind::OriginalDst { header: Some(header) } => stream.request.headers.get(header),
            _ => None,
        };
        let named = named.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        named.or_else(|| stream.connection.info.original_destination())
    }

    async fn exchange(&mut self, stream: &mut Stream, host: &Arc<Host>) -> Result<Response<UpstreamBody>, Failed> {
        let downstream = stream.request.version;
        let mut unsent: Option<Box<Request<Body>>> = None;
        let mut tries = 0;
        loop {
            tries += 1;
            let connection = &stream.connection.info;
            let high = self.forward.high_priority;
            let sender = self.cluster.http_for(connection, host, Some(downstream), high).await?;
            stream.info.upstream_tls = sender.info().tls.clone();
            stream.info.upstream_local = sender.info().local;
            let request = match unsent.take() {
                Some(request) if (request.version() == Version::HTTP_2) == sender.is_http2() => *request,
                _ => self.request(stream, host, sender.is_http2()),
            };
            stream.info.timings.upstream_start = Some(Instant::now());
            match sender.send(request).await {
                Ok(response) => {
                    if let Some(gate) = stream.upload.as_ref().and_then(|upload| upload.gate()) {
                        gate.open();
                    }
                    stream.info.timings.response_start = Some(Instant::now());
                    return Ok(response);
                }
                // The pooled connection closed as it was taken: nothing was sent, another one will do.
                Err(e) if e.kind == SendErrorKind::Unsent && tries < MAX_UNSENT => unsent = e.request,
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// The request for one attempt.
    fn request(&self, stream: &mut Stream, host: &Host, http2: bool) -> Request<Body> {
        if matches!(self.forward.host_rewrite, HostRewrite::Auto) && !host.hostname.is_empty() {
            rewrite_host(stream, self.forward, &host.hostname);
        }
        if self.routed.virtual_host.include_attempt_count {
            stream.request.headers.insert(ATTEMPT_COUNT, HeaderValue::from(stream.info.attempts));
        }
        if self.routed.virtual_host.include_is_timeout_retry && stream.info.attempts > 1 {
            let text = if stream.timed_out { "true" } else { "false" };
            stream.request.headers.insert(IS_TIMEOUT_RETRY, HeaderValue::from_static(text));
        }
        if stream.info.attempts > 1
            && !stream.chain.model.router.suppress_envoy_headers
            && let Some(complete) = timeouts::complete(stream)
        {
            timeouts::tell(&mut stream.request.headers, self.limits.total, self.per_try, complete.elapsed());
        }
        let scheme = target::scheme(&stream.request);
        let kept = self.keeps_request(stream);
        let mut headers =
            if kept { stream.request.headers.clone() } else { std::mem::take(&mut stream.request.headers) };
        let body = match &stream.upload {
            Some(upload) => Body::Upload(upload.next_attempt()),
            None => Body::Empty,
        };
        let mut request = Request::new(body);
        *request.method_mut() = stream.request.method.clone();
        let mut uri = stream.request.uri.clone();
        if stream.request.method == Method::CONNECT {
            // Authority form, the same for both.
            if !http2 && let Ok(host) = HeaderValue::try_from(target::authority(&stream.request)) {
                headers.insert(HOST, host);
            }
        } else if http2 {
            target::into_absolute_form(&mut uri, &mut headers, scheme);
            *request.version_mut() = Version::HTTP_2;
        } else {
            target::into_origin_form(&mut uri, &mut headers);
        }
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let pool = &self.cluster.handle().config().pool;
        if http2 {
            wire::for_http2(&mut request, self.upgrade.as_ref());
        } else {
            wire::for_http1(&mut request, stream, pool, scheme);
        }
        request
    }

    /// The request's headers are needed once more: by another attempt, or on the way back.
    fn keeps_request(&self, stream: &Stream) -> bool {
        stream.chain.keeps_request
            || self.has_budget(stream)
            // Metrics by host.
            || stream.connection.info.inbound.is_some()
            // One that was not sent may have to be made anew for the other protocol.
            || self.cluster.handle().config().protocol == HttpProtocol::Auto
            || self.forward.internal_redirect.is_some()
            || self.routed.weighted_cluster().is_some_and(|cluster| !cluster.edits.response.is_empty())
            || self.routed.edits().iter().any(|level| !level.response.is_empty())
    }

    fn count_failure(&self, failed: &Failed) {
        let stats = self.cluster.handle().stats();
        match failed {
            Failed::Expired(Expired::Total) => stats.upstream_rq_timeout.inc(),
            Failed::Expired(Expired::Attempt) => stats.upstream_rq_per_try_timeout.inc(),
            Failed::Expired(Expired::Life) => stats.upstream_rq_max_duration_reached.inc(),
            Failed::Reset { kind: Reset::Remote | Reset::Refused, .. } => stats.upstream_rq_rx_reset.inc(),
            _ => {}
        }
    }

    fn report(&self, host: &Arc<Host>, result: &Result<Response<UpstreamBody>, Failed>) {
        let outcome = match result {
            Ok(response) => Outcome::Status(response.status().as_u16()),
            Err(Failed::Expired(Expired::Total | Expired::Attempt)) => Outcome::Timeout,
            Err(Failed::Connect { .. }) => Outcome::ConnectFailed,
            Err(Failed::Reset { .. }) => Outcome::Reset,
            Err(_) => return,
        };
        self.cluster.report(host, outcome, self.random);
    }

    fn succeed(&mut self, stream: &mut Stream, mut response: Response<UpstreamBody>) -> Reply {
        stream.info.details = Some("via_upstream".into());
        let wanted = self.policy().is_some_and(|p| retry::on_response(p, response.status(), response.headers()));
        let stats = self.cluster.handle().stats();
        if wanted && self.is_exhausted(stream) {
            self.note_exhausted(stream);
        } else if stream.info.attempts > 1 {
            stats.upstream_rq_retry_success.inc();
        }
        let timings = &stream.info.timings;
        if let Some((sent, received)) = timings.upstream_start.zip(timings.response_start) {
            let time = received - sent;
            stats.upstream_rq_time.record_ms(time);
            if !stream.chain.model.router.suppress_envoy_headers {
                let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                response.headers_mut().insert(SERVICE_TIME, HeaderValue::from(millis));
            }
        }
        if response.version() != Version::HTTP_2 && !self.cluster.handle().config().pool.http1_trailers {
            stream.drops_trailers = true;
        }
        if let Some(upgrade) = &self.upgrade {
            wire::accept_extended_connect(&mut response, upgrade);
        }
        let connected = stream.request.method == Method::CONNECT && response.status().is_success();
        if (connected || response.status() == StatusCode::SWITCHING_PROTOCOLS)
            && let Some(upgrade) = self.upgrade.take()
        {
            let tunnel = Tunnel::new(upgrade, &mut response, self.limits.idle);
            return Reply::Upgraded(Box::new(response), Box::new(tunnel));
        }
        let reply = Reply::Upstream(Box::new(response), self.limits);
        self.with_attempts(stream, reply)
    }

    fn with_attempts(&self, stream: &Stream, reply: Reply) -> Reply {
        if self.routed.virtual_host.include_attempt_count_in_response {
            reply.with_attempts(stream.info.attempts)
        } else {
            reply
        }
    }
}
