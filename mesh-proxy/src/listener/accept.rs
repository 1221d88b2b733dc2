//! From an accepted socket to the filter that carries its traffic.

use std::{
    any::Any,
    borrow::Cow,
    cell::RefCell,
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

use rustls_pki_types::UnixTime;
use socket2::SockRef;
use tokio_rustls::TlsAcceptor;

use super::{
    active::{ActiveChain, ActiveListener, Terminal},
    answer,
    bind::{Binding, BoundSocket},
    chain_match::ConnectionFacts,
    inspect::{self, Findings, InspectError},
    io::{Rewound, ServerIo},
};
use crate::{
    access_log::LogContext,
    filter::{ConnectionInfo, NetworkFlow, ResponseFlags, StreamInfo, TlsInfo},
    http,
    model::{Address, Listener, ListenerFilter, ListenerFilterKind},
    rt::{ReadAhead, Socket},
    tls::server_info,
    worker::{Redirects, WorkerContext, redirect},
};

/// Pause after `accept` failed for want of resources, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections from `socket` until the task is aborted.
pub(crate) async fn run(
    worker: Rc<WorkerContext>,
    current: Rc<RefCell<Rc<ActiveListener>>>,
    redirects: Redirects,
    _binding: Arc<Binding>,
    socket: BoundSocket,
) {
    loop {
        let accepted = match &socket {
            BoundSocket::Tcp(listener) => listener.accept().await.map(|(s, peer)| (Socket::Tcp(s), peer)),
            BoundSocket::Unix(listener) => listener.accept().await.map(|(s, _)| (Socket::Unix(s), nowhere())),
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) if is_passing(&e) => continue,
            Err(e) => {
                tracing::warn!(error = %e, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        socket.set_nodelay();
        let local = match &socket {
            Socket::Tcp(socket) => socket.local_addr().unwrap_or_else(|_| nowhere()),
            Socket::Unix(_) => nowhere(),
        };
        let incoming = Incoming { worker: worker.clone(), peer, local, restored: false, started: Instant::now() };
        let listener = current.borrow().clone();
        tokio::task::spawn_local(incoming.serve(listener, redirects.clone(), socket));
    }
}

/// The address of those who have none.
fn nowhere() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)
}

/// Errors of one connection, not of the listener.
fn is_passing(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}

/// Counts an open connection of a listener, while it lives.
struct Open(Rc<ActiveListener>, Instant);

impl Open {
    /// `None`: the listener has as many as it may.
    fn count(listener: &Rc<ActiveListener>, started: Instant) -> Option<Self> {
        let before = listener.open.fetch_add(1, Relaxed);
        listener.stats.cx_active.inc();
        let open = Open(listener.clone(), started);
        if listener.model.max_connections.is_some_and(|max| before >= max) {
            listener.stats.cx_overflow.inc();
            return None;
        }
        listener.stats.cx_total.inc();
        Some(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        self.0.stats.cx_active.dec();
        self.0.stats.cx_length.record_ms(self.1.elapsed());
    }
}

struct Incoming {
    worker: Rc<WorkerContext>,
    peer: SocketAddr,
    local: SocketAddr,
    /// `local` is the original destination.
    restored: bool,
    started: Instant,
}

impl Incoming {
    async fn serve(mut self, mut listener: Rc<ActiveListener>, redirects: Redirects, socket: Socket) {
        if restores_destination(&listener.model, self.local.port()) {
            self.restore(&listener.model, &socket);
            if listener.model.use_original_dst
                && let Some(other) = redirect(&redirects, self.local)
            {
                listener = other;
            }
        }
        let Some(_open) = Open::count(&listener, self.started) else { return };
        let mut io = Rewound::new(socket);
        let inspecting = listener.stats.pre_cx_active.hold();
        let inspected = inspect::run(&listener.model, &listener.inspectors, self.local.port(), &mut io);
        let mut findings = match inspected.await {
            Ok(findings) => findings,
            Err(e) => {
                if matches!(e, InspectError::Timeout) {
                    listener.stats.pre_cx_timeout.inc();
                }
                tracing::debug!(listener = %listener.name, peer = %self.peer, error = %e, "connection closed early");
                return;
            }
        };
        drop(inspecting);
        let (remote, local) = findings.proxied.unwrap_or((self.peer, self.local));
        let facts = ConnectionFacts {
            local,
            remote,
            direct_remote: self.peer,
            server_name: findings.server_name.as_deref(),
            tls: findings.tls,
            application_protocols: &findings.protocols,
        };
        let Some(chain) = listener.chain_for(&facts).cloned() else {
            listener.stats.no_filter_chain_match.inc();
            let info = self.info(&listener, None, &mut findings, None);
            return log(&listener, info, ResponseFlags::NO_ROUTE, "filter_chain_not_found");
        };
        self.enter(&listener, &chain, findings, io).await;
    }

    /// Takes the destination that the client meant for the connection's own address.
    fn restore(&mut self, listener: &Listener, socket: &Socket) {
        if listener.transparent {
            // By TPROXY it is the socket's address, which is none that the listener was bound to.
            let bound = |address: &Address| match address {
                Address::Tcp(bound) => {
                    bound.port() == self.local.port() && (bound.ip() == self.local.ip() || bound.ip().is_unspecified())
                }
                _ => false,
            };
            self.restored = !listener.addresses.iter().any(bound);
            return;
        }
        let destination = original_destination(socket).unwrap_or(self.local);
        self.restored = destination != self.local;
        self.local = destination;
    }

    /// TLS, network filters, and on to the terminal filter.
    async fn enter(&self, listener: &ActiveListener, chain: &ActiveChain, mut findings: Findings, io: Rewound<Socket>) {
        let mut drain = chain.drain.watch();
        let (io, tls) = match &chain.tls {
            None => (ServerIo::Plain(io), None),
            Some(_) => {
                let shaken = tokio::select! {
                    shaken = Box::pin(handshake(listener, chain, io, (self.local, self.peer))) => shaken,
                    () = drain.reached(crate::drain::Phase::Closing) => None,
                };
                match shaken {
                    Some((io, info)) => (io, Some(info)),
                    None => return,
                }
            }
        };
        let info = Arc::new(self.info(listener, Some(chain), &mut findings, tls));
        let mut held = Vec::new();
        for entry in &chain.model.filters {
            match admits(entry.filter.on_connection(&info)).await {
                Ok(hold) => held.extend(hold),
                Err(details) => return log(listener, (*info).clone(), ResponseFlags::NONE, details),
            }
        }
        let logged = (!listener.logs.is_empty()).then(|| info.clone());
        match &chain.terminal {
            Terminal::Http(http) => http::serve(http.clone(), info, io, drain).await,
            Terminal::Tcp(tcp) => tcp.clone().serve(info, io, drain).await,
            Terminal::Echo => answer::echo(io, drain).await,
            Terminal::DirectResponse(bytes) => answer::direct(io, bytes, drain).await,
            Terminal::Custom(entry) => {
                let _ = admits(entry.filter.on_connection(&info)).await;
            }
        }
        if let Some(info) = logged {
            log(listener, (*info).clone(), ResponseFlags::NONE, "");
        }
    }

    fn info(
        &self,
        listener: &ActiveListener,
        chain: Option<&ActiveChain>,
        findings: &mut Findings,
        tls: Option<(Arc<TlsInfo>, Option<Arc<str>>)>,
    ) -> ConnectionInfo {
        let (remote, local) = findings.proxied.unwrap_or((self.peer, self.local));
        let (tls, name) = tls.map_or((None, None), |(tls, name)| (Some(tls), name));
        ConnectionInfo {
            id: self.worker.shared.connection_id(),
            direct_remote: self.peer,
            remote,
            local,
            local_restored: self.restored || findings.proxied.is_some(),
            tls,
            listener: listener.name.clone(),
            filter_chain: chain.map_or_else(|| "".into(), |c| c.name.clone()),
            listener_metadata: listener.model.metadata.clone(),
            sni: name.or_else(|| findings.server_name.as_deref().map(Arc::from)),
            inbound: listener.model.inbound,
            dynamic_metadata: (!findings.metadata.is_empty()).then(|| Arc::new(std::mem::take(&mut findings.metadata))),
            tlvs: std::mem::take(&mut findings.tlvs).into(),
            started: self.started,
        }
    }
}

/// What is held while the connection lives, or why it is closed.
async fn admits(flow: NetworkFlow) -> Result<Option<Box<dyn Any>>, Cow<'static, str>> {
    match flow {
        NetworkFlow::Continue => Ok(None),
        NetworkFlow::Hold(value) => Ok(Some(value)),
        NetworkFlow::Close(details) => Err(details),
        NetworkFlow::Wait(wait) => {
            if wait.await {
                Ok(None)
            } else {
                Err("closed by a network filter".into())
            }
        }
    }
}

type Shaken = (ServerIo, (Arc<TlsInfo>, Option<Arc<str>>));

async fn handshake(
    listener: &ActiveListener,
    chain: &ActiveChain,
    io: Rewound<Socket>,
    (local, peer): (SocketAddr, SocketAddr),
) -> Option<Shaken> {
    let handle = chain.tls.as_ref()?;
    let built = match handle.built() {
        Ok(built) => built,
        Err(e) => {
            listener.stats.ssl.connection_error.inc();
            tracing::debug!(listener = %listener.name, error = %e, "TLS is not ready");
            return None;
        }
    };
    let accept = TlsAcceptor::from(built.rustls(Some(local.ip()), Some(peer.ip()))).accept(ReadAhead::new(io));
    let accepted = if chain.model.tls_timeout.is_zero() {
        accept.await
    } else {
        match tokio::time::timeout(chain.model.tls_timeout, accept).await {
            Ok(accepted) => accepted,
            Err(_) => {
                listener.stats.ssl_timeout.inc();
                return None;
            }
        }
    };
    match accepted {
        Ok(stream) => {
            let connection = stream.get_ref().1;
            listener.stats.ssl.succeeded(connection);
            let info = server_info(connection, &built, UnixTime::now());
            let name = connection.server_name().map(Arc::from);
            Some((ServerIo::Tls(Box::new(Rewound::new(stream))), (info, name)))
        }
        Err(e) => {
            listener.stats.ssl.failed(&e);
            tracing::debug!(listener = %listener.name, error = %e, "TLS handshake failed");
            None
        }
    }
}

/// Whether the destination that clients meant is looked for.
fn restores_destination(listener: &Listener, port: u16) -> bool {
    let original = |filter: &ListenerFilter| filter.kind == ListenerFilterKind::OriginalDst && filter.runs(port);
    listener.use_original_dst || listener.listener_filters.iter().any(original)
}

/// The destination before redirection by the firewall (`SO_ORIGINAL_DST`).
fn original_destination(socket: &Socket) -> Option<SocketAddr> {
    let Socket::Tcp(socket) = socket else { return None };
    let socket = SockRef::from(socket);
    let found = socket.original_dst_v4().or_else(|_| socket.original_dst_v6()).ok()?;
    found.as_socket()
}

/// Writes the listener's own access logs for a connection that is over.
fn log(listener: &ActiveListener, info: ConnectionInfo, flags: ResponseFlags, details: impl Into<Cow<'static, str>>) {
    if listener.logs.is_empty() {
        return;
    }
    let started = info.started;
    let wall = SystemTime::now().checked_sub(started.elapsed()).unwrap_or_else(SystemTime::now);
    let mut info = StreamInfo::new(Arc::new(info), started, wall);
    info.flags = flags;
    info.details = Some(details.into()).filter(|d: &Cow<'_, str>| !d.is_empty());
    info.timings.end = Some(Instant::now());
    let context = LogContext { info: &info, request: None, response: None, trailers: None };
    for log in &listener.logs {
        log.log(&context);
    }
}
