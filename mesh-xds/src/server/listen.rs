//! From a TCP listener to requests that know their peer.

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use super::{ConnectionHandle, PeerInfo};

/// Bounds and times of a listener.
#[derive(Debug, Clone)]
pub struct ListenConfig {
    /// Connections open at a time; more wait in the listener's backlog. Default 10 000.
    pub max_connections: usize,
    /// gRPC streams per connection. Default 128.
    pub max_streams_per_connection: u32,
    /// Whether HTTP/1.1 is spoken too, as REST clients do. gRPC needs HTTP/2. Default no.
    pub http1: bool,
    /// How long a TLS handshake may take. Default 10 s.
    pub handshake_timeout: Duration,
    /// HTTP/2 pings on a silent connection: how often. Default 30 s.
    pub keepalive: Duration,
    /// How long the answer to a ping may take. Default 10 s.
    pub keepalive_timeout: Duration,
    /// How old a connection may become. It is then asked to end (HTTP/2 `GOAWAY`): streams on it go on, new ones have to
    /// use another connection, and it closes with its last stream. See
    /// [`ServerLimits::max_stream_age`](super::ServerLimits::max_stream_age). Default `None`: for ever.
    pub max_connection_age: Option<Duration>,
    /// How long connections may take to end after shutdown. Default 5 s.
    pub drain_timeout: Duration,
    /// Counts TLS handshakes that failed, for a certificate that does not hold or bytes that are no TLS. A peer that just
    /// goes away is not counted. Keep a clone to read it.
    pub failed_handshakes: Arc<AtomicU64>,
    /// Is told the error of each of them: a peer that refuses our certificate says so by an alert. Default: nobody.
    pub handshake_errors: HandshakeErrors,
}

type OnError = dyn Fn(&io::Error) + Send + Sync;

/// Who is told of TLS handshakes that failed.
#[derive(Clone, Default)]
pub struct HandshakeErrors(Option<Arc<OnError>>);

impl HandshakeErrors {
    /// Calls `tell`, which must not block.
    pub fn new(tell: impl Fn(&io::Error) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }
}

impl fmt::Debug for HandshakeErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HandshakeErrors").field(&self.0.is_some()).finish()
    }
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_streams_per_connection: 128,
            http1: false,
            handshake_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            max_connection_age: None,
            drain_timeout: Duration::from_secs(5),
            failed_handshakes: Arc::default(),
            handshake_errors: HandshakeErrors::default(),
        }
    }
}

/// Waiting after a failed accept: file descriptors may be short.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves `routes` on `listener`, through TLS if `tls` is given (its ALPN must offer `h2`, and `http/1.1` if that is spoken; whether client certificates are
/// asked for is its business), until `shutdown` resolves. Then no connection is taken any more, and open ones get
/// [`ListenConfig::drain_timeout`] to end.
///
/// Every request carries a [`PeerInfo`] among its extensions.
///
/// # Errors
/// If the HTTP/2 server itself fails. A connection's failure is logged and is its own.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    routes: tonic::service::Routes,
    config: ListenConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let (sender, connections) = mpsc::channel(16);
    let accepting = tokio::spawn(accept(listener, tls.map(TlsAcceptor::from), config.clone(), sender));
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let mut server = tonic::transport::Server::builder();
    if let Some(age) = config.max_connection_age {
        server = server.max_connection_age(age);
    }
    let serving = server
        .max_concurrent_streams(config.max_streams_per_connection)
        .accept_http1(config.http1)
        .http2_keepalive_interval(Some(config.keepalive))
        .http2_keepalive_timeout(Some(config.keepalive_timeout))
        .add_routes(routes)
        .serve_with_incoming_shutdown(ReceiverStream::new(connections), async {
            let _ = stopped.await;
        });
    let ending = async {
        shutdown.await;
        accepting.abort();
        let _ = stopping.send(());
        tokio::time::sleep(config.drain_timeout).await;
    };
    tokio::select! {
        served = serving => served.map_err(io::Error::other),
        () = ending => Ok(()),
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    config: ListenConfig,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    let permits = Arc::new(Semaphore::new(config.max_connections));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let (tls, connections, timeout) = (tls.clone(), connections.clone(), config.handshake_timeout);
        let (failed, told) = (config.failed_handshakes.clone(), config.handshake_errors.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(timeout, Connection::open(stream, tls, permit)).await {
                Ok(Ok(connection)) => {
                    // The server has ended: so does the connection.
                    let _ = connections.send(Ok(connection)).await;
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    if let Some(tell) = &told.0 {
                        tell(&error);
                    }
                    warn!(%remote, error = error.to_string(), "TLS handshake failed");
                }
                // Health checks connect and go away.
                Ok(Err(error)) => debug!(%remote, %error, "peer went away in the TLS handshake"),
                Err(_) => debug!(%remote, "TLS handshake took too long"),
            }
        });
    }
}

/// An open connection and who is at its other end.
struct Connection {
    io: Io,
    peer: PeerInfo,
    _permit: OwnedSemaphorePermit,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    async fn open(stream: TcpStream, tls: Option<TlsAcceptor>, permit: OwnedSemaphorePermit) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let remote_addr = stream.peer_addr().ok();
        let Some(tls) = tls else {
            return Ok(Self::new(Io::Plain(stream), remote_addr, [].into(), permit));
        };
        let stream = tls.accept(stream).await?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificates = certificates.iter().map(|c| c.clone().into_owned()).collect();
        Ok(Self::new(Io::Tls(Box::new(stream)), remote_addr, certificates, permit))
    }

    fn new(
        io: Io,
        remote_addr: Option<SocketAddr>,
        certificates: Arc<[CertificateDer<'static>]>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let connection = ConnectionHandle::new();
        Self { io, peer: PeerInfo { remote_addr, certificates, connection }, _permit: permit }
    }
}

impl Connected for Connection {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.peer.clone()
    }
}

macro_rules! forward {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match &mut $self.get_mut().io {
            Io::Plain(io) => Pin::new(io).$method($($argument),*),
            Io::Tls(io) => Pin::new(io.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // HTTP/2 always reads: its failure ends the connection.
        if self.peer.connection.poll_closed(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        forward!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }
}
