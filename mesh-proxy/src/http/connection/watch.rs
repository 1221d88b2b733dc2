//! Drain and time limits of a connection, looked at beside its codec.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

use super::{Connection, nonzero};
use crate::drain::{DrainWatch, Phase};

/// Longest wait for a client to end an HTTP/2 connection after it was told to.
const GOAWAY_PATIENCE: Duration = Duration::from_secs(5);

/// Polls the codec, flushes what it has written, and watches over drain and time limits beside it.
pub(super) async fn drive<C>(
    mut conn: Pin<&mut C>,
    connection: &Connection,
    drain: DrainWatch,
    shut_down: impl Fn(Pin<&mut C>),
    flush: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
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
            if let Poll::Ready(Err(_)) = flush(cx) {
                // The client is gone.
                return Poll::Ready(Ok(()));
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
        if connection.doomed.get() {
            return Poll::Ready(Act::Drop);
        }
        if self.http2 {
            connection.register(cx);
        }
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
        let life = self.connection.life.filter(|_| !self.connection.ending.get());
        let head = self.connection.head_limit(now);
        idle.into_iter().chain(life).chain(head).chain(self.connection.flush_limit()).min()
    }

    fn reached(&mut self, now: Instant) -> Act {
        if self.end.is_some() {
            return Act::Drop;
        }
        let (connection, stats) = (self.connection, &self.connection.chain.stats);
        connection.ending.set(true);
        if connection.flush_limit().is_some_and(|at| at <= now) {
            stats.rq_idle_timeout.inc();
            return Act::Drop;
        }
        if connection.head_limit(now).is_some_and(|at| at <= now) {
            stats.cx_header_timeout.inc();
            connection.head_timed_out.set(true);
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
