//! Telling the connections of one owner (a filter chain, a listener) that they should end.
//!
//! ```text
//!   Serving ──▸ Draining ──▸ Closing ──▸ Ended
//! ```
//!
//! - *Draining*: work under way goes on; HTTP/1 answers carry `connection: close`, HTTP/2 sends GOAWAY. An idle HTTP/1
//!   connection stays open, so that no request crosses its closing.
//! - *Closing*: idle connections end at once.
//! - *Ended*: all connections end at once, whatever they do.
//!
//! Lives on one worker: cells instead of locks. A watcher costs one comparison each time its task is polled.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Waker},
};

/// How far the end of an owner has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Nothing ends.
    #[default]
    Serving,
    /// Connections end when that hurts nobody.
    Draining,
    /// Idle connections end now.
    Closing,
    /// All connections end now.
    Ended,
}

/// The owner's side.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    phase: Cell<Phase>,
    slots: RefCell<Slots>,
    watchers: Cell<usize>,
}

#[derive(Debug, Default)]
struct Slots {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Drain {
    /// In phase `Serving`.
    pub(crate) fn new() -> Rc<Self> {
        Rc::default()
    }

    /// Where it is.
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Watchers alive: connections that have not ended.
    pub(crate) fn watchers(&self) -> usize {
        self.watchers.get()
    }

    /// Goes on to `phase` and wakes all watchers; never goes back.
    pub(crate) fn advance(&self, phase: Phase) {
        if phase <= self.phase.get() {
            return;
        }
        self.phase.set(phase);
        let wakers: Vec<Waker> = self.slots.borrow_mut().wakers.iter_mut().filter_map(Option::take).collect();
        for waker in wakers {
            waker.wake();
        }
    }

    /// A watcher of this owner.
    pub(crate) fn watch(self: &Rc<Self>) -> DrainWatch {
        self.watchers.set(self.watchers.get() + 1);
        DrainWatch { drain: self.clone(), slot: None }
    }
}

/// A connection's side.
#[derive(Debug)]
pub(crate) struct DrainWatch {
    drain: Rc<Drain>,
    slot: Option<usize>,
}

impl DrainWatch {
    /// The phase now; the task is woken when it changes. To be called by one task only.
    pub(crate) fn poll_phase(&mut self, cx: &Context<'_>) -> Phase {
        let phase = self.drain.phase();
        if phase != Phase::Ended {
            self.register(cx);
        }
        phase
    }

    /// Waits until the owner is at `phase` or beyond.
    pub(crate) async fn reached(&mut self, phase: Phase) {
        std::future::poll_fn(|cx| {
            if self.poll_phase(cx) >= phase { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }

    fn register(&mut self, cx: &Context<'_>) {
        let mut slots = self.drain.slots.borrow_mut();
        let slot = match self.slot {
            Some(slot) => slot,
            None => {
                let slot = slots.free.pop().unwrap_or_else(|| {
                    slots.wakers.push(None);
                    slots.wakers.len() - 1
                });
                self.slot = Some(slot);
                slot
            }
        };
        let waker = &mut slots.wakers[slot];
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

impl Drop for DrainWatch {
    fn drop(&mut self) {
        self.drain.watchers.set(self.drain.watchers.get() - 1);
        if let Some(slot) = self.slot {
            let mut slots = self.drain.slots.borrow_mut();
            slots.wakers[slot] = None;
            slots.free.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Drain, Phase};

    #[tokio::test]
    async fn watchers_are_woken_once_per_phase_and_slots_are_reused() {
        let drain = Drain::new();
        let mut first = drain.watch();
        let mut second = drain.watch();
        assert_eq!(drain.watchers(), 2);
        let (a, b, ()) = tokio::join!(
            async {
                first.reached(Phase::Draining).await;
                first.drain.phase()
            },
            async {
                second.reached(Phase::Closing).await;
                second.drain.phase()
            },
            async {
                drain.advance(Phase::Draining);
                tokio::task::yield_now().await;
                drain.advance(Phase::Closing);
                drain.advance(Phase::Draining);
            }
        );
        assert!(a >= Phase::Draining);
        assert_eq!(b, Phase::Closing);
        drop(first);
        drop(second);
        assert_eq!(drain.watchers(), 0);
        assert_eq!(drain.slots.borrow().wakers.len(), 2);
        assert_eq!(drain.slots.borrow().free.len(), 2);
    }
}
