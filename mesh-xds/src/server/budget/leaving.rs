//! Pushes of one stream that have not left yet.
//!
//! A push passes a queue, is written into frames of the response's body, and lies in the connection until the socket has
//! taken all of it. Then, and not before, its last frame is dropped: that is when the push has left.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::Hold;

/// The pushes of one stream that are on their way. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::server) struct Leaving(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By the order in which they were handed over.
    departures: BTreeMap<u64, Departure>,
    handed_over: u64,
    /// Those before were written into frames.
    framed: u64,
    /// The response is gone: nothing more leaves.
    ended: bool,
}

/// A push on its way.
struct Departure {
    by: Instant,
    _hold: Option<Hold>,
}

impl Leaving {
    /// Tells of the next push, just before it goes into the queue: by when it must have left, and what it holds.
    pub(in crate::server) fn push(&self, by: Instant, hold: Option<Hold>) {
        let mut state = self.0.lock();
        if !state.ended {
            let number = state.handed_over;
            state.handed_over += 1;
            state.departures.insert(number, Departure { by, _hold: hold });
        }
    }

    /// By when the next push must have left. `None` if nothing is on its way.
    pub(in crate::server) fn due(&self) -> Option<Instant> {
        self.0.lock().departures.values().map(|d| d.by).min()
    }

    /// The last frame of the oldest push that is in the queue.
    pub(in crate::server) fn last_frame(&self, bytes: Bytes) -> Bytes {
        let mut state = self.0.lock();
        let number = state.framed;
        state.framed += 1;
        drop(state);
        Bytes::from_owner(LastFrame { bytes, number, leaving: self.clone() })
    }

    /// The response ends: what is in frames leaves yet, what is in the queue does not.
    pub(in crate::server) fn end_response(&self) {
        let mut state = self.0.lock();
        state.ended = true;
        let framed = state.framed;
        let queued = state.departures.split_off(&framed);
        drop(state);
        // What they hold is given back outside the lock.
        drop(queued);
    }

    /// The connection ends: nothing leaves any more.
    pub(in crate::server) fn end(&self) {
        let mut state = self.0.lock();
        state.ended = true;
        let all = std::mem::take(&mut state.departures);
        drop(state);
        drop(all);
    }
}

/// Bytes of a frame. When they are dropped, its push has left, or its connection is gone.
struct LastFrame {
    bytes: Bytes,
    number: u64,
    leaving: Leaving,
}

impl AsRef<[u8]> for LastFrame {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for LastFrame {
    fn drop(&mut self) {
        let left = self.leaving.0.lock().departures.remove(&self.number);
        drop(left);
    }
}
