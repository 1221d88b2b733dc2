use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::{
    cluster::{BreakerPermit, ClusterHandle, Host},
    rt::{BareSocket, ReadAhead, Socket},
};

/// A connection to a host. Counts as open until it is dropped.
#[derive(Debug)]
pub struct UpstreamStream {
    pub(super) io: Io,
    pub(super) open: OpenConnection,
}

impl UpstreamStream {
    /// Counts the connection as a request of the host while it is open, for balancing by load.
    pub(crate) fn count_as_request(&mut self) {
        let open = &mut self.open;
        if !std::mem::replace(&mut open.request, true) {
            open.host.state.rq_total.fetch_add(1, Relaxed);
            open.host.state.rq_active.fetch_add(1, Relaxed);
            open.cluster.stats().upstream_rq_total.inc();
            open.cluster.stats().upstream_rq_active.inc();
        }
    }
}

#[derive(Debug)]
pub(super) enum Io {
    Plain(Socket),
    Tls(Box<TlsStream<ReadAhead<Socket>>>),
}

impl BareSocket for UpstreamStream {
    fn socket(&self) -> Option<&TcpStream> {
        match &self.io {
            Io::Plain(Socket::Tcp(socket)) => Some(socket),
            _ => None,
        }
    }

    fn note_read(&self, n: usize) {
        self.open.cluster.stats().upstream_cx_rx_bytes_total.add(n as u64);
    }

    fn note_written(&self, n: usize) {
        self.open.cluster.stats().upstream_cx_tx_bytes_total.add(n as u64);
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = match &mut this.io {
            Io::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Io::Tls(s) => Pin::new(s).poll_read(cx, buf),
        };
        let read = buf.filled().len().saturating_sub(before);
        if read > 0 {
            this.open.cluster.stats().upstream_cx_rx_bytes_total.add(read as u64);
        }
        polled
    }
}

impl UpstreamStream {
    fn wrote(&self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(written)) = polled {
            self.open.cluster.stats().upstream_cx_tx_bytes_total.add(*written as u64);
        }
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = match &mut this.io {
            Io::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Io::Tls(s) => Pin::new(s).poll_write(cx, buf),
        };
        this.wrote(&polled);
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = match &mut this.io {
            Io::Plain(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Io::Tls(s) => Pin::new(s).poll_write_vectored(cx, bufs),
        };
        this.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(s) => Pin::new(s).poll_flush(cx),
            Io::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Io::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

/// Counts a connection while it is open.
#[derive(Debug)]
pub(super) struct OpenConnection {
    cluster: Arc<ClusterHandle>,
    host: Arc<Host>,
    /// It counts as a request too.
    request: bool,
    _permit: BreakerPermit,
}

impl OpenConnection {
    pub(super) fn new(cluster: &Arc<ClusterHandle>, host: &Arc<Host>, permit: BreakerPermit) -> Self {
        let stats = cluster.stats();
        stats.upstream_cx_total.inc();
        stats.upstream_cx_active.inc();
        host.state.cx_total.fetch_add(1, Relaxed);
        host.state.cx_active.fetch_add(1, Relaxed);
        Self { cluster: cluster.clone(), host: host.clone(), request: false, _permit: permit }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let stats = self.cluster.stats();
        stats.upstream_cx_active.dec();
        stats.upstream_cx_destroy.inc();
        self.host.state.cx_active.fetch_sub(1, Relaxed);
        if self.request {
            self.host.state.rq_active.fetch_sub(1, Relaxed);
            stats.upstream_rq_active.dec();
        }
    }
}
