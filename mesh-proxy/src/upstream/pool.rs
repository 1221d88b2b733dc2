use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    connection::{H1, start_h1},
    http2::{self, H2},
    sender::{HttpSender, Lease},
};
use crate::{
    cluster::{BreakerKind, BreakerPermit, ClusterHandle, Host},
    dial::{Alpn, ConnectError, OnBehalf, dial},
    model::PoolOptions,
};

/// Protocol of a pool's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Http1,
    Http2,
    /// As ALPN says.
    Auto,
}

/// Connections of one worker to one host.
///
/// A request without a free connection waits; for each that waits a connection is opened, as far as the breakers allow.
/// The first that becomes free, new or used, serves the first that waits.
#[derive(Debug)]
pub(super) struct HostPool {
    pub(super) cluster: Arc<ClusterHandle>,
    pub(super) host: Arc<Host>,
    protocol: Protocol,
    /// The client whose requests alone it carries.
    behalf: Option<Arc<OnBehalf>>,
    state: RefCell<State>,
    closed: Cell<bool>,
}

#[derive(Debug, Default)]
struct State {
    /// Free HTTP/1.1 connections; the one used last is used first.
    idle: Vec<(H1, Instant)>,
    h2: Vec<Rc<H2>>,
    waiting: VecDeque<Waiter>,
    connecting: usize,
    /// Connections whose driver runs.
    open: usize,
    /// ALPN chose HTTP/1.1 last time: a connection will carry one request at a time.
    http1: bool,
}

#[derive(Debug)]
struct Waiter {
    high: bool,
    reply: oneshot::Sender<Result<HttpSender, ConnectError>>,
    _pending: BreakerPermit,
}

/// Counts a request while it waits.
struct Waiting<'a> {
    cluster: &'a ClusterHandle,
    done: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.cluster.stats().upstream_rq_pending_active.dec();
        if !self.done {
            self.cluster.stats().upstream_rq_cancelled.inc();
        }
    }
}

impl HostPool {
    pub(super) fn new(
        cluster: Arc<ClusterHandle>,
        host: Arc<Host>,
        protocol: Protocol,
        behalf: Option<Arc<OnBehalf>>,
    ) -> Rc<Self> {
        Rc::new(Self { cluster, host, protocol, behalf, state: RefCell::default(), closed: Cell::new(false) })
    }

    fn options(&self) -> &PoolOptions {
        &self.cluster.config().pool
    }

    /// A free connection, if there is one.
    pub(super) fn checkout(self: &Rc<Self>) -> Option<HttpSender> {
        let lease = {
            let mut state = self.state.borrow_mut();
            let options = self.options();
            if let Some(h2) = state.h2.iter().find(|connection| connection.has_room(options)) {
                Some(Lease::H2(h2.clone()))
            } else {
                // Connections that were closed in the meantime are dropped on the way.
                std::iter::from_fn(|| state.idle.pop())
                    .map(|(connection, _)| connection)
                    .find(|connection| connection.is_usable(options, None))
                    .map(Lease::H1)
            }
        };
        lease.map(|lease| HttpSender::new(lease, self))
    }

    /// Waits for a connection; opens one if that is allowed. Cancel safe.
    pub(super) async fn wait(self: &Rc<Self>, high: bool) -> Result<HttpSender, ConnectError> {
        let stats = self.cluster.stats();
        let pending = match self.cluster.breakers().try_take(high, BreakerKind::Pending) {
            Ok(pending) => pending,
            Err(overflow) => {
                stats.upstream_rq_pending_overflow.inc();
                return Err(overflow.into());
            }
        };
        stats.upstream_rq_pending_total.inc();
        stats.upstream_rq_pending_active.inc();
        let mut waiting = Waiting { cluster: &self.cluster, done: false };
        let (reply, answer) = oneshot::channel();
        self.state.borrow_mut().waiting.push_back(Waiter { high, reply, _pending: pending });
        self.pump();
        let answer = answer.await;
        waiting.done = true;
        answer.unwrap_or(Err(ConnectError::PoolClosed))
    }

    /// A connection is free again.
    pub(super) fn release(self: &Rc<Self>, connection: H1) {
        let options = self.options();
        if self.closed.get() || !connection.is_usable(options, None) {
            if connection.is_used_up(options) {
                self.cluster.stats().upstream_cx_max_requests.inc();
            }
            return;
        }
        self.state.borrow_mut().idle.push((connection, Instant::now()));
        self.pump();
    }

    /// A stream of an HTTP/2 connection is over.
    pub(super) fn stream_ended(self: &Rc<Self>) {
        if !self.state.borrow().waiting.is_empty() {
            self.pump();
        }
    }

    /// A connection takes no requests any more.
    pub(super) fn connection_ended(self: &Rc<Self>) {
        {
            let mut state = self.state.borrow_mut();
            state.open = state.open.saturating_sub(1);
            let options = self.options();
            let mut gone: Vec<H1> = Vec::new();
            for at in (0..state.idle.len()).rev() {
                if state.idle[at].0.tx.is_closed() {
                    gone.push(state.idle.remove(at).0);
                }
            }
            state.h2.retain(|connection| connection.is_usable(options));
            drop(state);
        }
        self.pump();
    }

    /// Serves those who wait with what is free, then opens connections for the rest.
    fn pump(self: &Rc<Self>) {
        loop {
            if self.state.borrow().waiting.is_empty() {
                return;
            }
            let Some(sender) = self.checkout() else { break };
            self.answer(Ok(sender));
        }
        while let Some(high) = self.wants_connection() {
            self.open(high);
        }
    }

