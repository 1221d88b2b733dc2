//! The byte stream of a downstream connection.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::rt::{BareSocket, ReadAhead, Scratch, Socket, one_of, write_through};

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

write_through!(Rewound);

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

one_of!(ServerIo { Plain, Tls });
