//! A connection with one ADS stream, and its bytes counted.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{
    SendStream,
    client::{ResponseFuture, SendRequest},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};

use super::{progress::Progress, wire::Variant};

/// What Envoy grants by default.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 24 << 20;

/// Opens a connection and a stream on it. The response comes with the first message, or before it.
pub(crate) async fn open(
    addr: SocketAddr,
    variant: Variant,
    counting: Counting,
) -> anyhow::Result<(SendStream<Bytes>, ResponseFuture)> {
    let io = TcpStream::connect(addr).await?;
    io.set_nodelay(true)?;
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .enable_push(false)
        .handshake(Counted { io, counting })
        .await?;
    tokio::task::spawn_local(connection);
    let mut sender: SendRequest<Bytes> = sender.ready().await?;
    let method = match variant {
        Variant::Delta => "DeltaAggregatedResources",
        Variant::Sotw => "StreamAggregatedResources",
    };
    let uri = format!("http://{addr}/envoy.service.discovery.v3.AggregatedDiscoveryService/{method}");
    let request = http::Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
    let (response, stream) = sender.send_request(request.body(())?, false)?;
    Ok((stream, response))
}

/// What is done with the bytes of a socket.
pub(crate) struct Counting {
    pub(crate) progress: Rc<Progress>,
    /// Until the server has said something: else the listener's backlog overflows.
    pub(crate) turn: Option<OwnedSemaphorePermit>,
}

/// A socket whose received bytes are counted.
struct Counted {
    io: TcpStream,
    counting: Counting,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.io).poll_read(cx, buf);
        if outcome.is_ready() {
            self.counting.turn = None;
        }
        self.counting.progress.received(buf.filled().len() - before);
        outcome
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
