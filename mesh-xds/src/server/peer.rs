//! What a connection tells about its other end.

use std::{net::SocketAddr, sync::Arc};

use rustls::pki_types::CertificateDer;

/// The other end of a connection, found among the extensions of every request that [`super::serve`] takes in. Services
/// that are served otherwise may insert one themselves.
#[derive(Debug, Clone, Default)]
pub struct PeerInfo {
    /// Where it connects from.
    pub remote_addr: Option<SocketAddr>,
    /// The certificates it gave, its own first; already verified by the TLS configuration. Empty without TLS, or if it
    /// gave none.
    pub certificates: Arc<[CertificateDer<'static>]>,
}
