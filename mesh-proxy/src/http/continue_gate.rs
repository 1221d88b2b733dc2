//! `expect: 100-continue` that the host answers (`proxy_100_continue`): the body waits for the host's word, and so does the
//! client, since the codec asks it to go on when the body is first wanted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use http::{Request, StatusCode};
use hyper::ext::on_informational;

/// Closed until the host wants the body. Clones share it. Atomic, because the codec wants its callback to be `Send`.
#[derive(Clone, Debug, Default)]
pub(super) struct ContinueGate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: AtomicBool,
    waiting: AtomicWaker,
}

impl ContinueGate {
    /// A gate that opens when the host answers `request` with 100.
    pub(super) fn before<B>(request: &mut Request<B>) -> Self {
        let gate = Self::default();
        let opened = gate.clone();
        on_informational(request, move |response| {
            if response.status() == StatusCode::CONTINUE {
                opened.open();
            }
        });
        gate
    }

    /// The body may go on.
    pub(super) fn open(&self) {
        self.0.open.store(true, SeqCst);
        self.0.waiting.wake();
    }

    /// Waits until it is open. For one task.
    pub(super) fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.0.open.load(SeqCst) {
            self.0.waiting.register(cx.waker());
        }
        if self.0.open.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }
}
