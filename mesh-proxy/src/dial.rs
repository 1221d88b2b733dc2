//! Opening connections to hosts: TCP or Unix socket, then TLS if the cluster's transport says so.

mod proxied;
mod stream;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rustls_pki_types::UnixTime;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

use crate::{
    balancer::{HostPicker, PickContext, PickError},
    cluster::{BreakerPermit, ClusterHandle, Host, Overflow},
    filter::TlsInfo,
    model::{Address, Cluster},
    rt::{ReadAhead, Socket},
    tls::{TlsError, client_info, failure_text},
};

pub(crate) use crate::tls::Alpn;
pub(crate) use proxied::OnBehalf;
use stream::{Io, OpenConnection};

pub use stream::UpstreamStream;

/// A connection could not be made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No host could be picked.
    #[error(transparent)]
    Pick(#[from] PickError),
    /// The name of the host has no address.
    #[error("the host's name is not resolved")]
    Unresolved,
    /// `connect_timeout` passed.
    #[error("connection timeout")]
    Timeout,
    /// Connecting failed.
    #[error("{0}")]
    Connect(#[source] Arc<io::Error>),
    /// The TLS handshake failed.
    #[error("TLS_error: {}", failure_text(.0))]
    Tls(#[source] Arc<io::Error>),
    /// There is no TLS configuration yet, or none that works.
    #[error("TLS_error: {0}")]
    TlsConfig(#[from] TlsError),
    /// A circuit breaker was open.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// The HTTP handshake failed.
    #[error("HTTP handshake: {0}")]
    Http(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The pool went away while the request waited.
    #[error("the connection pool was closed")]
    PoolClosed,
}

impl ConnectError {
    /// Because of time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, ConnectError::Timeout)
    }

    /// Because a circuit breaker was open: nothing was tried.
    #[must_use]
    pub fn is_overflow(&self) -> bool {
        matches!(self, ConnectError::Overflow(_))
    }
}

/// Facts of an upstream connection.
#[derive(Clone, Debug)]
pub struct UpstreamConnInfo {
    /// Unique in this process.
    pub id: u64,
    /// Own address.
    pub local: Option<SocketAddr>,
    /// TLS facts, if it is TLS.
    pub tls: Option<Arc<TlsInfo>>,
}

static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(1);

/// Opens a connection to `host` for the client `behalf` with its transport, within the cluster's `connect_timeout` (TLS included, as in Envoy).
/// Counts it, and its failure. Cancel safe: dropped, the attempt is over.
pub(crate) async fn dial(
    cluster: &Arc<ClusterHandle>,
    host: &Arc<Host>,
    alpn: Alpn,
    permit: BreakerPermit,
    behalf: Option<&OnBehalf>,
) -> Result<(UpstreamStream, UpstreamConnInfo), ConnectError> {
    let open = OpenConnection::new(cluster, host, permit);
    let start = Instant::now();
    let attempt = establish(cluster, host, alpn, behalf);
    let result = match tokio::time::timeout(cluster.config().connect_timeout, attempt).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::Timeout),
    };
    let stats = cluster.stats();
    match result {
        Ok((io, info)) => {
            stats.upstream_cx_connect_ms.record_ms(start.elapsed());
            Ok((UpstreamStream { io, open }, info))
        }
        Err(error) => {
            stats.upstream_cx_connect_fail.inc();
            if error.is_timeout() {
                stats.upstream_cx_connect_timeout.inc();
            }
            host.state.cx_connect_fail.fetch_add(1, Relaxed);
            tracing::debug!(cluster = %cluster.config().name, host = %host.name, %error, "connecting failed");
            Err(error)
        }
    }
}

async fn establish(
    cluster: &ClusterHandle,
    host: &Host,
    alpn: Alpn,
    behalf: Option<&OnBehalf>,
) -> Result<(Io, UpstreamConnInfo), ConnectError> {
    let tls = cluster.tls(host.socket);
    // Before anything is sent: without its secrets a TLS connection cannot be made.
    let built = tls.map(|tls| tls.built(alpn)).transpose()?;
    let (mut socket, local) = connect_socket(host, cluster.config()).await?;
    let addresses = socket.addresses();
    if let Some(config) = host.socket.of(cluster.config()).proxy_header() {
        let header = proxied::header(config, behalf, addresses);
        socket.write_all(&header).await.map_err(|error| ConnectError::Connect(Arc::new(error)))?;
    }
    let mut info = UpstreamConnInfo { id: NEXT_CONNECTION.fetch_add(1, Relaxed), local, tls: None };
    let (Some(tls), Some(built)) = (tls, built) else { return Ok((Io::Plain(socket), info)) };
    let name = tls.server_name(&host.hostname);
    let rustls = built.rustls(addresses.map(|(own, _)| own.ip()), addresses.map(|(_, host)| host.ip()));
    match TlsConnector::from(rustls).connect(name, ReadAhead::new(socket)).await {
        Ok(stream) => {
            let connection = stream.get_ref().1;
            if let Some(stats) = cluster.tls_stats() {
                stats.succeeded(connection);
            }
            info.tls = Some(client_info(connection, &built, UnixTime::now()));
            Ok((Io::Tls(Box::new(stream)), info))
        }
        Err(error) => {
            if let Some(stats) = cluster.tls_stats() {
                stats.failed(&error);
            }
            Err(ConnectError::Tls(Arc::new(error)))
        }
    }
}

async fn connect_socket(host: &Host, config: &Cluster) -> Result<(Socket, Option<SocketAddr>), ConnectError> {
    let failed = |error| ConnectError::Connect(Arc::new(error));
    match host.dial_address().ok_or(ConnectError::Unresolved)? {
        Address::Tcp(address) => {
            let stream = connect_tcp(address, config.source_address).await.map_err(failed)?;
            // Small messages must not wait for acknowledgements.
            stream.set_nodelay(true).map_err(failed)?;
            if let Some((idle, interval, probes)) = config.pool.tcp_keepalive {
                set_keepalive(&stream, idle, interval, probes).map_err(failed)?;
            }
            let local = stream.local_addr().ok();
            Ok((Socket::Tcp(stream), local))
        }
        Address::Unix(path) => Ok((Socket::Unix(UnixStream::connect(path).await.map_err(failed)?), None)),
        Address::Name(..) => Err(ConnectError::Unresolved),
    }
}

/// `source` is the own address of the connection, where the family fits.
async fn connect_tcp(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    match source {
        Some(source) if source.is_ipv4() == address.is_ipv4() => {
            let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.bind((source, 0).into())?;
            socket.connect(address).await
        }
        _ => TcpStream::connect(address).await,
    }
}

fn set_keepalive(stream: &TcpStream, idle: Duration, interval: Duration, probes: u32) -> io::Result<()> {
    let keepalive = socket2::TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Opens a connection to a host of `cluster` outside of any pool, for the control thread's own gRPC streams. `http2`
/// offers `h2` where the TLS context names no protocol.
///
/// Waits up to `connect_timeout` for the hosts to become known (names resolved).
///
/// # Errors
///
/// No host, a breaker, or the connection's failure.
pub async fn connect(
    cluster: &Arc<ClusterHandle>,
    http2: bool,
    seed: u64,
) -> Result<(UpstreamStream, UpstreamConnInfo), ConnectError> {
    let mut ready = cluster.ready();
    let wait = ready.wait_for(|ready| *ready);
    // Either outcome is fine: without hosts the pick below says so.
    let _ = tokio::time::timeout(cluster.config().connect_timeout, wait).await;
    let config = cluster.config();
    // The picker belongs to one thread: it is gone before the next await, so that this future may move.
    let host = {
        let mut picker = HostPicker::new(config.lb.clone(), config.panic_threshold, config.locality_weighted, seed);
        picker.update(&cluster.hosts());
        picker.pick(&PickContext::default())?.0.clone()
    };
    let permit = cluster.breakers().try_take(false, crate::cluster::BreakerKind::Connections)?;
    dial(cluster, &host, if http2 { Alpn::Http2 } else { Alpn::None }, permit, None).await
}
