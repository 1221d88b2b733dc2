//! The response body on its way to the client: counted, timed, and the end of the stream when it is dropped.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Version;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Sleep;

use super::{
    stream::Stream,
    stream_task::{FlushClock, watched_clock},
    watchdog::{Expired, Limits},
};
use crate::{body::BodyError, filter::ResponseFlags, upstream::UpstreamBody};

/// Where the bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Upstream.
    Upstream(UpstreamBody),
    /// The proxy itself.
    Local(Option<Bytes>),
}

/// What a stream keeps for its response body.
pub(super) struct Transfer {
    source: Source,
    limits: Limits,
    active: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Started with each part that the codec gets, stopped while there is none.
    flush: Option<(FlushClock, Duration)>,
    drops_trailers: bool,
}

impl Transfer {
    /// Nothing to send yet.
    pub(super) fn none(now: Instant) -> Self {
        let (source, limits) = (Source::Local(None), Limits::default());
        Self { source, limits, active: now, timer: None, flush: None, drops_trailers: false }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Upstream(body) => body.is_end_stream(),
            Source::Local(body) => body.is_none(),
        }
    }

    fn handed_over(&mut self) {
        if self.limits.idle.is_none() && self.flush.is_none() {
            return;
        }
        self.active = Instant::now();
        if let Some((clock, limit)) = &self.flush {
            clock.start(self.active + *limit);
        }
    }

    /// Nothing waits for the client.
    fn stop_clock(&self) {
        if let Some((clock, _)) = &self.flush {
            clock.stop();
        }
    }
}

/// A response body. It is its stream: one allocation serves a request from its first header to its last byte.
pub(crate) struct Download(Box<Stream>);

impl Download {
    /// The body of `stream`'s answer.
    pub(super) fn new(source: Source, mut stream: Box<Stream>, limits: Limits, now: Instant) -> Self {
        let mut transfer = Transfer { source, limits, active: now, timer: None, flush: None, drops_trailers: false };
        stream.complete = transfer.is_end_stream();
        if !stream.complete {
            transfer.flush = flush_clock(&stream);
            transfer.drops_trailers = stream.drops_trailers
                || (stream.request.version != Version::HTTP_2 && !stream.chain.model.http1.trailers);
        }
        stream.transfer = transfer;
        Self(stream)
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0.transfer.source {
            Source::Upstream(body) => Pin::new(body).poll_frame(cx),
            Source::Local(body) => Poll::Ready(body.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn note(&mut self, frame: Option<&Result<Frame<Bytes>, BodyError>>) {
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.0.info.bytes_sent += data.len() as u64;
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.0.note_trailers(trailers);
                    self.0.complete = true;
                }
                if self.is_end_stream() {
                    self.0.complete = true;
                }
            }
            Some(Err(_)) => self.fail(ResponseFlags::UPSTREAM_TERMINATION, "upstream_reset_after_response_started"),
            None => self.0.complete = true,
        }
    }

    fn fail(&mut self, flag: ResponseFlags, details: &'static str) {
        self.0.info.flags.insert(flag);
        self.0.info.details = Some(details.into());
        self.0.complete = false;
    }

    /// A limit was reached: the stream is reset.
    fn expire(&mut self, which: Expired) -> BodyError {
        match which {
            Expired::Idle => self.fail(ResponseFlags::STREAM_IDLE_TIMEOUT, "stream_idle_timeout"),
            Expired::Life => {
                self.fail(ResponseFlags::UPSTREAM_MAX_STREAM_DURATION, "upstream_max_stream_duration_reached");
            }
            _ => self.fail(ResponseFlags::UPSTREAM_TIMEOUT, "upstream_response_timeout"),
        }
        self.0.chain.stats.note_expired(which);
        "a time limit of the stream was reached".into()
    }

    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        loop {
            let (stream, transfer) = (&*self.0, &self.0.transfer);
            let upload = stream.upload.as_deref();
            let next = transfer.limits.next(stream.info.timings.start, transfer.active, upload);
            let Some((at, which)) = next else { return Poll::Pending };
            if at <= Instant::now() {
                return Poll::Ready(which);
            }
            let at = tokio::time::Instant::from_std(at);
            let timer = self.0.transfer.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            if timer.deadline() > at || timer.is_elapsed() {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.0.transfer.stop_clock();
    }
}

/// The clock that a task watches for this stream, and its limit.
fn flush_clock(stream: &Stream) -> Option<(FlushClock, Duration)> {
    let model = &stream.chain.model;
    let limit = model.stream_flush_timeout.unwrap_or(model.stream_idle_timeout);
    let http2 = stream.request.version == Version::HTTP_2;
    (!limit.is_zero()).then(|| (if http2 { watched_clock() } else { stream.connection.flush.clone() }, limit))
}

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this.poll_source(cx) {
            Poll::Ready(frame) => {
                this.0.transfer.handed_over();
                this.note(frame.as_ref());
                let dropped =
                    this.0.transfer.drops_trailers && matches!(&frame, Some(Ok(frame)) if frame.is_trailers());
                Poll::Ready(frame.filter(|_| !dropped))
            }
            Poll::Pending => {
                this.0.transfer.stop_clock();
                this.poll_limits(cx).map(|which| Some(Err(this.expire(which))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.transfer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0.transfer.source {
            Source::Upstream(body) => body.size_hint(),
            Source::Local(body) => SizeHint::with_exact(body.as_ref().map_or(0, |b| b.len() as u64)),
        }
    }
}