    /// Whether a connection is to be opened, and for whom.
    fn wants_connection(&self) -> Option<bool> {
        let mut state = self.state.borrow_mut();
        state.waiting.retain(|waiter| !waiter.reply.is_closed());
        let each = match self.protocol {
            Protocol::Http1 => 1,
            Protocol::Auto if state.http1 => 1,
            // Until the peer tells otherwise, a connection under way will carry what is allowed.
            Protocol::Http2 | Protocol::Auto => self.options().http2_max_concurrent_streams.max(1) as usize,
        };
        let waiter = state.waiting.get(state.connecting.saturating_mul(each))?;
        // One connection is always allowed, so that nobody waits for ever because others have taken them all.
        if self.cluster.breakers().can_take(waiter.high, BreakerKind::Connections)
            || (state.open == 0 && state.connecting == 0)
        {
            return Some(waiter.high);
        }
        drop(state);
        self.cluster.stats().upstream_cx_overflow.inc();
        None
    }

    fn open(self: &Rc<Self>, high: bool) {
        self.state.borrow_mut().connecting += 1;
        let permit = self.cluster.breakers().take(high, BreakerKind::Connections);
        let pool = self.clone();
        tokio::task::spawn_local(async move {
            let opened = pool.establish(permit).await;
            pool.opened(opened);
        });
    }

    async fn establish(self: &Rc<Self>, permit: BreakerPermit) -> Result<Lease, ConnectError> {
        let alpn = match self.protocol {
            Protocol::Http1 => Alpn::Http1,
            Protocol::Http2 => Alpn::Http2,
            Protocol::Auto => Alpn::Auto,
        };
        let (stream, info) = dial(&self.cluster, &self.host, alpn, permit, self.behalf.as_deref()).await?;
        let http2 = match self.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => info.tls.as_ref().and_then(|tls| tls.alpn.as_deref()) == Some(b"h2"),
        };
        let (info, weak) = (Arc::new(info), Rc::downgrade(self));
        if http2 {
            self.cluster.stats().upstream_cx_http2_total.inc();
            http2::start(stream, info, self.options(), weak).await.map(Lease::H2)
        } else {
            self.cluster.stats().upstream_cx_http1_total.inc();
            start_h1(stream, info, self.options(), weak).await.map(Lease::H1)
        }
    }

    /// A connection attempt has ended.
    fn opened(self: &Rc<Self>, opened: Result<Lease, ConnectError>) {
        self.state.borrow_mut().connecting -= 1;
        match opened {
            Ok(lease) => {
                let mut state = self.state.borrow_mut();
                state.open += 1;
                state.http1 = matches!(lease, Lease::H1(_));
                match lease {
                    Lease::H1(connection) => state.idle.push((connection, Instant::now())),
                    Lease::H2(connection) => state.h2.push(connection),
                }
            }
            Err(error) => {
                self.cluster.stats().upstream_rq_pending_failure_eject.inc();
                // One attempt is one answer, but those who would share the connection share its failure.
                let shared = self.protocol != Protocol::Http1 && self.state.borrow().connecting == 0;
                while self.answer(Err(error.clone())) && shared {}
            }
        }
        self.pump();
        if self.closed.get() {
            self.close_idle();
        }
    }

    /// Gives the first that still waits its answer. False if nobody waits.
    fn answer(&self, mut answer: Result<HttpSender, ConnectError>) -> bool {
        loop {
            let Some(waiter) = self.state.borrow_mut().waiting.pop_front() else { return false };
            match waiter.reply.send(answer) {
                Ok(()) => return true,
                // It gave up; the next one gets it.
                Err(back) => answer = back,
            }
        }
    }

    /// No new requests: free connections are closed now, others when their last request is over.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.close_idle();
    }

    /// Closes free connections.
    pub(super) fn close_idle(&self) {
        let mut state = self.state.borrow_mut();
        let idle = std::mem::take(&mut state.idle);
        let h2 = std::mem::take(&mut state.h2);
        drop(state);
        // Dropped outside the borrow: dropping a connection may call back.
        drop((idle, h2));
    }

    /// Closes what was free for too long or is too old. True if the pool holds nothing.
    pub(super) fn sweep(&self, now: Instant) -> bool {
        let options = self.options();
        let timeout = options.idle_timeout;
        let expired = |idle: Duration| !timeout.is_zero() && idle >= timeout;
        let stats = self.cluster.stats();
        let (mut dropped_h1, mut dropped_h2) = (Vec::new(), Vec::new());
        let mut state = self.state.borrow_mut();
        for at in (0..state.idle.len()).rev() {
            let (connection, since) = &state.idle[at];
            let too_long = expired(now.saturating_duration_since(*since));
            if too_long || !connection.is_usable(options, Some(now)) {
                let reason =
                    if too_long { &stats.upstream_cx_idle_timeout } else { &stats.upstream_cx_max_duration_reached };
                reason.inc();
                dropped_h1.push(state.idle.remove(at));
            }
        }
        for at in (0..state.h2.len()).rev() {
            let too_long = state.h2[at].idle(now).is_some_and(expired);
            if too_long || !state.h2[at].is_usable(options) {
                if too_long {
                    stats.upstream_cx_idle_timeout.inc();
                }
                dropped_h2.push(state.h2.remove(at));
            }
        }
        let empty = state.idle.is_empty()
            && state.h2.is_empty()
            && state.waiting.is_empty()
            && state.connecting == 0
            && state.open == 0;
        drop(state);
        drop((dropped_h1, dropped_h2));
        empty
    }
}
