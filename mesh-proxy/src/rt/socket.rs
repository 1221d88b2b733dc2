//! A connected socket.

use std::net::SocketAddr;

use tokio::net::{TcpStream, UnixStream};

use super::one_of;

/// A stream socket, accepted or dialled.
#[derive(Debug)]
pub(crate) enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// Unix domain.
    Unix(UnixStream),
}

one_of!(Socket { Tcp, Unix });

impl Socket {
    /// Sends without delay (`TCP_NODELAY`), as Envoy does. No error: it is only slower without.
    pub(crate) fn set_nodelay(&self) {
        if let Socket::Tcp(socket) = self {
            let _ = socket.set_nodelay(true);
        }
    }

    /// Our address and the peer's, where there are such.
    pub(crate) fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Socket::Tcp(s) => Some((s.local_addr().ok()?, s.peer_addr().ok()?)),
            Socket::Unix(_) => None,
        }
    }
}
