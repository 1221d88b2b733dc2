//! [`tls_incoming`]: TLS connections for a tonic server, with what the handshake found out about the peer.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::{CommonState, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::transport::server::Connected;

use crate::{
    spiffe::{SpiffeId, check_leaf},
    tls::RenewOnRefusal,
};

/// The certificates that a peer showed, leaf first; empty when it showed none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerCertificates(pub Arc<[CertificateDer<'static>]>);

impl PeerCertificates {
    /// Those of a finished handshake.
    pub fn of(connection: &CommonState) -> Self {
        Self(connection.peer_certificates().unwrap_or_default().iter().map(|c| c.clone().into_owned()).collect())
    }

    pub(super) fn as_arc(&self) -> Arc<[CertificateDer<'static>]> {
        Arc::clone(&self.0)
    }
}

/// What is known about the peer of a connection. tonic puts it into the extensions of every request when the connection
/// comes from [`tls_incoming`]; other acceptors insert it themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// What it showed in the handshake.
    pub certificates: PeerCertificates,
    /// Where it is.
    pub address: Option<SocketAddr>,
}

impl PeerInfo {
    /// The facts of a connection.
    pub fn new(certificates: PeerCertificates, address: Option<SocketAddr>) -> Self {
        Self { certificates, address }
    }

    /// The SPIFFE id in the certificate shown, if any. It was verified by the handshake when the server's verifier is that
    /// of [`crate::tls`]; here only its form is.
    pub fn id(&self) -> Option<SpiffeId> {
        check_leaf(self.certificates.0.first()?).ok()
    }
}

/// Limits of [`tls_incoming`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncomingLimits {
    /// How long a handshake may take. Default 10 seconds.
    pub handshake_timeout: Duration,
    /// Handshakes under way at once; more connections wait in the listen queue. Default 256.
    pub handshakes: usize,
    /// Connections open at once; more wait in the listen queue. Default 16384.
    pub connections: usize,
}

impl Default for IncomingLimits {
    fn default() -> Self {
        Self { handshake_timeout: Duration::from_secs(10), handshakes: 256, connections: 16 * 1024 }
    }
}

/// A TLS connection that knows its peer.
#[derive(Debug)]
pub struct PeerStream {
    stream: TlsStream<TcpStream>,
    peer: PeerInfo,
    /// Given back when the connection is dropped.
    _slot: OwnedSemaphorePermit,
}

/// Accepts connections and does their handshakes side by side, so that a slow peer keeps nobody waiting.
///
/// For `tonic::transport::Server::serve_with_incoming`. Failed handshakes are logged at debug and dropped; the stream
/// itself never ends. Dropping the stream stops accepting. `config` should offer the ALPN protocol `h2`.
pub fn tls_incoming(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    limits: IncomingLimits,
) -> impl Stream<Item = io::Result<PeerStream>> + Send + use<> {
    incoming(listener, config, limits, None)
}

/// As [`tls_incoming`]; a client that refuses the server's certificate leads to its renewal.
pub fn tls_incoming_renewing(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    limits: IncomingLimits,
    renewal: RenewOnRefusal,
) -> impl Stream<Item = io::Result<PeerStream>> + Send + use<> {
    incoming(listener, config, limits, Some(renewal))
}

fn incoming(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    limits: IncomingLimits,
    renewal: Option<RenewOnRefusal>,
) -> impl Stream<Item = io::Result<PeerStream>> + Send + use<> {
    let (ready, incoming) = mpsc::channel(16);
    tokio::spawn(async move {
        tokio::select! {
            () = ready.closed() => {}
            () = accept(listener, config, limits, renewal, ready.clone()) => {}
        }
    });
    ReceiverStream::new(incoming)
}

async fn accept(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    limits: IncomingLimits,
    renewal: Option<RenewOnRefusal>,
    ready: mpsc::Sender<io::Result<PeerStream>>,
) {
    let acceptor = TlsAcceptor::from(config);
    let handshakes = Arc::new(Semaphore::new(limits.handshakes.max(1)));
    let connections = Arc::new(Semaphore::new(limits.connections.max(1)));
    // The semaphores are never closed.
    while let Ok(handshake_slot) = Arc::clone(&handshakes).acquire_owned().await {
        let Ok(slot) = Arc::clone(&connections).acquire_owned().await else { return };
        let (tcp, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of files, or a peer that has gone already: neither ends the server.
                tracing::warn!(%error, "connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (acceptor, ready, timeout) = (acceptor.clone(), ready.clone(), limits.handshake_timeout);
        let renewal = renewal.clone();
        tokio::spawn(async move {
            let handshake = async {
                tcp.set_nodelay(true)?;
                acceptor.accept(tcp).await
            };
            match tokio::time::timeout(timeout, handshake).await {
                Ok(Ok(stream)) => {
                    let certificates = PeerCertificates::of(stream.get_ref().1);
                    let peer = PeerInfo::new(certificates, Some(address));
                    drop(handshake_slot);
                    // An error means that the server has stopped.
                    let _ = ready.send(Ok(PeerStream { stream, peer, _slot: slot })).await;
                }
                Ok(Err(error)) => {
                    tracing::debug!(%address, %error, "TLS handshake failed");
                    if let Some(renewal) = renewal {
                        renewal.note_io(&error);
                    }
                }
                Err(_) => tracing::debug!(%address, "TLS handshake took too long"),
            }
        });
    }
}

impl PeerStream {
    /// Who is at the other end.
    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }
}

impl Connected for PeerStream {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.peer.clone()
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
