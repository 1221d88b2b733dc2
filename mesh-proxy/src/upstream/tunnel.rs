//! The host's side of an upgraded connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::sender::StreamGuard;
use crate::rt::BareSocket;

/// Bytes to and from a host after an upgrade: the whole of an HTTP/1.1 connection, or one stream of an HTTP/2 one.
#[derive(Debug)]
pub(crate) enum HostTunnel {
    /// `101 Switching Protocols`, or a `CONNECT` by HTTP/1.1.
    Connection(TokioIo<Upgraded>),
    /// A `CONNECT` by HTTP/2.
    Stream(StreamTunnel),
}

/// An HTTP/2 stream as bytes (RFC 9113, section 8.5).
#[derive(Debug)]
pub(crate) struct StreamTunnel {
    pub(super) send: SendStream<Bytes>,
    pub(super) receive: RecvStream,
    /// Received and not read yet.
    pub(super) rest: Bytes,
    pub(super) _guard: Option<StreamGuard>,
}

impl BareSocket for HostTunnel {}

impl AsyncRead for HostTunnel {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            HostTunnel::Connection(io) => Pin::new(io).poll_read(cx, buf),
            HostTunnel::Stream(stream) => stream.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for HostTunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            HostTunnel::Connection(io) => Pin::new(io).poll_write(cx, buf),
            HostTunnel::Stream(stream) => stream.poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            HostTunnel::Connection(io) => Pin::new(io).poll_flush(cx),
            // The connection's driver does.
            HostTunnel::Stream(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            HostTunnel::Connection(io) => Pin::new(io).poll_shutdown(cx),
            HostTunnel::Stream(stream) => {
                Poll::Ready(stream.send.send_data(Bytes::new(), true).map_err(io::Error::other))
            }
        }
    }
}

impl StreamTunnel {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(data)) => {
                    let _ = self.receive.flow_control().release_capacity(data.len());
                    self.rest = data;
                }
                Some(Err(e)) if matches!(e.reason(), Some(Reason::NO_ERROR | Reason::CANCEL)) => {
                    return Poll::Ready(Ok(()));
                }
                Some(Err(e)) => return Poll::Ready(Err(io::Error::other(e))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest[..n]);
        self.rest.advance(n);
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.send.reserve_capacity(buf.len());
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(e)) => return Poll::Ready(Err(io::Error::other(e))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let n = self.send.capacity().min(buf.len());
        let sent = self.send.send_data(Bytes::copy_from_slice(&buf[..n]), false);
        Poll::Ready(sent.map(|()| n).map_err(io::Error::other))
    }
}
