//! The request body on its way upstream: counted, and kept for a retry as far as the buffer limit allows.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Instant,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::continue_gate::ContinueGate;
use crate::body::BodyError;

/// A request body that several attempts may read, one after another.
#[derive(Debug)]
pub(crate) struct Upload {
    incoming: RefCell<Incoming>,
    replay: RefCell<Option<Replay>>,
    attempt: Cell<u32>,
    bytes: Cell<u64>,
    active: Cell<Instant>,
    ended: Cell<Option<Instant>>,
    failed: Cell<bool>,
    drops_trailers: Cell<bool>,
    gate: RefCell<Option<ContinueGate>>,
    watcher: RefCell<Option<Waker>>,
    copies: RefCell<Vec<oneshot::Sender<VecDeque<Bytes>>>>,
}

#[derive(Debug, Default)]
struct Replay {
    chunks: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    size: usize,
    limit: usize,
}

impl Upload {
    /// Without its trailers, if `drops_trailers`. A body of which up to `replay_limit` bytes are kept for retries; `None`: nothing is kept.
    pub(super) fn new(incoming: Incoming, replay_limit: Option<usize>, drops_trailers: bool, now: Instant) -> Rc<Self> {
        Rc::new(Self {
            incoming: RefCell::new(incoming),
            replay: RefCell::new(replay_limit.map(|limit| Replay { limit, ..Replay::default() })),
            attempt: Cell::new(0),
            bytes: Cell::new(0),
            active: Cell::new(now),
            ended: Cell::new(None),
            failed: Cell::new(false),
            drops_trailers: Cell::new(drops_trailers),
            gate: RefCell::default(),
            watcher: RefCell::new(None),
            copies: RefCell::default(),
        })
    }

    /// The body for the next attempt. Bodies of earlier attempts fail from now on.
    pub(super) fn next_attempt(self: &Rc<Self>) -> UploadBody {
        self.attempt.set(self.attempt.get() + 1);
        UploadBody { upload: self.clone(), attempt: self.attempt.get(), replayed: 0, trailers_sent: false }
    }

    /// Its trailers do not go on.
    pub(super) fn drop_trailers(&self) {
        self.drops_trailers.set(true);
    }

    /// Nothing is read before `gate` is open.
    pub(super) fn wait_for(&self, gate: ContinueGate) {
        *self.gate.borrow_mut() = Some(gate);
    }

    /// What it waits for, if it does.
    pub(super) fn gate(&self) -> Option<ContinueGate> {
        self.gate.borrow().clone()
    }

    /// Another attempt can send all of it.
    pub(super) fn is_replayable(&self) -> bool {
        self.replay.borrow().is_some()
    }

    /// Bytes received.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// When something last moved.
    pub(super) fn active(&self) -> Instant {
        self.active.get()
    }

    /// When its last byte arrived.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.ended.get()
    }

    /// The client ended it before its end.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// Wakes `waker` when the body has ended.
    pub(super) fn wake_at_end(&self, waker: &Waker) {
        let mut watcher = self.watcher.borrow_mut();
        if !watcher.as_ref().is_some_and(|w| w.will_wake(waker)) {
            *watcher = Some(waker.clone());
        }
    }

    /// The whole body once it has arrived; an error if it ends early or is longer than what is kept.
    pub(super) fn copy(&self) -> oneshot::Receiver<VecDeque<Bytes>> {
        let (sender, receiver) = oneshot::channel();
        self.copies.borrow_mut().push(sender);
        receiver
    }

    fn record(&self, frame: &Frame<Bytes>) {
        let mut replay = self.replay.borrow_mut();
        if let Some(data) = frame.data_ref() {
            self.bytes.set(self.bytes.get() + data.len() as u64);
            let Some(kept) = replay.as_mut() else { return };
            kept.size += data.len();
            if kept.size > kept.limit {
                *replay = None;
            } else {
                kept.chunks.push(data.clone());
            }
        } else if let (Some(trailers), Some(kept)) = (frame.trailers_ref(), replay.as_mut()) {
            kept.trailers = Some(trailers.clone());
        }
    }

    fn end(&self, now: Instant) {
        if self.ended.get().is_none() {
            self.ended.set(Some(now));
            let copies = std::mem::take(&mut *self.copies.borrow_mut());
            if let Some(replay) = self.replay.borrow().as_ref().filter(|_| !self.failed.get()) {
                for copy in copies {
                    // Nobody waits any more: the copy was given up.
                    let _ = copy.send(replay.chunks.iter().cloned().collect());
                }
            }
            if let Some(waker) = self.watcher.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

/// The body of one attempt.
#[derive(Debug)]
pub(crate) struct UploadBody {
    upload: Rc<Upload>,
    attempt: u32,
    replayed: usize,
    trailers_sent: bool,
}

impl UploadBody {
    /// A frame that an earlier attempt has read.
    fn replay(&mut self) -> Option<Frame<Bytes>> {
        if self.attempt == 1 {
            return None;
        }
        let replay = self.upload.replay.borrow();
        let replay = replay.as_ref()?;
        if let Some(chunk) = replay.chunks.get(self.replayed) {
            self.replayed += 1;
            return Some(Frame::data(chunk.clone()));
        }
        if self.trailers_sent {
            return None;
        }
        self.trailers_sent = true;
        replay.trailers.clone().map(Frame::trailers)
    }

    fn replay_is_done(&self) -> bool {
        self.attempt == 1
            || self
                .upload
                .replay
                .borrow()
                .as_ref()
                .is_none_or(|r| self.replayed == r.chunks.len() && (self.trailers_sent || r.trailers.is_none()))
    }
}

impl http_body::Body for UploadBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.attempt != this.upload.attempt.get() {
            return Poll::Ready(Some(Err("a later attempt reads the body".into())));
        }
        if let Some(frame) = this.replay() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let upload = &this.upload;
        if let Some(gate) = &*upload.gate.borrow() {
            ready!(gate.poll_open(cx));
        }
        let mut incoming = upload.incoming.borrow_mut();
        let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        let now = Instant::now();
        upload.active.set(now);
        Poll::Ready(match frame {
            Some(Ok(frame)) if frame.is_trailers() && upload.drops_trailers.get() => {
                upload.end(now);
                None
            }
            Some(Ok(frame)) => {
                upload.record(&frame);
                if this.attempt > 1 && frame.is_data() {
                    // Read live, so not to be replayed to this attempt.
                    this.replayed += 1;
                }
                if frame.is_trailers() {
                    this.trailers_sent = true;
                }
                if incoming.is_end_stream() {
                    upload.end(now);
                }
                Some(Ok(frame))
            }
            Some(Err(e)) => {
                upload.failed.set(true);
                upload.end(now);
                Some(Err(e.into()))
            }
            None => {
                upload.end(now);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.replay_is_done() && self.upload.incoming.borrow().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.attempt == 1 { self.upload.incoming.borrow().size_hint() } else { SizeHint::default() }
    }
}
