//! HTTP/2 toward a host: streams of one connection.
//!
//! A request talks to its stream directly. There is no task and no channel for it, only the connection's driver beside
//! all of them; a body that cannot be sent at once gets a task of its own.

mod keepalive;

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use tokio::task::AbortHandle;

use self::keepalive::Pings;
use super::{connection::is_too_old, pool::HostPool};
use crate::{
    body::{Body, BodyError},
    dial::{ConnectError, UpstreamConnInfo, UpstreamStream},
    model::PoolOptions,
    rt::{Batched, ReadAhead},
};

/// Largest header list of a response where the cluster does not say, in bytes.
const MAX_HEADER_LIST: u32 = 60 << 10;

/// Bytes of one stream that wait for the connection, at most.
const MAX_SEND_BUFFER: usize = 1 << 20;

/// Spreads the numbers of connections over all values (the golden ratio), so that each has a jitter of its own.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// An HTTP/2 connection.
pub(super) struct H2 {
    tx: RefCell<client::SendRequest<Bytes>>,
    pub(super) info: Arc<UpstreamConnInfo>,
    created: Instant,
    active: Cell<u32>,
    requests: Cell<u32>,
    stopped: Cell<bool>,
    idle_since: Cell<Instant>,
    driver: Rc<Driver>,
}

/// What the driver tells and is told.
#[derive(Debug)]
struct Driver {
    /// Streams that the peer allows.
    peer_max: Cell<usize>,
    ended: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl fmt::Debug for H2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H2").field("info", &self.info).field("active", &self.active).finish_non_exhaustive()
    }
}

impl Drop for H2 {
    /// The codec does not notice by itself that nobody can send any more.
    fn drop(&mut self) {
        if let Some(waker) = self.driver.waker.take() {
            waker.wake();
        }
    }
}

impl H2 {
    /// It can carry one more stream now.
    pub(super) fn has_room(&self, options: &PoolOptions) -> bool {
        self.is_usable(options)
            && self.active.get() < options.http2_max_concurrent_streams
            && (self.active.get() as usize) < self.driver.peer_max.get()
    }

    /// It can carry one more stream, now or when another has ended.
    pub(super) fn is_usable(&self, options: &PoolOptions) -> bool {
        !self.stopped.get()
            && !self.driver.ended.get()
            && options.max_requests_per_connection.is_none_or(|max| self.requests.get() < max)
            && !is_too_old(self.created, options, None)
    }

    /// A stream is reserved.
    pub(super) fn begin(&self) {
        self.active.set(self.active.get() + 1);
    }

    /// A stream is over.
    pub(super) fn end(&self) {
        self.active.set(self.active.get().saturating_sub(1));
        if self.active.get() == 0 {
            self.idle_since.set(Instant::now());
        }
    }

    /// One more request; returns how many there were.
    pub(super) fn count_request(&self) -> u32 {
        let count = self.requests.get().saturating_add(1);
        self.requests.set(count);
        count
    }

    /// How long nothing was on it.
    pub(super) fn idle(&self, now: Instant) -> Option<Duration> {
        (self.active.get() == 0).then(|| now.saturating_duration_since(self.idle_since.get()))
    }

