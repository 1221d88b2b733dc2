//! One downstream HTTP connection: its codec, its time limits and its end.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Sleep, sleep_until};

use super::{
    chain::HttpChain,
    head_scan::{HeadScan, HeadState},
    manager,
};
use crate::{
    drain::{DrainWatch, Phase},
    filter::ConnectionInfo,
    listener::io::ServerIo,
    model::Codec,
    rt::LocalExec,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams that a client may reset before they were accepted, before the connection is closed (rapid reset,
/// CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 50;

/// Longest wait for a client to end an HTTP/2 connection after it was told to.
const GOAWAY_PATIENCE: Duration = Duration::from_secs(5);

/// What streams of one connection share.
pub(super) struct Connection {
    pub(super) chain: Rc<HttpChain>,
    pub(super) info: Arc<ConnectionInfo>,
    /// No further request is taken: answers carry `connection: close`.
    pub(super) ending: Cell<bool>,
    active: Cell<u32>,
    requests: Cell<u32>,
    last_active: Cell<Instant>,
    /// HTTP/1: the head that is arriving.
    head: Arc<HeadState>,
    /// When it was first seen to arrive.
    head_since: Cell<Option<Instant>>,
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

    /// The HTTP/1 request that has just arrived can be read in two ways.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.head_since.set(None);
        self.head.take_ambiguous()
    }

    /// The request head that is arriving must be complete by then.
    fn head_limit(&self, now: Instant) -> Option<Instant> {
        let limit = nonzero(self.chain.model.request_headers_timeout)?;
        if self.active.get() > 0 || !self.head.is_arriving() {
            return None;
        }
        let since = self.head_since.get().unwrap_or(now);
        self.head_since.set(Some(since));
        Some(since + limit)
    }

    /// A stream has ended.
    pub(super) fn stream_ends(&self, now: Instant) {
        self.active.set(self.active.get() - 1);
        self.last_active.set(now);
        if self.active.get() == 0 {
            self.head.expect();
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
    let connection = Rc::new(Connection {
        chain: chain.clone(),
        info,
        ending: Cell::new(false),
        active: Cell::new(0),
        requests: Cell::new(0),
        last_active: Cell::new(Instant::now()),
        head: Arc::default(),
        head_since: Cell::new(None),
    });
    let result = if http2 {
        stats.cx_http2_total.inc();
        serve_http2(&connection, io, drain).await
    } else {
        stats.cx_http1_total.inc();
        serve_http1(&connection, io, drain).await
    };
    if let Err(e) = result
        && (e.is_parse() || e.is_parse_too_large())
    {
        stats.cx_protocol_error.inc();
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
    let served = connection.clone();
    let service = service_fn(move |request| manager::serve(served.clone(), request));
    let io = HeadScan::new(io, connection.head.clone());
    let conn = builder.serve_connection(TokioIo::new(io), service).with_upgrades();
    drive(pin!(conn), connection, drain, http1::UpgradeableConnection::graceful_shutdown, false).await
}

async fn serve_http2(connection: &Rc<Connection>, io: ServerIo, drain: DrainWatch) -> hyper::Result<()> {
    let model = &connection.chain.model;
    let mut builder = http2::Builder::new(LocalExec);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(model.http2_max_concurrent_streams)
        .initial_stream_window_size(model.http2_stream_window)
        .initial_connection_window_size(model.http2_connection_window)
        .max_header_list_size(model.max_request_headers_bytes)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS);
    let served = connection.clone();
    let service = service_fn(move |request| manager::serve(served.clone(), request));
    let conn = builder.serve_connection(TokioIo::new(io), service);
    drive(pin!(conn), connection, drain, http2::Connection::graceful_shutdown, true).await
}

fn nonzero(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

/// Polls the codec, and watches over drain and time limits beside it.
async fn drive<C>(
    mut conn: Pin<&mut C>,
    connection: &Connection,
    drain: DrainWatch,
    shut_down: impl Fn(Pin<&mut C>),
    http2: bool,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut watch = Watch { connection, drain, told: false, last_phase: Phase::Serving, end: None, http2 };
    let mut timer = pin!(None::<Sleep>);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = conn.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            match watch.poll(cx, timer.as_mut()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Act::ShutDown) => shut_down(conn.as_mut()),
                Poll::Ready(Act::Drop) => return Poll::Ready(Ok(())),
            }
        }
    })
    .await
}

/// What is to be done with a connection.
enum Act {
    /// Begin its graceful end.
    ShutDown,
    /// End it now.
    Drop,
}

struct Watch<'a> {
    connection: &'a Connection,
    drain: DrainWatch,
    /// The codec was told to end.
    told: bool,
    last_phase: Phase,
    /// When it is dropped if it has not ended by itself.
    end: Option<Instant>,
    http2: bool,
}

impl Watch<'_> {
    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Option<Sleep>>) -> Poll<Act> {
        let connection = self.connection;
        let phase = self.drain.poll_phase(cx);
        if phase != self.last_phase {
            self.last_phase = phase;
            if !connection.ending.replace(true) {
                connection.chain.stats.cx_drain_close.inc();
            }
            if phase == Phase::Ended {
                return Poll::Ready(Act::Drop);
            }
        }
        // HTTP/1.1 is told by `connection: close`, and only shut down when idle connections shall end too.
        let shut = (self.http2 && connection.ending.get()) || phase >= Phase::Closing;
        if shut && !self.told {
            self.told = true;
            return Poll::Ready(Act::ShutDown);
        }
        loop {
            let now = Instant::now();
            let Some(next) = self.next_limit(now) else { return Poll::Pending };
            if next <= now {
                return Poll::Ready(self.reached(now));
            }
            let next = tokio::time::Instant::from_std(next);
            match timer.as_mut().as_pin_mut() {
                None => timer.set(Some(sleep_until(next))),
                Some(sleep) if sleep.deadline() > next || sleep.is_elapsed() => sleep.reset(next),
                Some(_) => {}
            }
            if timer.as_mut().as_pin_mut().is_some_and(|sleep| sleep.poll(cx).is_pending()) {
                return Poll::Pending;
            }
        }
    }

    fn next_limit(&self, now: Instant) -> Option<Instant> {
        if let Some(end) = self.end {
            return Some(end);
        }
        let model = &self.connection.chain.model;
        let idle = nonzero(model.idle_timeout).map(|limit| {
            // While a stream is active the connection is not idle; it is looked at again after the full time.
            let since = if self.connection.active.get() > 0 { now } else { self.connection.last_active.get() };
            since + limit
        });
        let life = model.max_connection_duration.map(|limit| self.connection.info.started + limit);
        let life = life.filter(|_| !self.connection.ending.get());
        let head = if self.http2 { None } else { self.connection.head_limit(now) };
        idle.into_iter().chain(life).chain(head).min()
    }

    fn reached(&mut self, now: Instant) -> Act {
        if self.end.is_some() {
            return Act::Drop;
        }
        let (connection, stats) = (self.connection, &self.connection.chain.stats);
        connection.ending.set(true);
        if connection.head_limit(now).is_some_and(|at| at <= now) {
            stats.cx_header_timeout.inc();
            return Act::Drop;
        }
        if connection.active.get() > 0 {
            stats.cx_max_duration_reached.inc();
            self.told |= self.http2;
            return Act::ShutDown;
        }
        stats.cx_idle_timeout.inc();
        if !self.http2 || self.told {
            return Act::Drop;
        }
        self.told = true;
        self.end = Some(now + GOAWAY_PATIENCE);
        Act::ShutDown
    }
}
