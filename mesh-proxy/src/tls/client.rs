use std::{net::IpAddr, sync::Arc};

use rustls::{
    ClientConfig,
    client::{ResolvesClientCert, Resumption},
    sign::CertifiedKey,
};
use rustls_pki_types::ServerName;

use super::{
    SecretStore, TlsError,
    info::SubjectNames,
    key_log::Logged,
    live::{Current, Live, Slots},
    provider::{certified_key, provider, versions},
    verify::{PeerVerifier, ServerVerifier},
};
use crate::model::ClientTls;

/// Most servers whose sessions are kept, whatever is configured.
const MOST_SESSIONS: u32 = 4096;

/// TLS toward upstreams that follows its secrets. Cheap to clone, shared by workers.
#[derive(Clone, Debug)]
pub struct ClientTlsHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<ClientTls>,
    slots: Slots,
    /// By [`Alpn`].
    live: [Live<BuiltClient>; 4],
}

/// Protocols offered where the TLS context names none: those that the connection is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Alpn {
    /// No ALPN: raw TCP.
    None,
    /// `http/1.1`.
    Http1,
    /// `h2`.
    Http2,
    /// `h2`, then `http/1.1`.
    Auto,
}

/// A configuration and what must be known to tell about connections made with it.
#[derive(Debug)]
pub(crate) struct BuiltClient {
    rustls: Logged<ClientConfig>,
    pub(super) verifier: Arc<PeerVerifier>,
    pub(super) local_uris: Vec<String>,
}

impl BuiltClient {
    /// What rustls needs for a connection between these addresses.
    pub(crate) fn rustls(&self, local: Option<IpAddr>, remote: Option<IpAddr>) -> Arc<ClientConfig> {
        self.rustls.between(local, remote).clone()
    }
}

impl ClientTlsHandle {
    /// Follows the secrets that `config` names.
    #[must_use]
    pub fn new(config: &Arc<ClientTls>, secrets: &SecretStore) -> Self {
        let slots = Slots::new(&config.common, secrets);
        Self(Arc::new(Inner { config: config.clone(), slots, live: Default::default() }))
    }

    /// The configuration for a connection made now. `alpn` counts only if the context names no protocols.
    pub(crate) fn built(&self, alpn: Alpn) -> Result<Arc<BuiltClient>, TlsError> {
        let inner = &*self.0;
        inner.live[alpn as usize].current(&inner.slots, |secrets| build(&inner.config, &secrets, alpn))
    }

    /// Name given to rustls. It is sent as SNI only if it is a DNS name; the verifier does not look at it.
    pub(crate) fn server_name(&self, hostname: &str) -> ServerName<'static> {
        let config = &self.0.config;
        let name = if config.auto_host_sni && !hostname.is_empty() { hostname } else { config.sni.as_str() };
        // A name that is no DNS name cannot be SNI (RFC 6066 section 3); an address stands for "no name".
        ServerName::try_from(name.to_owned())
            .unwrap_or(ServerName::IpAddress(rustls_pki_types::IpAddr::V4([0, 0, 0, 0].into())))
    }
}

fn build(config: &ClientTls, secrets: &Current, alpn: Alpn) -> Result<BuiltClient, TlsError> {
    let common = &config.common;
    let provider = provider(common)?;
    let algorithms = provider.signature_verification_algorithms;
    let verifier =
        PeerVerifier::new(common.validation.as_ref(), secrets.roots.as_deref(), true, algorithms).map(Arc::new)?;
    let keys: Vec<_> = secrets.certificates.iter().map(|s| certified_key(s).map(Arc::new)).collect::<Result<_, _>>()?;
    let own = keys.first().and_then(|key| key.cert.first()).and_then(SubjectNames::parse);
    let versions = versions(common)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerVerifier {
            peer: verifier.clone(),
            named: config.auto_sni_san,
        }));
    let mut rustls = if keys.is_empty() {
        builder.with_no_client_auth()
    } else {
        builder.with_client_cert_resolver(Arc::new(OwnCertificates(keys)))
    };
    rustls.alpn_protocols = match alpn {
        _ if !common.alpn.is_empty() => common.alpn.clone(),
        Alpn::None => Vec::new(),
        Alpn::Http1 => vec![b"http/1.1".to_vec()],
        Alpn::Http2 => vec![b"h2".to_vec()],
        Alpn::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    match config.max_session_keys {
        Some(0) => rustls.resumption = Resumption::disabled(),
        Some(servers) => rustls.resumption = Resumption::in_memory_sessions(servers.min(MOST_SESSIONS) as usize),
        None => {}
    }
    let rustls = Logged::new(rustls, common.key_log.as_ref(), |config, log| config.key_log = log)?;
    Ok(BuiltClient { rustls, verifier, local_uris: own.map(|n| n.uris).unwrap_or_default() })
}

/// Presents the first own certificate that the server can verify.
#[derive(Debug)]
struct OwnCertificates(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for OwnCertificates {
    fn resolve(&self, _hints: &[&[u8]], schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.iter().find(|key| key.key.choose_scheme(schemes).is_some()).cloned()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
