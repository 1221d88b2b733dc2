use std::{
    cell::{Cell, RefCell},
    fmt,
    future::{Future, poll_fn},
    rc::{Rc, Weak},
    sync::Arc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::pool::HostPool;
use crate::{
    body::Body,
    dial::{ConnectError, UpstreamConnInfo, UpstreamStream},
    model::{HeaderCase, PoolOptions},
};

/// Spreads the numbers of connections over all values (the golden ratio), so that each has a jitter of its own.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Runs hyper's tasks on the worker's own `LocalSet`.
#[derive(Clone, Copy, Debug)]
struct LocalExec;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExec {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// An HTTP/1.1 connection that is free, or reserved for one request.
pub(super) struct H1 {
    pub(super) tx: http1::SendRequest<Body>,
    pub(super) shared: Rc<H1Shared>,
}

/// What the users of an HTTP/1.1 connection and its driver share.
#[derive(Debug)]
pub(super) struct H1Shared {
    pub(super) info: Arc<UpstreamConnInfo>,
    created: Instant,
    requests: Cell<u32>,
    /// Handed back by a request whose response has begun; it is free when hyper says so.
    returning: RefCell<Option<http1::SendRequest<Body>>>,
    driver: RefCell<Option<Waker>>,
}

impl fmt::Debug for H1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H1").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl H1 {
    /// Hands the connection to its driver, which puts it into the pool once the response has been read.
    pub(super) fn give_back(self) {
        *self.shared.returning.borrow_mut() = Some(self.tx);
        if let Some(driver) = &*self.shared.driver.borrow() {
            driver.wake_by_ref();
        }
    }

    /// It can carry one more request.
    pub(super) fn is_usable(&self, pool: &PoolOptions, now: Option<Instant>) -> bool {
        !self.tx.is_closed()
            && pool.max_requests_per_connection.is_none_or(|max| self.shared.requests.get() < max)
            && !is_too_old(self.shared.created, pool, now)
    }

    /// It carried all the requests that it may.
    pub(super) fn is_used_up(&self, pool: &PoolOptions) -> bool {
        pool.max_requests_per_connection.is_some_and(|max| self.shared.requests.get() >= max)
    }
}

fn is_too_old(created: Instant, pool: &PoolOptions, now: Option<Instant>) -> bool {
    let age = |now: Option<Instant>| now.unwrap_or_else(Instant::now).saturating_duration_since(created);
    pool.max_connection_duration.is_some_and(|max| age(now) >= max)
}

impl H1Shared {
    /// One more request; returns how many there were.
    pub(super) fn count_request(&self) -> u32 {
        let count = self.requests.get().saturating_add(1);
        self.requests.set(count);
        count
    }
}

/// Starts HTTP/1.1 on a stream. The driver task that is spawned owns the socket; it tells `pool` when it ends.
pub(super) async fn start_h1(
    stream: UpstreamStream,
    info: Arc<UpstreamConnInfo>,
    options: &PoolOptions,
    pool: Weak<HostPool>,
) -> Result<H1, ConnectError> {
    let mut builder = http1::Builder::new();
    builder.max_headers(options.max_headers_count as usize);
    if let Some(bytes) = options.max_response_headers_bytes {
        builder.max_header_size(bytes as usize);
    }
    match options.http1_header_case {
        HeaderCase::Lower => {}
        HeaderCase::ProperWords => drop(builder.title_case_headers(true)),
        HeaderCase::Preserve => drop(builder.preserve_header_case(true)),
    }
    let (tx, connection) = builder
        .handshake::<_, Body>(TokioIo::new(stream))
        .await
        .map_err(|error| ConnectError::Http(Arc::new(error)))?;
    let shared = Rc::new(H1Shared {
        info,
        created: Instant::now(),
        requests: Cell::new(0),
        returning: RefCell::default(),
        driver: RefCell::default(),
    });
    let for_driver = shared.clone();
    tokio::task::spawn_local(async move {
        let mut connection = std::pin::pin!(connection.with_upgrades());
        poll_fn(|cx| {
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut driver = for_driver.driver.borrow_mut();
            if !driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *driver = Some(cx.waker().clone());
            }
            drop(driver);
            let mut returning = for_driver.returning.borrow_mut();
            let polled = returning.as_mut().map(|tx| tx.poll_ready(cx));
            if let Some(Poll::Ready(ready)) = polled
                && let Some(tx) = returning.take()
            {
                drop(returning);
                if ready.is_ok()
                    && let Some(pool) = pool.upgrade()
                {
                    pool.release(H1 { tx, shared: for_driver.clone() });
                }
            }
            Poll::Pending
        })
        .await;
        // Nobody can hand it back any more.
        for_driver.driver.take();
        for_driver.returning.take();
        if let Some(pool) = pool.upgrade() {
            pool.connection_ended();
        }
    });
    Ok(H1 { tx, shared })
}

