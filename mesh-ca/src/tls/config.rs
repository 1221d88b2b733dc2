//! Builders of rustls configurations.

use std::{sync::Arc, time::UNIX_EPOCH};

use rustls::{
    ClientConfig, Error, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    server::NoServerSessionStorage,
    time_provider::TimeProvider,
};
use rustls_pki_types::UnixTime;

use super::{
    policy::PeerPolicy,
    resolver::SvidResolver,
    verifier::{SpiffeClientVerifier, SpiffeServerVerifier},
};
use crate::{agent::IdentityWatch, clock::Clock, fetch::WebRoots, spiffe::BundleSource};

/// Whether a server asks its clients for certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuth {
    /// No certificate, no connection.
    Required,
    /// A certificate is asked for and must be good if it is shown; without one, other proof may follow.
    Optional,
}

/// A server that shows `identity` and takes clients whom `policy` allows. TLS 1.2 and 1.3; sessions are not resumed, so
/// that each connection is verified against what is in force.
///
/// # Errors
/// When the crypto provider cannot do TLS 1.2 or 1.3, which aws-lc-rs can.
pub fn server_config(identity: &IdentityWatch, auth: ClientAuth, policy: PeerPolicy) -> Result<ServerConfig, Error> {
    server_config_trusting(identity, Arc::new(identity.clone()), auth, policy)
}

/// As [`server_config`], but clients are verified against `bundles` in place of those that the identity came with: those of
/// federated trust domains too, see [`FederatedSource`](crate::federation::FederatedSource), or those of a CA in the same
/// process ([`IssuerBundles`](crate::issuer::IssuerBundles)), which are in force at once, with its revocation lists.
///
/// # Errors
/// As [`server_config`].
pub fn server_config_trusting(
    identity: &IdentityWatch,
    bundles: Arc<dyn BundleSource>,
    auth: ClientAuth,
    policy: PeerPolicy,
) -> Result<ServerConfig, Error> {
    let provider = provider();
    let mandatory = auth == ClientAuth::Required;
    let verifier = SpiffeClientVerifier::new(bundles, policy, mandatory, Arc::clone(&provider));
    let mut config = ServerConfig::builder_with_details(provider, time(identity.clock()))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SvidResolver::new(identity.clone())));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// A client that shows `identity` and talks to servers whom `policy` allows. Sessions are not resumed.
///
/// # Errors
/// As [`server_config`].
pub fn client_config(identity: &IdentityWatch, policy: PeerPolicy) -> Result<ClientConfig, Error> {
    client_config_trusting(identity, Arc::new(identity.clone()), policy)
}

/// As [`client_config`], but servers are verified against `bundles`.
///
/// # Errors
/// As [`server_config`].
pub fn client_config_trusting(
    identity: &IdentityWatch,
    bundles: Arc<dyn BundleSource>,
    policy: PeerPolicy,
) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = SpiffeServerVerifier::new(bundles, policy, Arc::clone(&provider));
    let mut config = ClientConfig::builder_with_details(provider, time(identity.clock()))
        .with_safe_default_protocol_versions()?
        .dangerous() // our verifier replaces the one by DNS name
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SvidResolver::new(identity.clone())));
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// A client that shows no certificate and talks to servers whom `policy` allows.
///
/// # Errors
/// As [`server_config`].
pub fn client_config_without_identity(
    bundles: Arc<dyn BundleSource>,
    policy: PeerPolicy,
    clock: &Arc<dyn Clock>,
) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = SpiffeServerVerifier::new(bundles, policy, Arc::clone(&provider));
    let mut config = ClientConfig::builder_with_details(provider, time(clock))
        .with_safe_default_protocol_versions()?
        .dangerous() // our verifier replaces the one by DNS name
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// A server that shows `identity` to anybody and asks for no certificate: for documents that all may read.
///
/// # Errors
/// As [`server_config`].
pub fn server_config_without_client_auth(identity: &IdentityWatch) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_details(provider(), time(identity.clock()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SvidResolver::new(identity.clone())));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// A client of servers on the web: by DNS name, against public authorities (RFC 6125).
pub(crate) fn web_client_config(roots: &WebRoots, clock: &Arc<dyn Clock>) -> Result<ClientConfig, Error> {
    Ok(ClientConfig::builder_with_details(provider(), time(clock))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots.store())
        .with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn time(clock: &Arc<dyn Clock>) -> Arc<dyn TimeProvider> {
    Arc::new(ClockTime(Arc::clone(clock)))
}

/// Our clock for rustls.
#[derive(Debug)]
struct ClockTime(Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.now().wall.duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}
