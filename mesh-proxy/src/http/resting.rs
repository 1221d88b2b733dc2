//! HTTP/1 connections that hold no codec while nothing happens.

use std::{
    error::Error,
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::http1::{Builder, UpgradeableConnection},
    service::HttpService,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use crate::rt::Scratch;

/// A connection rests when nothing came for this long, and at the latest after twice that. Short, so that connections that
/// come one after the other use the same buffers; long enough that a busy one keeps them from request to request.
const AFTER: Duration = Duration::from_millis(20);

/// Most that is read of a request to find out that there is one.
const HEAD: usize = 8 << 10;

/// A connection, driven as its codec would be.
///
/// The codec holds two buffers of 8 KiB, and reads into one of them while it waits for the next request. When the
/// connection is quiet the codec is dropped and only its stream and its service are kept; the first byte of the next request
/// makes a new one.
pub(super) struct Resting<I, S, Q>
where
    S: HttpService<Incoming>,
{
    builder: Builder,
    state: State<I, S>,
    /// No request is under way and none has begun to arrive.
    is_quiet: Q,
    signs: Arc<Signs>,
    timer: Option<Pin<Box<Sleep>>>,
}

pub(super) type Codec<I, S> = UpgradeableConnection<TokioIo<Watched<I>>, S>;

enum State<I, S>
where
    S: HttpService<Incoming>,
{
    Working(Box<Codec<I, S>>),
    Resting(Watched<I>, S),
    /// Without a stream if that was handed over to another protocol.
    Ended(Option<Watched<I>>),
}

impl<I, S, B, Q> Resting<I, S, Q>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    Q: Fn() -> bool,
{
    /// A connection that begins. `is_quiet` tells whether it has no request, not even the beginning of one.
    pub(super) fn new(builder: Builder, io: I, service: S, is_quiet: Q) -> Self {
        let signs = Arc::new(Signs::default());
        let io = Watched { inner: io, head: Vec::new(), signs: signs.clone() };
        Self { builder, state: State::Resting(io, service), is_quiet, signs, timer: None }
    }

    /// No further request is served.
    pub(super) fn graceful_shutdown(mut self: Pin<&mut Self>)
    where
        Self: Unpin,
        Codec<I, S>: Unpin,
    {
        match std::mem::replace(&mut self.state, State::Ended(None)) {
            State::Working(mut codec) => {
                Pin::new(&mut *codec).graceful_shutdown();
                self.state = State::Working(codec);
            }
            State::Resting(io, _) => self.state = State::Ended(Some(io)),
            ended @ State::Ended(_) => self.state = ended,
        }
    }

    /// The stream, when the connection is not driven any more. `None` if it was handed over to another protocol.
    pub(super) fn into_io(self) -> Option<I> {
        let io = match self.state {
            State::Working(codec) => Some(codec.into_parts()?.io.into_inner()),
            State::Resting(io, _) => Some(io),
            State::Ended(io) => io,
        };
        io.map(|io| io.inner)
    }

    /// Lets the codec go. If there is the beginning of a request after all, another one takes it.
    fn rest(&mut self) {
        let State::Working(codec) = std::mem::replace(&mut self.state, State::Ended(None)) else { return };
        let Some(parts) = codec.into_parts() else { return };
        let mut io = parts.io.into_inner();
        io.head = parts.read_buf.to_vec();
        if io.head.is_empty() {
            self.state = State::Resting(io, parts.service);
        } else {
            self.work(io, parts.service);
        }
    }

    fn work(&mut self, io: Watched<I>, service: S) {
        self.signs.moved.store(true, Relaxed);
        let codec = self.builder.serve_connection(TokioIo::new(io), service).with_upgrades();
        self.state = State::Working(Box::new(codec));
    }

    /// Waits until the connection was quiet for long enough. The timer is only looked at when it is over: it is not set
    /// again for each request.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.signs.codec_waits() || !(self.is_quiet)() {
            return Poll::Pending;
        }
        loop {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(AFTER)));
            ready!(timer.as_mut().poll(cx));
            if !self.signs.moved.swap(false, Relaxed) {
                self.timer = None;
                return Poll::Ready(());
            }
            timer.as_mut().reset(Instant::now() + AFTER);
        }
    }
}

impl<I, S, B, Q> Future for Resting<I, S, Q>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming, ResBody = B> + Unpin,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    Q: Fn() -> bool + Unpin,
    Codec<I, S>: Future<Output = hyper::Result<()>> + Unpin,
{
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Working(codec) => {
                    let result = Pin::new(&mut **codec).poll(cx);
                    if result.is_ready() {
                        return result;
                    }
                    ready!(this.poll_quiet(cx));
                    this.rest();
                }
                State::Resting(io, _) => {
                    ready!(io.poll_head(cx));
                    if let State::Resting(io, service) = std::mem::replace(&mut this.state, State::Ended(None)) {
                        this.work(io, service);
                    }
                }
                State::Ended(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// What a stream has seen its codec do.
#[derive(Debug, Default)]
struct Signs {
    /// It asked for bytes, and there were none.
    waits: AtomicBool,
    /// It has written something that was not flushed.
    unflushed: AtomicBool,
    /// Bytes came since this was last looked at.
    moved: AtomicBool,
}

impl Signs {
    fn codec_waits(&self) -> bool {
        self.waits.load(Relaxed) && !self.unflushed.load(Relaxed)
    }
}

/// A stream whose use is seen, and which gives bytes again that were read to find out whether there are any.
pub(super) struct Watched<I> {
    inner: I,
    head: Vec<u8>,
    signs: Arc<Signs>,
}

impl<I: AsyncRead + Unpin> Watched<I> {
    /// Ready when there is something to read, be it the end or an error.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.head.is_empty() {
            let mut buffer = Scratch::take();
            let mut chunk = ReadBuf::new(&mut buffer[..HEAD]);
            if ready!(Pin::new(&mut self.inner).poll_read(cx, &mut chunk)).is_ok() {
                self.head.extend_from_slice(chunk.filled());
            }
        }
        Poll::Ready(())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.head.is_empty() {
            let n = this.head.len().min(buf.remaining());
            buf.put_slice(&this.head[..n]);
            this.head.drain(..n);
            if this.head.is_empty() {
                this.head = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        this.signs.waits.store(read.is_pending(), Relaxed);
        if read.is_ready() {
            this.signs.moved.store(true, Relaxed);
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.signs.unflushed.store(true, Relaxed);
        Pin::new(&mut this.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.signs.unflushed.store(true, Relaxed);
        Pin::new(&mut this.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        this.signs.unflushed.store(!matches!(flushed, Poll::Ready(Ok(()))), Relaxed);
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The codec is about to end by itself.
        this.signs.unflushed.store(true, Relaxed);
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
