use std::{
    net::IpAddr,
    sync::{Arc, Weak},
};

use rustls::ServerConfig;

use super::{
    SecretStore, TlsError,
    choice::CertificateChoice,
    key_log::Logged,
    live::{Current, Live, Slots},
    provider::{certified_key, provider, versions},
    tickets::Sessions,
    verify::{ClientVerifier, PeerVerifier},
};
use crate::{
    hash::sha256,
    model::{SecretValue, ServerTls},
};

/// TLS toward clients that follows its secrets. Cheap to clone, shared by workers.
#[derive(Clone, Debug)]
pub struct ServerTlsHandle(Arc<Inner>);

/// Finds a handle again as long as somebody has it.
#[derive(Debug)]
pub(super) struct WeakServerTls(Weak<Inner>);

impl WeakServerTls {
    pub(super) fn upgrade(&self) -> Option<ServerTlsHandle> {
        self.0.upgrade().map(ServerTlsHandle)
    }
}

#[derive(Debug)]
struct Inner {
    config: Arc<ServerTls>,
    slots: Slots,
    live: Live<BuiltServer>,
}

/// A configuration and what must be known to tell about connections made with it.
#[derive(Debug)]
pub(crate) struct BuiltServer {
    rustls: Logged<ServerConfig>,
    pub(super) verifier: Arc<PeerVerifier>,
    pub(super) local_uris: Vec<String>,
}

impl BuiltServer {
    /// What rustls needs for a connection between these addresses.
    pub(crate) fn rustls(&self, local: Option<IpAddr>, remote: Option<IpAddr>) -> Arc<ServerConfig> {
        self.rustls.between(local, remote).clone()
    }
}

impl ServerTlsHandle {
    pub(super) fn new(config: &Arc<ServerTls>, secrets: &SecretStore) -> Self {
        let slots = Slots::new(&config.common, secrets).with_tickets(&config.resumption.tickets, secrets);
        Self(Arc::new(Inner { config: config.clone(), slots, live: Live::default() }))
    }

    pub(super) fn downgrade(&self) -> WeakServerTls {
        WeakServerTls(Arc::downgrade(&self.0))
    }

    /// The configuration for a connection accepted now, without a log of its secrets unless all connections have one.
    ///
    /// # Errors
    ///
    /// [`TlsError::NotReady`] while a secret is missing: the connection is to be closed, as Envoy does. Others when no
    /// good configuration was ever there.
    pub fn current(&self) -> Result<Arc<ServerConfig>, TlsError> {
        self.built().map(|built| built.rustls(None, None))
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
    let choice = CertificateChoice::new(keys)?;
    let local_uris = choice.first_uris().to_vec();
    let mut rustls = builder.with_cert_resolver(Arc::new(choice));
    rustls.alpn_protocols = common.alpn.clone();
    rustls.ignore_client_order = !config.prefer_client_ciphers;
    let clock = rustls.time_provider.clone();
    let sessions =
        Sessions::new(&config.resumption, secrets.ticket_keys.as_deref(), session_context(config, secrets), clock)?;
    rustls.session_storage = sessions.storage;
    match sessions.tickets {
        Some(tickets) => rustls.ticketer = tickets,
        None => rustls.send_tls13_tickets = 0,
    }
    let rustls = Logged::new(rustls, common.key_log.as_ref(), |config, log| config.key_log = log)?;
    Ok(BuiltServer { rustls, verifier, local_uris })
}

/// Tells configurations apart between which a session must not move: by what is asked of the client.
fn session_context(config: &ServerTls, secrets: &Current) -> [u8; 32] {
    let rules = config.common.validation.as_ref().map(|validation| &validation.rules);
    let mut asked = format!("{} {rules:?}", config.require_client_certificate).into_bytes();
    let validation = secrets.roots.as_ref().map(|secret| &secret.value);
    if let Some(SecretValue::Validation { roots, crls, rules }) = validation {
        asked.extend(format!("{rules:?}").into_bytes());
        for der in roots.iter().map(AsRef::<[u8]>::as_ref).chain(crls.iter().map(AsRef::as_ref)) {
            asked.extend(sha256(der));
        }
    }
    sha256(&asked)
}
