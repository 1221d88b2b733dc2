//! The streams under the codecs, with the bytes that pass them looked at.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    http1::{Framing, Seen, Violation},
    http2::{Flood, FloodWatch, Frames},
};
use crate::{model::Http2Limits, rt::write_through};

/// What was seen of the heads of an HTTP/1 connection. One worker writes and reads it; atomics only because the codec
/// wants its stream to be `Send`.
#[derive(Debug, Default)]
pub(in crate::http) struct Heads {
    arriving: AtomicBool,
    opaque: AtomicBool,
    refused: AtomicU8,
    refused_head: AtomicU32,
}

impl Heads {
    /// A head has begun to arrive and is not complete.
    pub(in crate::http) fn is_arriving(&self) -> bool {
        self.arriving.load(Relaxed)
    }

    /// What follows the last head was not looked at, since it asked for another protocol.
    pub(in crate::http) fn is_opaque(&self) -> bool {
        self.opaque.load(Relaxed)
    }

    /// Why head number `n` of the connection, counted from 1, is refused.
    pub(in crate::http) fn refused(&self, n: u32) -> Option<Violation> {
        let violation = Violation::from_u8(self.refused.load(Relaxed))?;
        (self.refused_head.load(Relaxed) == n).then_some(violation)
    }
}

/// HTTP/1 requests on their way to the codec. After a head that is refused nothing more is read.
#[derive(Debug)]
pub(in crate::http) struct Http1Io<S> {
    inner: S,
    framing: Framing,
    heads: Arc<Heads>,
    stopped: bool,
}

impl<S> Http1Io<S> {
    pub(in crate::http) fn new(inner: S, framing: Framing, heads: Arc<Heads>) -> Self {
        Self { inner, framing, heads, stopped: false }
    }
}

impl<S> Http1Io<S> {
    /// The stream below.
    pub(in crate::http) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Http1Io<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stopped {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        if this.framing.is_opaque() {
            return Poll::Ready(Ok(()));
        }
        if let Seen::Refused(violation, end) = this.framing.feed(&buf.filled()[before..]) {
            this.heads.refused_head.store(this.framing.heads(), Relaxed);
            this.heads.refused.store(violation as u8, Relaxed);
            this.stopped = true;
            buf.set_filled(before + end);
        }
        this.heads.arriving.store(this.framing.is_in_head(), Relaxed);
        this.heads.opaque.store(this.framing.is_opaque(), Relaxed);
        Poll::Ready(Ok(()))
    }
}

write_through!(Http1Io);

/// What was seen of the frames of an HTTP/2 connection.
#[derive(Debug, Default)]
pub(in crate::http) struct FramesSeen {
    flood: Cell<Option<Flood>>,
    in_head: Cell<bool>,
    open: Cell<usize>,
    moved: Cell<Option<Instant>>,
}

impl FramesSeen {
    /// What they were a flood of, if they were. The codec keeps no more than the text of an error.
    pub(in crate::http) fn flood(&self) -> Option<Flood> {
        self.flood.get()
    }

    /// Streams whose answer is not written to its end, and when something of one was last written.
    pub(in crate::http) fn open(&self) -> (usize, Option<Instant>) {
        (self.open.get(), self.moved.get())
    }

    /// The fields of a request have begun to arrive and are not complete. Nothing else can arrive meanwhile.
    pub(in crate::http) fn is_in_head(&self) -> bool {
        self.in_head.get()
    }
}

/// Frames that are read in one turn of the connection's task; then its streams have theirs. A read may bring more at once,
/// and is paid for with so many turns: the codec holds what streams have not taken, at a cost far above that of a byte.
const TURN: usize = 128;

/// HTTP/2 frames on their way to and from the codec. A flood ends the connection: reading fails.
#[derive(Debug)]
pub(in crate::http) struct Http2Io<S> {
    inner: S,
    inbound: Frames,
    outbound: Frames,
    watch: FloodWatch,
    seen: Rc<FramesSeen>,
    /// Frames read that no turn was given for.
    burst: usize,
}

impl<S> Http2Io<S> {
    pub(in crate::http) fn new(inner: S, limits: Http2Limits, seen: Rc<FramesSeen>) -> Self {
        let watch = FloodWatch::new(limits, Instant::now());
        Self { inner, inbound: Frames::of_client(), outbound: Frames::of_server(), watch, seen, burst: 0 }
    }

    fn wrote(&mut self, bytes: &[u8], now: Instant) {
        let Self { outbound, watch, .. } = self;
        let counted = outbound.walk(bytes, |frame| {
            watch.sent(frame, now);
            Ok::<(), std::convert::Infallible>(())
        });
        let Ok(()) = counted;
        self.tell();
    }

    fn tell(&self) {
        self.seen.open.set(self.watch.open());
        self.seen.moved.set(Some(self.watch.moved()));
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Http2Io<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.burst >= TURN {
            this.burst -= TURN;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut this.inner).poll_read(cx, buf) else {
            this.burst = 0;
            return Poll::Pending;
        };
        read?;
        let now = Instant::now();
        let Self { inbound, watch, burst, .. } = this;
        let walked = inbound.walk(&buf.filled()[before..], |frame| {
            *burst += 1;
            watch.received(frame, now)
        });
        this.seen.in_head.set(inbound.is_in_field_block());
        this.tell();
        Poll::Ready(walked.map_err(|flood| {
            this.seen.flood.set(Some(flood));
            io::Error::other(flood)
        }))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Http2Io<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let n = ready!(Pin::new(&mut this.inner).poll_write(cx, buf))?;
        this.wrote(&buf[..n], Instant::now());
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let n = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, bufs))?;
        let (mut left, now) = (n, Instant::now());
        for part in bufs {
            let here = left.min(part.len());
            this.wrote(&part[..here], now);
            left -= here;
        }
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
