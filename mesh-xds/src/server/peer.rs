//! What a connection tells about its other end.

use std::{net::SocketAddr, sync::Arc};

use rustls::pki_types::CertificateDer;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The other end of a connection, found among the extensions of every request that [`super::serve`] takes in. Services
/// that are served otherwise may insert one themselves.
#[derive(Debug, Clone, Default)]
pub struct PeerInfo {
    /// Where it connects from.
    pub remote_addr: Option<SocketAddr>,
    /// The certificates it gave, its own first; already verified by the TLS configuration. Empty without TLS, or if it
    /// gave none.
    pub certificates: Arc<[CertificateDer<'static>]>,
    /// The connection itself.
    pub connection: ConnectionHandle,
}

/// A connection that can be closed from outside. Cheap to clone. The default is of no connection, and does nothing.
#[derive(Debug, Clone, Default)]
pub struct ConnectionHandle(Option<CancellationToken>);

impl ConnectionHandle {
    /// Of a connection that ends when [`ConnectionHandle::closed`] resolves.
    pub(super) fn new() -> Self {
        Self(Some(CancellationToken::new()))
    }

    /// Closes the connection, with every stream on it, whatever is still to be sent.
    pub fn close(&self) {
        if let Some(token) = &self.0 {
            token.cancel();
        }
    }

    pub(super) fn closed(&self) -> Option<WaitForCancellationFutureOwned> {
        self.0.as_ref().map(|token| token.clone().cancelled_owned())
    }
}
