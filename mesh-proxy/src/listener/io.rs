//! The byte stream of a downstream connection.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;

use crate::rt::{BareSocket, ReadAhead, Scratch};

/// An accepted socket.
#[derive(Debug)]
pub(crate) enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// Unix domain.
    Unix(UnixStream),
}

impl Socket {
    /// Sends without delay (`TCP_NODELAY`), as Envoy does. No error: it is only slower without.
    pub(crate) fn set_nodelay(&self) {
        if let Socket::Tcp(socket) = self {
            let _ = socket.set_nodelay(true);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Socket::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            Socket::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Socket::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

/// A stream whose first bytes may have been read already, to find out what it is; they are given again.
#[derive(Debug)]
pub(crate) struct Rewound<S> {
    head: Vec<u8>,
    inner: S,
}

impl<S: AsyncRead + Unpin> Rewound<S> {
    /// Nothing read yet.
    pub(crate) fn new(inner: S) -> Self {
        Self { head: Vec::new(), inner }
    }

    /// Bytes read ahead.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Forgets the first `n` bytes read ahead.
    pub(crate) fn consume(&mut self, n: usize) {
        self.head.drain(..n.min(self.head.len()));
    }

    /// Reads ahead, at most to `limit` bytes in all. `Ok(0)`: the peer closed, or the limit is reached. Cancel safe.
    pub(crate) async fn read_ahead(&mut self, limit: usize) -> io::Result<usize> {
        let room = limit.saturating_sub(self.head.len()).min(4096);
        if room == 0 {
            return Ok(0);
        }
        poll_fn(|cx| {
            // Only for the moment of reading: who waits for a slow client holds no buffer.
            let mut buffer = Scratch::take();
            let mut chunk = ReadBuf::new(&mut buffer[..room]);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut chunk))?;
            self.head.extend_from_slice(chunk.filled());
            Poll::Ready(Ok(chunk.filled().len()))
        })
        .await
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.head.is_empty() {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        let n = this.head.len().min(buf.remaining());
        buf.put_slice(&this.head[..n]);
        if n == this.head.len() {
            this.head = Vec::new();
        } else {
            this.head.drain(..n);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
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

/// A downstream connection, plaintext or TLS.
#[derive(Debug)]
pub(crate) enum ServerIo {
    /// As on the wire.
    Plain(Rewound<Socket>),
    /// TLS ended here.
    Tls(Box<Rewound<TlsStream<ReadAhead<Rewound<Socket>>>>>),
}

impl ServerIo {
    /// Bytes read ahead.
    pub(crate) fn head(&self) -> &[u8] {
        match self {
            ServerIo::Plain(io) => io.head(),
            ServerIo::Tls(io) => io.head(),
        }
    }

    /// As [`Rewound::read_ahead`].
    pub(crate) async fn read_ahead(&mut self, limit: usize) -> io::Result<usize> {
        match self {
            ServerIo::Plain(io) => io.read_ahead(limit).await,
            ServerIo::Tls(io) => io.read_ahead(limit).await,
        }
    }
}

impl BareSocket for ServerIo {
    fn socket(&self) -> Option<&TcpStream> {
        match self {
            ServerIo::Plain(Rewound { head, inner: Socket::Tcp(socket) }) if head.is_empty() => Some(socket),
            _ => None,
        }
    }
}

impl AsyncRead for ServerIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ServerIo::Plain(io) => Pin::new(io).poll_read(cx, buf),
            ServerIo::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ServerIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ServerIo::Plain(io) => Pin::new(io).poll_write(cx, buf),
            ServerIo::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ServerIo::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            ServerIo::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ServerIo::Plain(io) => Pin::new(io).poll_flush(cx),
            ServerIo::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ServerIo::Plain(io) => Pin::new(io).poll_shutdown(cx),
            ServerIo::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
