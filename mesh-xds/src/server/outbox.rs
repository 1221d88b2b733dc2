//! The way out of one stream: a place for the next push, and those that have not left yet.
//!
//! A push is handed over, is written into frames of the response's body, and lies in the connection until the socket has
//! taken all of it. Then, and not before, its last frame is dropped: that is when the push has left.
//!
//! The two ends are tasks of their own: while the client reads nothing its response is not asked for more, and the stream
//! still reads what the client says.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tonic::Status;

use super::budget::Hold;
use crate::protocol::Push;

/// A push, or why there is none any more.
type Item = Result<Push, Status>;

/// The stream's end.
pub(super) struct Outbox(Arc<Way>);

/// The response's end.
pub(super) struct Outlet(Arc<Way>);

/// Both ends.
pub(super) fn outbox() -> (Outbox, Outlet) {
    let way = Arc::new(Way::default());
    (Outbox(way.clone()), Outlet(way))
}

#[derive(Default)]
struct Way(Mutex<State>);

#[derive(Default)]
struct State {
    next: Option<Item>,
    /// In the order in which they were handed over. Mostly empty, and then without room: there are as many as streams.
    departures: Vec<Departure>,
    handed_over: u64,
    /// Those before were written into frames.
    framed: u64,
    /// Nothing more is handed over.
    closed: bool,
    /// The response is gone: nothing more leaves.
    ended: bool,
    stream: Option<Waker>,
    response: Option<Waker>,
}

/// A push on its way.
struct Departure {
    number: u64,
    by: Instant,
    _hold: Option<Hold>,
}

impl State {
    /// Takes out those that are not `kept`. What they hold is to be given back outside the lock.
    fn take_out(&mut self, kept: impl Fn(&Departure) -> bool) -> Vec<Departure> {
        let (kept, out) = std::mem::take(&mut self.departures).into_iter().partition(|d| kept(d));
        self.departures = kept;
        out
    }
}

/// Keeps `cx` to be woken.
fn wait(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
}

/// Wakes one end, outside the lock.
fn wake(mut state: MutexGuard<'_, State>, end: impl FnOnce(&mut State) -> &mut Option<Waker>) {
    let waker = end(&mut state).take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Outbox {
    /// Waits until there is room for the next push, or nothing leaves any more. Cancel safe.
    pub(super) async fn room(&self) {
        poll_fn(|cx| self.poll(cx, |state| state.next.is_none() || state.ended)).await;
    }

    /// Waits until the response is gone. Cancel safe. May be waited for along with [`Outbox::room`], by the same task.
    pub(super) async fn gone(&self) {
        poll_fn(|cx| self.poll(cx, |state| state.ended)).await;
    }

    fn poll(&self, cx: &Context<'_>, ready: impl Fn(&State) -> bool) -> Poll<()> {
        let mut state = self.0.0.lock();
        if ready(&state) {
            return Poll::Ready(());
        }
        wait(&mut state.stream, cx);
        Poll::Pending
    }

    /// Hands over the next push, for which there is room: by when it must have left, and what it holds.
    pub(super) fn push(&self, push: Push, by: Instant, hold: Option<Hold>) {
        let mut state = self.0.0.lock();
        if !state.ended {
            let number = state.handed_over;
            state.handed_over += 1;
            state.departures.push(Departure { number, by, _hold: hold });
        }
        self.hand_over(state, Ok(push));
    }

    /// Hands over why the stream ends. There must be room.
    pub(super) fn fail(&self, status: Status) {
        self.hand_over(self.0.0.lock(), Err(status));
    }

    fn hand_over(&self, mut state: MutexGuard<'_, State>, item: Item) {
        if !state.ended {
            state.next = Some(item);
        }
        wake(state, |state| &mut state.response);
    }

    /// Nothing more is handed over: the response ends behind what is there.
    pub(super) fn close(&self) {
        let mut state = self.0.0.lock();
        state.closed = true;
        wake(state, |state| &mut state.response);
    }

    /// By when the next push must have left. `None` if nothing is on its way.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.0.lock().departures.iter().map(|d| d.by).min()
    }

    /// The connection is about to end: what is on its way is waited for no longer.
    pub(super) fn abandon(&self) {
        let all = self.0.0.lock().take_out(|_| false);
        drop(all);
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.close();
    }
}

impl Outlet {
    /// The next push. `None` when there is none any more.
    pub(super) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<Item>> {
        let mut state = self.0.0.lock();
        let Some(item) = state.next.take() else {
            if state.closed {
                return Poll::Ready(None);
            }
            wait(&mut state.response, cx);
            return Poll::Pending;
        };
        wake(state, |state| &mut state.stream);
        Poll::Ready(Some(item))
    }

    /// The last frame of the oldest push that was not written into frames yet.
    pub(super) fn last_frame(&self, bytes: Bytes) -> Bytes {
        let mut state = self.0.0.lock();
        let number = state.framed;
        state.framed += 1;
        drop(state);
        Bytes::from_owner(LastFrame { bytes, number, way: self.0.clone() })
    }
}

impl Drop for Outlet {
    /// What is in frames leaves yet, what is not does not.
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.ended = true;
        let framed = state.framed;
        let rest = (state.next.take(), state.take_out(|d| d.number < framed));
        wake(state, |state| &mut state.stream);
        drop(rest);
    }
}

/// Bytes of a frame. When they are dropped, its push has left, or its connection is gone.
struct LastFrame {
    bytes: Bytes,
    number: u64,
    way: Arc<Way>,
}

impl AsRef<[u8]> for LastFrame {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for LastFrame {
    fn drop(&mut self) {
        let left = self.way.0.lock().take_out(|d| d.number != self.number);
        drop(left);
    }
}

#[cfg(test)]
mod tests;
