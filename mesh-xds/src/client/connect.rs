//! How a client reaches its server.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Opens connections to a server: plain, through TLS, through a Unix socket.
///
/// # Contract
/// Each call opens a new connection, ready for HTTP/2 by prior knowledge (with TLS, ALPN `h2` is the connector's
/// business). The future is dropped when the attempt takes too long. An error is logged and the attempt made again
/// later, for ever.
///
/// A closure that returns a future of an IO stream is one.
pub trait Connect: Send + Sync + 'static {
    /// Opens a connection.
    fn connect(&self) -> BoxFuture<'static, io::Result<BoxedIo>>;
}

impl<F, Fut, Io> Connect for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<Io>> + Send + 'static,
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    fn connect(&self) -> BoxFuture<'static, io::Result<BoxedIo>> {
        let opening = self();
        Box::pin(async move { opening.await.map(BoxedIo::new) })
    }
}

/// Plain TCP.
#[derive(Debug, Clone)]
pub struct TcpConnect {
    address: String,
}

impl TcpConnect {
    /// Connects to `address`, `HOST:PORT`. The name is resolved anew at each attempt.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into() }
    }
}

impl Connect for TcpConnect {
    fn connect(&self) -> BoxFuture<'static, io::Result<BoxedIo>> {
        let address = self.address.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            Ok(BoxedIo::new(stream))
        })
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open connection of any kind.
pub struct BoxedIo(Box<dyn Io>);

impl BoxedIo {
    /// Takes any byte stream.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Box::new(io))
    }
}

impl fmt::Debug for BoxedIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxedIo").finish_non_exhaustive()
    }
}

impl AsyncRead for BoxedIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for BoxedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
