use std::{
    cell::{Cell, RefCell},
    fmt,
    future::{Future, poll_fn},
    rc::{Rc, Weak},
    sync::Arc,
    task::{Poll, Waker},
    time::Instant,
};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::pool::HostPool;
use crate::{
    body::Body,
    dial::{ConnectError, UpstreamConnInfo, UpstreamStream},
    model::{HeaderCase, PoolOptions},
};

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
    /// Handed back before hyper was done with it; it is free when hyper says so.
    returning: RefCell<Option<http1::SendRequest<Body>>>,
    driver: RefCell<Option<Waker>>,
}

impl fmt::Debug for H1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H1").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl H1 {
    /// Hands the connection to its driver, which puts it into the pool once hyper is done with the last request.
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

pub(super) fn is_too_old(created: Instant, pool: &PoolOptions, now: Option<Instant>) -> bool {
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
    // The codec's own limit, for which it has room at hand.
    if options.max_headers_count != 100 {
        builder.max_headers(options.max_headers_count as usize);
    }
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
