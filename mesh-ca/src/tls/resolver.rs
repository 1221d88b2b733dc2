//! [`SvidResolver`].

use std::sync::Arc;

use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::agent::IdentityWatch;

/// Shows the certificate in force at each handshake, never one that has ended. Without one, servers abort the handshake
/// and clients show none.
#[derive(Debug, Clone)]
pub struct SvidResolver {
    identity: IdentityWatch,
}

impl SvidResolver {
    /// Shows what `identity` has.
    pub fn new(identity: IdentityWatch) -> Self {
        Self { identity }
    }

    fn current(&self) -> Option<Arc<CertifiedKey>> {
        self.identity.svid().map(|svid| Arc::clone(svid.certified_key()))
    }
}

impl ResolvesServerCert for SvidResolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
    }
}

impl ResolvesClientCert for SvidResolver {
    fn resolve(&self, _root_hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current()
    }

    fn has_certs(&self) -> bool {
        self.identity.svid().is_some()
    }
}
