//! Which of several own certificates a client is shown.

use std::sync::Arc;

use rustls::{
    SignatureAlgorithm,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{TlsError, info::SubjectNames};

/// Chooses by server name first: the very name, then a wildcard, then any; among equals what the client can verify, ECDSA
/// before RSA, as it costs less; then by order.
#[derive(Debug)]
pub(super) struct CertificateChoice {
    /// Never empty.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: Arc<CertifiedKey>,
    names: SubjectNames,
}

impl CertificateChoice {
    pub(super) fn new(keys: Vec<Arc<CertifiedKey>>) -> Result<Self, TlsError> {
        let entries: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let names = key.cert.first().and_then(SubjectNames::parse).unwrap_or_default();
                Entry { key, names }
            })
            .collect();
        if entries.is_empty() { Err(TlsError::NoCertificate) } else { Ok(Self { entries }) }
    }

    /// URI SANs of the first.
    pub(super) fn first_uris(&self) -> &[String] {
        self.entries.first().map_or(&[], |entry| &entry.names.uris)
    }
}

impl ResolvesServerCert for CertificateChoice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let [only] = self.entries.as_slice() {
            return Some(only.key.clone());
        }
        let fit = |entry: &Entry| match hello.server_name() {
            Some(name) if entry.names.has_dns(name) => 2,
            Some(name) if entry.names.dns_matches(name) => 1,
            _ => 0,
        };
        let usable = self.entries.iter().filter(|e| e.key.key.choose_scheme(hello.signature_schemes()).is_some());
        let rank = |entry: &&Entry| (fit(entry), entry.key.key.algorithm() == SignatureAlgorithm::ECDSA);
        // Of equals `max_by_key` takes the last: so from the end.
        usable.rev().max_by_key(rank).map(|entry| entry.key.clone())
    }
}