    /// Sends a request. One that could not even be begun is given back.
    pub(super) fn begin_exchange(&self, request: Request<Body>) -> Result<Exchange, Refusal> {
        if let Err(e) = self.check() {
            self.stopped.set(true);
            return Err((e, Some(Box::new(request))));
        }
        let (parts, body) = request.into_parts();
        let mut request = Request::from_parts(parts, ());
        prepare(request.headers_mut());
        // An extended CONNECT (RFC 8441): the codec has a type of its own for what it asks for.
        if let Some(protocol) = request.extensions_mut().remove::<hyper::ext::Protocol>() {
            request.extensions_mut().insert(h2::ext::Protocol::from(protocol.as_str()));
        }
        let connect = request.method() == Method::CONNECT;
        let ends = body.is_end_stream() && !connect;
        if let Some(length) = body.size_hint().exact().filter(|length| *length > 0)
            && !request.headers().contains_key(header::CONTENT_LENGTH)
        {
            request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        let (response, stream) = self.open(request, ends).map_err(|e| (e, None))?;
        let mut exchange = Exchange { response, upload: None, tunnel: None };
        if connect {
            exchange.tunnel = Some(stream);
        } else if !ends {
            exchange.upload = send_body_now(body, stream);
        }
        Ok(exchange)
    }

    /// Whether the connection takes streams. One that waits for the peer's limit does not matter: the pool keeps to it.
    fn check(&self) -> Result<(), h2::Error> {
        let mut cx = Context::from_waker(Waker::noop());
        match self.tx.borrow_mut().poll_ready(&mut cx) {
            Poll::Ready(ready) => ready,
            Poll::Pending => Ok(()),
        }
    }

    fn open(&self, request: Request<()>, ends: bool) -> Result<(client::ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut tx = self.tx.borrow_mut();
        let mut cx = Context::from_waker(Waker::noop());
        if tx.poll_ready(&mut cx).is_pending() {
            // The handle's last stream still waits for its turn; another handle queues behind it.
            return tx.clone().send_request(request, ends);
        }
        tx.send_request(request, ends)
    }
}

/// Why a request was not sent, and the request if it can be sent elsewhere as it is.
pub(super) type Refusal = (h2::Error, Option<Box<Request<Body>>>);

/// A request that was sent. Dropping it, or the response's body before its end, resets the stream.
#[derive(Debug)]
pub(super) struct Exchange {
    response: client::ResponseFuture,
    upload: Option<Upload>,
    tunnel: Option<SendStream<Bytes>>,
}

impl Exchange {
    /// Waits for the head of the response.
    pub(super) async fn response(mut self) -> Result<Response<H2Body>, h2::Error> {
        let response = (&mut self.response).await?;
        let Self { upload, tunnel, .. } = self;
        let tunnel = tunnel.filter(|_| response.status().is_success());
        let length = content_length(response.headers());
        Ok(response.map(|stream| H2Body::new(stream, length, upload, tunnel)))
    }
}

/// Headers of HTTP/1 connections mean nothing here (RFC 9113, section 8.2.2).
fn prepare(headers: &mut HeaderMap) {
    const REFUSED: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
    if headers.keys().any(|name| REFUSED.contains(&name.as_str())) {
        for name in REFUSED {
            headers.remove(name);
        }
    }
    if headers.get(header::TE).is_some_and(|te| te != "trailers") {
        headers.remove(header::TE);
    }
}

/// Sends what is at hand of a body; what has to wait is sent by a task.
fn send_body_now(body: Body, stream: SendStream<Bytes>) -> Option<Upload> {
    let mut sending = Box::pin(send_body(body, stream));
    // The task polls it again, with a waker that counts.
    let polled = sending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    polled.is_pending().then(|| Upload(tokio::task::spawn_local(sending).abort_handle()))
}

/// Sends a request body as the stream's window opens.
async fn send_body(body: Body, mut stream: SendStream<Bytes>) {
    let mut body = std::pin::pin!(body);
    loop {
        // One byte is enough to learn that there is room: what is ready is then sent whole, and waits in the codec.
        stream.reserve_capacity(1);
        if stream.capacity() == 0 && !has_capacity(&mut stream).await {
            return;
        }
        let frame = poll_fn(|cx| match stream.poll_reset(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => body.as_mut().poll_frame(cx).map(Some),
        });
        let sent = match frame.await {
            // Reset by the host; whoever waits for the response is told.
            None => return,
            Some(None) => return drop(stream.send_data(Bytes::new(), true)),
            Some(Some(Err(_))) => return stream.send_reset(Reason::INTERNAL_ERROR),
            Some(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    let ends = body.is_end_stream();
                    match stream.send_data(data, ends) {
                        Ok(()) if ends => return,
                        sent => sent,
                    }
                }
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => {
                        stream.reserve_capacity(0);
                        return drop(stream.send_trailers(trailers));
                    }
                    Err(_) => Ok(()),
                },
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Waits for room in the stream's window. False: the stream is over.
async fn has_capacity(stream: &mut SendStream<Bytes>) -> bool {
    loop {
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(0)) => {}
            Some(Ok(_)) => return true,
            Some(Err(_)) | None => return false,
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A request body under way. Dropped, it is given up.
#[derive(Debug)]
struct Upload(AbortHandle);

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Body of a response.
#[derive(Debug)]
pub(super) struct H2Body {
    stream: RecvStream,
    length: Option<u64>,
    ended: bool,
    data_ended: bool,
    upload: Option<Upload>,
    tunnel: Option<SendStream<Bytes>>,
}

impl H2Body {
    fn new(stream: RecvStream, length: Option<u64>, upload: Option<Upload>, tunnel: Option<SendStream<Bytes>>) -> Self {
        let ended = stream.is_end_stream();
        let length = if ended { Some(0) } else { length };
        Self { stream, length, ended, data_ended: false, upload, tunnel }
    }

    /// Everything has been read.
    pub(super) fn is_end_stream(&self) -> bool {
        self.ended
    }

    /// Bytes still to come, if that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Both halves of a stream that a `CONNECT` has opened.
    pub(super) fn into_tunnel(self) -> Option<(SendStream<Bytes>, RecvStream)> {
        Some((self.tunnel?, self.stream))
    }

    fn end(&mut self) {
        self.ended = true;
        // The host has answered; the rest of the request is of no use to it.
        self.upload = None;
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Read is passed on: the window opens as fast as the client takes it.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    self.length = self.length.map(|length| length.saturating_sub(data.len() as u64));
                    if self.stream.is_end_stream() {
                        self.end();
                    }
                    return Poll::Ready(Some(Ok(http_body::Frame::data(data))));
                }
                // The response is whole although the host wants nothing more of the request (RFC 9113, section 8.1).
                Some(Err(e)) if matches!(e.reason(), Some(Reason::NO_ERROR | Reason::CANCEL)) => {
                    self.end();
                    return Poll::Ready(None);
                }
                Some(Err(e)) => {
                    self.end();
                    return Poll::Ready(Some(Err(e.into())));
                }
                None => self.data_ended = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx));
        self.end();
        Poll::Ready(match trailers {
            Ok(trailers) => trailers.map(|trailers| Ok(http_body::Frame::trailers(trailers))),
            Err(e) => Some(Err(e.into())),
        })
    }
}

/// Starts HTTP/2 on a stream. The driver task that is spawned owns the socket; it tells `pool` when it ends.
pub(super) async fn start(
    stream: UpstreamStream,
    info: Arc<UpstreamConnInfo>,
    options: &PoolOptions,
    pool: Weak<HostPool>,
) -> Result<Rc<H2>, ConnectError> {
    let (stream, flusher) = Batched::new(ReadAhead::new(stream));
    let (tx, mut connection) = client::Builder::new()
        .enable_push(false)
        .initial_window_size(options.http2_stream_window)
        .initial_connection_window_size(options.http2_connection_window)
        .initial_max_send_streams(options.http2_max_concurrent_streams as usize)
        .max_header_list_size(options.max_response_headers_bytes.unwrap_or(MAX_HEADER_LIST))
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(|error| ConnectError::Http(Arc::new(error)))?;
    let driver = Rc::new(Driver {
        peer_max: Cell::new(options.http2_max_concurrent_streams as usize),
        ended: Cell::new(false),
        waker: RefCell::default(),
    });
    let mut pings = options.http2_keepalive.as_ref().and_then(|keepalive| {
        let pings = connection.ping_pong()?;
        Some(Pings::new(pings, keepalive, info.id.wrapping_mul(SPREAD)))
    });
    let shared = driver.clone();
    tokio::task::spawn_local(async move {
        poll_fn(|cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            shared.peer_max.set(connection.max_concurrent_send_streams());
            let mut waker = shared.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            let gone = pings.as_mut().is_some_and(|pings| pings.poll(cx).is_ready());
            if polled.is_ready() || gone || matches!(flusher.poll_flush(cx), Poll::Ready(Err(_))) {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
        shared.ended.set(true);
        drop(connection);
        if let Some(pool) = pool.upgrade() {
            pool.connection_ended();
        }
    });
    let now = Instant::now();
    Ok(Rc::new(H2 {
        tx: RefCell::new(tx),
        info,
        created: now,
        active: Cell::new(0),
        requests: Cell::new(0),
        stopped: Cell::new(false),
        idle_since: Cell::new(now),
        driver,
    }))
}
