//! Opening the sockets of listeners, shared out to the workers.
//!
//! With `SO_REUSEPORT` every worker has a socket of its own on the same address, and the kernel spreads connections.
//! Without it one socket is opened and every worker accepts from it. For port 0 the first worker's socket learns the
//! port, and the others bind that one.

mod options;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::PathBuf,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket as RawSocket, TcpKeepalive, Type};

use crate::model::{Address, Listener, SocketSettings, SocketState};

/// Longest queue of connections not yet accepted; the kernel caps it (`net.core.somaxconn`).
const DEFAULT_BACKLOG: i32 = 4096;

/// Why a listener has no socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BindError {
    /// Another socket has the address.
    #[error("listener {listener}: {address} is in use; stop the other program or choose another port")]
    InUse {
        /// Listener.
        listener: String,
        /// Address asked for.
        address: String,
    },
    /// The process may not.
    #[error(
        "listener {listener}: no permission to listen on {address}; use a port above 1023, or grant CAP_NET_BIND_SERVICE"
    )]
    Denied {
        /// Listener.
        listener: String,
        /// Address asked for.
        address: String,
    },
    /// The machine has no such address.
    #[error("listener {listener}: {address} is no address of this machine")]
    NotAvailable {
        /// Listener.
        listener: String,
        /// Address asked for.
        address: String,
    },
    /// Any other failure.
    #[error("listener {listener}: cannot listen on {address}")]
    Io {
        /// Listener.
        listener: String,
        /// Address asked for.
        address: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl BindError {
    fn new(listener: &str, address: &Address, source: io::Error) -> Self {
        let (listener, address) = (listener.to_owned(), address.to_string());
        match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { listener, address },
            io::ErrorKind::PermissionDenied => BindError::Denied { listener, address },
            io::ErrorKind::AddrNotAvailable => BindError::NotAvailable { listener, address },
            _ => BindError::Io { listener, address, source },
        }
    }
}

/// A listening socket of one worker.
#[derive(Debug)]
pub(crate) enum BoundSocket {
    /// TCP.
    Tcp(tokio::net::TcpListener),
    /// Unix domain.
    Unix(tokio::net::UnixListener),
}

/// A bound address; it is free again when the last worker has dropped it.
#[derive(Debug)]
pub(crate) struct Binding {
    address: Address,
    shared: Option<Arc<RawSocket>>,
    path: Option<PathBuf>,
}

impl Drop for Binding {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What the workers have bound; shared by them.
#[derive(Debug, Default)]
pub(crate) struct Binder {
    bindings: Mutex<HashMap<(String, usize), Weak<Binding>>>,
}

impl Binder {
    /// A socket on address number `index` of `listener`, for the calling worker. Must run in its runtime.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(crate) fn bind(&self, listener: &Listener, index: usize) -> Result<(Arc<Binding>, BoundSocket), BindError> {
        let wanted = &listener.addresses[index];
        let key = (listener.name.clone(), index);
        let mut bindings = self.bindings.lock();
        bindings.retain(|_, binding| binding.strong_count() > 0);
        let held = bindings.get(&key).and_then(Weak::upgrade).filter(|held| same(wanted, &held.address));
        let opened = match held {
            Some(held) => reopen(&held, listener, listener.socket(index)).map(|socket| (held, socket)),
            None => open(wanted, listener, listener.socket(index)).map(|(held, socket)| (Arc::new(held), socket)),
        };
        let (held, socket) = opened.map_err(|e| BindError::new(&listener.name, wanted, e))?;
        bindings.insert(key, Arc::downgrade(&held));
        Ok((held, socket))
    }

    /// Addresses bound now, with their listeners' names, sorted.
    pub(crate) fn bound(&self) -> Vec<(String, Address)> {
        let bindings = self.bindings.lock();
        let mut bound: Vec<_> = bindings
            .iter()
            .filter_map(|((name, index), b)| Some((name.clone(), *index, b.upgrade()?.address.clone())))
            .collect();
        bound.sort();
        bound.into_iter().map(|(name, _, address)| (name, address)).collect()
    }
}

fn same(wanted: &Address, bound: &Address) -> bool {
    match (wanted, bound) {
        (Address::Tcp(w), Address::Tcp(b)) if w.port() == 0 => w.ip() == b.ip(),
        _ => wanted == bound,
    }
}

fn open(address: &Address, listener: &Listener, settings: &SocketSettings) -> io::Result<(Binding, BoundSocket)> {
    match address {
        Address::Tcp(addr) => {
            let socket = tcp(*addr, listener, settings)?;
            let addr = socket.local_addr()?.as_socket().unwrap_or(*addr);
            let shared = (!listener.reuse_port).then(|| socket.try_clone().map(Arc::new)).transpose()?;
            let binding = Binding { address: Address::Tcp(addr), shared, path: None };
            Ok((binding, into_tcp(socket)?))
        }
        Address::Unix(path) => {
            if std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket())
                && std::os::unix::net::UnixStream::connect(path).is_err()
            {
                std::fs::remove_file(path)?;
            }
            let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.bind(&socket2::SockAddr::unix(path)?)?;
            if settings.mode != 0 {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(settings.mode))?;
            }
            socket.listen(backlog(listener))?;
            let shared = Some(Arc::new(socket.try_clone()?));
            let binding = Binding { address: address.clone(), shared, path: Some(path.clone()) };
            Ok((binding, into_unix(socket)?))
        }
        Address::Name(..) => Err(io::Error::new(io::ErrorKind::InvalidInput, "a listener needs an IP address")),
    }
}

fn reopen(held: &Binding, listener: &Listener, settings: &SocketSettings) -> io::Result<BoundSocket> {
    match (&held.shared, &held.address) {
        (Some(shared), Address::Unix(_)) => into_unix(shared.try_clone()?),
        (Some(shared), _) => into_tcp(shared.try_clone()?),
        (None, Address::Tcp(addr)) => into_tcp(tcp(*addr, listener, settings)?),
        (None, _) => Err(io::Error::new(io::ErrorKind::InvalidInput, "a listener needs an IP address")),
    }
}

fn tcp(addr: SocketAddr, listener: &Listener, settings: &SocketSettings) -> io::Result<RawSocket> {
    let protocol = if listener.mptcp { Protocol::MPTCP } else { Protocol::TCP };
    let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM, Some(protocol))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if listener.reuse_port {
        socket.set_reuse_port(true)?;
    }
    if let Some((idle, interval, probes)) = settings.keepalive {
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    options::apply(&socket, settings, SocketState::PreBind, addr.is_ipv4())?;
    socket.bind(&addr.into())?;
    options::apply(&socket, settings, SocketState::Bound, addr.is_ipv4())?;
    socket.listen(backlog(listener))?;
    options::apply(&socket, settings, SocketState::Listening, addr.is_ipv4())?;
    Ok(socket)
}

fn backlog(listener: &Listener) -> i32 {
    listener.backlog.map_or(DEFAULT_BACKLOG, |n| i32::try_from(n).unwrap_or(i32::MAX))
}

fn into_tcp(socket: RawSocket) -> io::Result<BoundSocket> {
    tokio::net::TcpListener::from_std(socket.into()).map(BoundSocket::Tcp)
}

fn into_unix(socket: RawSocket) -> io::Result<BoundSocket> {
    tokio::net::UnixListener::from_std(socket.into()).map(BoundSocket::Unix)
}
