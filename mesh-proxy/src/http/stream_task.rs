//! Clients that do not read: how long a part of an answer may wait for them (`stream_flush_timeout`).
//!
//! The codec asks the body for more only while the client takes what was sent, so a body cannot notice by itself that it is
//! no longer asked. Each part that it hands over starts a [`FlushClock`]. For HTTP/1 the connection watches it; an HTTP/2
//! stream runs in a task of its own, which is ended, and so resets its stream.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Instant,
};

use tokio::time::{Sleep, sleep_until};

/// Until when the client must have taken what it was sent. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct FlushClock(Rc<Cell<Option<Instant>>>);

impl FlushClock {
    /// When the time is over; `None` while nothing waits for the client.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.get()
    }

    /// Something waits for the client until `at`.
    pub(super) fn start(&self, at: Instant) {
        self.0.set(Some(at));
    }

    /// Nothing waits for the client.
    pub(super) fn stop(&self) {
        self.0.set(None);
    }
}

thread_local! {
    /// The clock of the stream whose task runs now, made by its body.
    static MADE: RefCell<Option<FlushClock>> = const { RefCell::new(None) };
}

/// A clock that the task running now watches.
pub(super) fn watched_clock() -> FlushClock {
    let clock = FlushClock::default();
    MADE.with_borrow_mut(|made| *made = Some(clock.clone()));
    clock
}

/// Runs the streams of an HTTP/2 connection as tasks of the worker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StreamExec;

impl<F: Future + 'static> hyper::rt::Executor<F> for StreamExec {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(until_stalled(future));
    }
}

/// Runs `future` until it is done, or until its client has taken nothing for too long.
async fn until_stalled<F: Future>(future: F) {
    let mut future = pin!(future);
    let mut timer = pin!(None::<Sleep>);
    let mut clock = None;
    poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        if let Some(made) = MADE.with_borrow_mut(Option::take) {
            clock = Some(made);
        }
        if polled.is_ready() {
            return Poll::Ready(());
        }
        while let Some(at) = clock.as_ref().and_then(FlushClock::deadline) {
            if at <= Instant::now() {
                return Poll::Ready(());
            }
            let at = tokio::time::Instant::from_std(at);
            match timer.as_mut().as_pin_mut() {
                None => timer.set(Some(sleep_until(at))),
                Some(sleep) if sleep.deadline() > at || sleep.is_elapsed() => sleep.reset(at),
                Some(_) => {}
            }
            if timer.as_mut().as_pin_mut().is_some_and(|sleep| sleep.poll(cx).is_pending()) {
                break;
            }
        }
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        time::{Duration, Instant},
    };

    use super::{until_stalled, watched_clock};

    #[tokio::test]
    async fn a_task_ends_when_its_clock_has_run_out() {
        until_stalled(ready(())).await;
        let limit = Duration::from_millis(20);
        let stalls = async {
            watched_clock().start(Instant::now() + limit);
            pending::<()>().await;
        };
        tokio::time::timeout(Duration::from_secs(60), until_stalled(stalls)).await.unwrap();
    }

    #[tokio::test]
    async fn a_stopped_clock_ends_nothing() {
        let waits = async {
            let clock = watched_clock();
            clock.start(Instant::now());
            clock.stop();
            pending::<()>().await;
        };
        assert!(tokio::time::timeout(Duration::from_millis(20), until_stalled(waits)).await.is_err());
    }
}