/// An HTTP/2 connection.
pub(super) struct H2 {
    pub(super) tx: http2::SendRequest<Body>,
    pub(super) info: Arc<UpstreamConnInfo>,
    created: Instant,
    active: Cell<u32>,
    requests: Cell<u32>,
    /// Streams that the peer allows.
    peer_max: Rc<Cell<usize>>,
    stopped: Cell<bool>,
    idle_since: Cell<Instant>,
}

impl fmt::Debug for H2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H2").field("info", &self.info).field("active", &self.active).finish_non_exhaustive()
    }
}

impl H2 {
    /// It can carry one more stream now.
    pub(super) fn has_room(&self, options: &PoolOptions) -> bool {
        self.is_usable(options)
            && self.active.get() < options.http2_max_concurrent_streams
            && (self.active.get() as usize) < self.peer_max.get()
    }

    /// It can carry one more stream, now or when another has ended.
    pub(super) fn is_usable(&self, options: &PoolOptions) -> bool {
        !self.stopped.get()
            && !self.tx.is_closed()
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

    /// No new stream on it.
    pub(super) fn stop_using(&self) {
        self.stopped.set(true);
    }

    /// How long nothing was on it.
    pub(super) fn idle(&self, now: Instant) -> Option<Duration> {
        (self.active.get() == 0).then(|| now.saturating_duration_since(self.idle_since.get()))
    }
}

/// Starts HTTP/2 on a stream. The socket belongs to hyper's task; `pool` is told when no stream can be added any more.
pub(super) async fn start_h2(
    stream: UpstreamStream,
    info: Arc<UpstreamConnInfo>,
    options: &PoolOptions,
    pool: Weak<HostPool>,
) -> Result<Rc<H2>, ConnectError> {
    let mut builder = http2::Builder::new(LocalExec);
    if let Some(keepalive) = &options.http2_keepalive {
        let interval = keepalive.jittered(info.id.wrapping_mul(SPREAD));
        builder.timer(TokioTimer::new()).keep_alive_interval(interval).keep_alive_timeout(keepalive.timeout);
        builder.keep_alive_while_idle(true);
    }
    let (tx, connection) = builder
        .initial_stream_window_size(options.http2_stream_window)
        .initial_connection_window_size(options.http2_connection_window)
        .initial_max_send_streams(options.http2_max_concurrent_streams as usize)
        .max_header_list_size(options.max_response_headers_bytes.unwrap_or(60 << 10))
        .handshake::<_, Body>(TokioIo::new(stream))
        .await
        .map_err(|error| ConnectError::Http(Arc::new(error)))?;
    let peer_max = Rc::new(Cell::new(options.http2_max_concurrent_streams as usize));
    let seen = peer_max.clone();
    tokio::task::spawn_local(async move {
        let mut connection = std::pin::pin!(connection);
        poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            seen.set(connection.current_max_send_streams());
            polled.map(drop)
        })
        .await;
        if let Some(pool) = pool.upgrade() {
            pool.connection_ended();
        }
    });
    let now = Instant::now();
    Ok(Rc::new(H2 {
        tx,
        info,
        created: now,
        active: Cell::new(0),
        requests: Cell::new(0),
        peer_max,
        stopped: Cell::new(false),
        idle_since: Cell::new(now),
    }))
}
