use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{
    SecretStore, TlsError,
    info::SubjectNames,
    live::{Current, Live, Slots},
    provider::{certified_key, provider, versions},
    verify::{ClientVerifier, PeerVerifier},
};
use crate::model::ServerTls;

/// TLS toward clients that follows its secrets. Cheap to clone, shared by workers.
#[derive(Clone, Debug)]
pub struct ServerTlsHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<ServerTls>,
    slots: Slots,
    live: Live<BuiltServer>,
}

/// A configuration and what must be known to tell about connections made with it.
#[derive(Debug)]
pub(crate) struct BuiltServer {
    pub(crate) rustls: Arc<ServerConfig>,
    pub(super) verifier: Arc<PeerVerifier>,
    pub(super) local_uris: Vec<String>,
}

impl ServerTlsHandle {
    pub(super) fn new(config: &Arc<ServerTls>, secrets: &SecretStore) -> Self {
        let slots = Slots::new(&config.common, secrets);
        Self(Arc::new(Inner { config: config.clone(), slots, live: Live::default() }))
    }

    /// The configuration for a connection accepted now.
    ///
    /// # Errors
    ///
    /// [`TlsError::NotReady`] while a secret is missing: the connection is to be closed, as Envoy does. Others when no
    /// good configuration was ever there.
    pub fn current(&self) -> Result<Arc<ServerConfig>, TlsError> {
        self.built().map(|built| built.rustls.clone())
    }

    /// As [`current`](Self::current), with what [`server_info`](super::server_info) needs.
    pub(crate) fn built(&self) -> Result<Arc<BuiltServer>, TlsError> {
        self.0.live.current(&self.0.slots, |secrets| build(&self.0.config, &secrets))
    }
}

fn build(config: &ServerTls, secrets: &Current) -> Result<BuiltServer, TlsError> {
    let common = &config.common;
    let provider = provider(common)?;
    let algorithms = provider.signature_verification_algorithms;
    let mandatory = config.require_client_certificate;
    let verifier =
        PeerVerifier::new(common.validation.as_ref(), secrets.roots.as_deref(), mandatory, algorithms).map(Arc::new)?;
    let versions = versions(common)?;
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions)?;
    let builder = if common.validation.is_some() || mandatory {
        builder.with_client_cert_verifier(Arc::new(ClientVerifier(verifier.clone())))
    } else {
        builder.with_no_client_auth()
    };
    let keys: Vec<_> = secrets.certificates.iter().map(|s| certified_key(s).map(Arc::new)).collect::<Result<_, _>>()?;
    let resolver = CertificateChoice::new(keys)?;
    let local_uris = resolver.entries[0].names.uris.clone();
    let mut rustls = builder.with_cert_resolver(Arc::new(resolver));
    rustls.alpn_protocols = common.alpn.clone();
    if config.disable_session_tickets {
        rustls.session_storage = Arc::new(NoServerSessionStorage {});
        rustls.send_tls13_tickets = 0;
    } else {
        rustls.ticketer = Ticketer::new()?;
    }
    Ok(BuiltServer { rustls: Arc::new(rustls), verifier, local_uris })
}

/// Chooses among own certificates: by server name first, then by what the client can verify, then by order.
#[derive(Debug)]
struct CertificateChoice {
    /// Never empty.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: Arc<CertifiedKey>,
    names: SubjectNames,
}

impl CertificateChoice {
    fn new(keys: Vec<Arc<CertifiedKey>>) -> Result<Self, TlsError> {
        let entries: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let names = key.cert.first().and_then(SubjectNames::parse).unwrap_or_default();
                Entry { key, names }
            })
            .collect();
        if entries.is_empty() { Err(TlsError::NoCertificate) } else { Ok(Self { entries }) }
    }
}

impl ResolvesServerCert for CertificateChoice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let [only] = self.entries.as_slice() {
            return Some(only.key.clone());
        }
        let usable = || self.entries.iter().filter(|e| e.key.key.choose_scheme(hello.signature_schemes()).is_some());
        let named = hello.server_name().and_then(|name| usable().find(|e| e.names.dns_matches(name)));
        named.or_else(|| usable().next()).map(|e| e.key.clone())
    }
}
