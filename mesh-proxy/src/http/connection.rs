//! One downstream HTTP connection: its codec, its time limits and its end.

mod close;
mod watch;

use std::{
    cell::{Cell, RefCell},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant, SystemTime},
};

use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;

use self::{
    close::{head_timeout_answer, linger},
    watch::drive,
};
use super::{
    chain::HttpChain,
    guard::{
        FramesSeen, Heads, Http1Io, Http2Io,
        http1::{Framing, Violation},
    },
    manager,
    premature::PrematureResets,
    resting::Resting,
    stream_task::{FlushClock, StreamExec},
};
use crate::{
    drain::{DrainWatch, Phase},
    filter::ConnectionInfo,
    listener::io::ServerIo,
    model::{Codec, HeaderCase},
    rt::{Batched, ReadAhead},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams that a client may reset before they were accepted, before the connection is closed (rapid reset,
/// CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 50;

/// Bytes of an answer that are held for a stream whose client gives no window, once for each stream that it may open.
const SEND_BUFFER: usize = 128 << 10;

/// What streams of one connection share.
pub(super) struct Connection {
    pub(super) chain: Rc<HttpChain>,
    pub(super) info: Arc<ConnectionInfo>,
    /// No further request is taken: answers carry `connection: close`.
    pub(super) ending: Cell<bool>,
    active: Cell<u32>,
    requests: Cell<u32>,
    last_active: Cell<Instant>,
    /// HTTP/1: heads as they arrive.
    heads: Arc<Heads>,
    http2: bool,
    /// The head that was arriving took too long.
    head_timed_out: Cell<bool>,
    /// When the one that is arriving was first seen.
    head_since: Cell<Option<Instant>>,
    /// HTTP/1: until when the client must take something of the answer.
    pub(super) flush: FlushClock,
    /// HTTP/2: frames as they arrive.
    frames: Rc<FramesSeen>,
    resets: PrematureResets,
    /// Too many streams were reset: it is dropped.
    doomed: Cell<bool>,
    driver: RefCell<Option<Waker>>,
    /// End of its longest life.
    life: Option<Instant>,
}

impl Connection {
    /// A stream begins.
    pub(super) fn stream_begins(&self) {
        self.active.set(self.active.get() + 1);
        self.requests.set(self.requests.get().saturating_add(1));
        if self.chain.model.max_requests_per_connection.is_some_and(|max| self.requests.get() >= max)
            && !self.ending.replace(true)
        {
            self.chain.stats.cx_max_requests_reached.inc();
        }
    }

    /// The head of the next HTTP/1 request is with the codec; why it is refused, if it is.
    pub(super) fn next_head(&self) -> Option<Violation> {
        self.head_since.set(None);
        self.heads.refused(self.requests.get())
    }

    /// Bytes behind the last HTTP/1 head may be no HTTP.
    pub(super) fn is_opaque(&self) -> bool {
        self.heads.is_opaque()
    }

    /// By then the client must have taken something of the answers that wait for it: those that the codec holds, which no
    /// stream watches any more, or that of HTTP/1.
    fn flush_limit(&self) -> Option<Instant> {
        if !self.http2 {
            return self.flush.deadline();
        }
        let model = &self.chain.model;
        let limit = nonzero(model.stream_flush_timeout.unwrap_or(model.stream_idle_timeout))?;
        let (open, moved) = self.frames.open();
        if open <= self.active.get() as usize {
            return None;
        }
        let ended = self.last_active.get();
        Some(moved.map_or(ended, |moved| moved.max(ended)) + limit)
    }

    /// The request head that is arriving must be complete by then.
    fn head_limit(&self, now: Instant) -> Option<Instant> {
        let limit = nonzero(self.chain.model.request_headers_timeout)?;
        let arriving =
            if self.http2 { self.frames.is_in_head() } else { self.active.get() == 0 && self.heads.is_arriving() };
        if !arriving {
            self.head_since.set(None);
            return None;
        }
        let since = self.head_since.get().unwrap_or(now);
        self.head_since.set(Some(since));
        Some(since + limit)
    }

    fn register(&self, cx: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
    }

    /// A stream has ended. `premature`: reset by the client soon after it began, before it was answered.
    pub(super) fn stream_ends(&self, now: Instant, premature: bool) {
        self.active.set(self.active.get() - 1);
        self.last_active.set(now);
        if self.resets.stream_ends(premature) {
            self.chain.stats.rq_too_many_premature_resets.inc();
            self.doomed.set(true);
        }
        // What the codec still holds of the answer has a limit of its own, which is the connection's to watch.
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }
}

/// Serves `io` until it ends.
pub(crate) async fn serve(chain: Rc<HttpChain>, info: Arc<ConnectionInfo>, mut io: ServerIo, mut drain: DrainWatch) {
    let stats = &chain.stats;
    stats.cx_total.inc();
    if info.tls.is_some() {
        stats.cx_ssl_total.inc();
    }
    let _active = stats.cx_active.hold();
    let http2 = match chain.model.codec {
        Codec::Http1 => false,
        Codec::Http2 => true,
        Codec::Auto => match info.tls.as_ref().and_then(|tls| tls.alpn.as_deref()) {
            Some(alpn) => alpn == b"h2",
            None => tokio::select! {
                http2 = is_http2(&mut io, chain.model.idle_timeout) => http2,
                () = drain.reached(Phase::Closing) => return,
            },
        },
    };
    let life = longest_life(&chain, info.started);
    let connection = Rc::new(Connection {
        chain: chain.clone(),
        info,
        ending: Cell::new(false),
        active: Cell::new(0),
        requests: Cell::new(0),
        last_active: Cell::new(Instant::now()),
        heads: Arc::default(),
        http2,
        head_timed_out: Cell::new(false),
        head_since: Cell::new(None),
        flush: FlushClock::default(),
        frames: Rc::default(),
        resets: PrematureResets::default(),
        doomed: Cell::new(false),
        driver: RefCell::default(),
        life,
    });
    let result = if http2 {
        stats.cx_http2_total.inc();
        serve_http2(&connection, io, drain).await
    } else {
        stats.cx_http1_total.inc();
        serve_http1(&connection, io, drain).await
    };
    if let Err(e) = result {
        note_error(&connection, &e);
    }
}

/// When a connection has lived long enough.
fn longest_life(chain: &HttpChain, started: Instant) -> Option<Instant> {
    let limit = chain.model.max_connection_duration?;
    let share = (chain.worker.random() >> 11) as f64 / (1_u64 << 53) as f64;
    Some(started + limit.mul_f64(1.0 + share * chain.model.max_connection_duration_jitter / 100.0))
}

fn note_error(connection: &Connection, error: &hyper::Error) {
    let chain = &connection.chain;
    let flood = connection.frames.flood();
    if let Some(flood) = flood {
        chain.worker.stats.counter(&flood.to_string()).inc();
    }
    if flood.is_some() || error.is_parse() || error.is_parse_too_large() {
        chain.stats.cx_protocol_error.inc();
    }
}

/// Whether the client speaks HTTP/2 with prior knowledge.
async fn is_http2(io: &mut ServerIo, patience: Duration) -> bool {
    let patience = if patience.is_zero() { Duration::from_secs(3600) } else { patience };
    let look = async {
        loop {
            let head = io.head();
            let n = head.len().min(PREFACE.len());
            if head[..n] != PREFACE[..n] {
                return false;
            }
            if n == PREFACE.len() {
                return true;
            }
            if !matches!(io.read_ahead(PREFACE.len()).await, Ok(1..)) {
                return false;
            }
        }
    };
    tokio::time::timeout(patience, look).await.unwrap_or(false)
}

async fn serve_http1(connection: &Rc<Connection>, io: ServerIo, drain: DrainWatch) -> hyper::Result<()> {
    let model = &connection.chain.model;
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    builder.header_read_timeout(None);
    builder.max_header_size(model.max_request_headers_bytes as usize);
    if model.max_headers_count != 100 {
        builder.max_headers(model.max_headers_count as usize);
    }
    match model.http1.header_case {
        HeaderCase::Lower => {}
        HeaderCase::ProperWords => drop(builder.title_case_headers(true)),
        HeaderCase::Preserve => drop(builder.preserve_header_case(true)),
    }
    let served = connection.clone();
    // Boxed, since the codec would keep its room while the connection is idle.
    let service = service_fn(move |request| Box::pin(manager::serve(served.clone(), request)));
    let io = Http1Io::new(io, Framing::new(model.http1.allow_chunked_length), connection.heads.clone());
    let quiet = || connection.active.get() == 0 && !connection.heads.is_arriving();
    let mut conn = Resting::new(builder, io, service, quiet);
    let flush = |_: &mut Context<'_>| Poll::Ready(Ok(()));
    let result = drive(Pin::new(&mut conn), connection, drain, Resting::graceful_shutdown, flush, false).await;
    if connection.ending.get() || result.is_err() {
        let Some(io) = conn.into_io() else { return result };
        let mut io = io.into_inner();
        if connection.head_timed_out.get() {
            // A client that is gone needs no answer.
            let _ = io.write_all(&head_timeout_answer(model, SystemTime::now())).await;
        }
        linger(io, model.delayed_close).await;
    }
    result
}

async fn serve_http2(connection: &Rc<Connection>, io: ServerIo, drain: DrainWatch) -> hyper::Result<()> {
    let model = &connection.chain.model;
    let mut builder = http2::Builder::new(StreamExec);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(model.http2_max_concurrent_streams)
        .initial_stream_window_size(model.http2_stream_window)
        .initial_connection_window_size(model.http2_connection_window)
        .max_header_list_size(model.max_request_headers_bytes)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS);
    if model.http2_allow_connect {
        builder.enable_connect_protocol();
    }
    if let Some(keepalive) = &model.http2_keepalive {
        let interval = keepalive.jittered(connection.chain.worker.random());
        builder.keep_alive_interval(interval).keep_alive_timeout(keepalive.timeout);
    }
    let served = connection.clone();
    // Each stream is a task of its own, which would be moved about with all its room for what may have to wait.
    let service = service_fn(move |request| Box::pin(manager::serve(served.clone(), request)));
    // What is watched is what the client takes, not what waits here for the end of the turn.
    let (io, flusher) = Batched::new(Http2Io::new(ReadAhead::new(io), model.http2_limits, connection.frames.clone()));
    let conn = builder.serve_connection(TokioIo::new(io), service);
    let flush = |cx: &mut Context<'_>| flusher.poll_flush(cx);
    drive(pin!(conn), connection, drain, http2::Connection::graceful_shutdown, flush, true).await
}

fn nonzero(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}
