//! Verification of peers by SPIFFE id.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::policy::PeerPolicy;
use crate::spiffe::{BundleSource, Rule, RuleBroken, SpiffeId};

/// What both directions share.
#[derive(Clone)]
struct Verifier {
    bundles: Arc<dyn BundleSource>,
    policy: PeerPolicy,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let now: SystemTime = UNIX_EPOCH + std::time::Duration::from_secs(now.as_secs());
        let seen = self.bundles.bundles().verify(leaf, intermediates, now).map_err(to_rustls)?;
        if self.policy.allows(&seen.id) {
            return Ok(());
        }
        tracing::debug!(peer = %seen.id, "peer is not one that the policy allows");
        Err(CertificateError::Other(OtherError(Arc::new(NotAllowed(seen.id)))).into())
    }

    fn tls12(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn tls13(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// The peer is who it says, but not one to talk to.
#[derive(thiserror::Error)]
#[error("peer {0} is not allowed by the policy")]
struct NotAllowed(SpiffeId);

/// rustls shows causes of its errors by `Debug`.
impl fmt::Debug for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// rustls turns these into the alert that the peer gets; the rule stays readable where there is no exact match.
fn to_rustls(broken: RuleBroken) -> Error {
    tracing::debug!(%broken, "peer certificate refused");
    match broken.rule {
        Rule::Expired => CertificateError::Expired,
        Rule::NotYetValid => CertificateError::NotValidYet,
        Rule::TrustedRoot | Rule::TrustDomainKnown => CertificateError::UnknownIssuer,
        Rule::Signature => CertificateError::BadSignature,
        Rule::WellFormed => CertificateError::BadEncoding,
        Rule::Revoked => CertificateError::Revoked,
        _ => CertificateError::Other(OtherError(Arc::new(broken))),
    }
    .into()
}

/// Verifies servers by SPIFFE id. The server name that was dialled plays no part.
#[derive(Debug, Clone)]
pub struct SpiffeServerVerifier(Verifier);

impl SpiffeServerVerifier {
    /// Believes `bundles`, talks to those whom `policy` allows.
    pub fn new(bundles: Arc<dyn BundleSource>, policy: PeerPolicy, provider: Arc<CryptoProvider>) -> Self {
        Self(Verifier { bundles, policy, provider })
    }
}

impl ServerCertVerifier for SpiffeServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.verify(end_entity, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.schemes()
    }
}

/// Verifies clients by SPIFFE id. A certificate that is shown must be good, also where none is asked for.
#[derive(Debug, Clone)]
pub struct SpiffeClientVerifier {
    verifier: Verifier,
    mandatory: bool,
}

impl SpiffeClientVerifier {
    /// Believes `bundles`, talks to those whom `policy` allows; refuses clients without a certificate if `mandatory`.
    pub fn new(
        bundles: Arc<dyn BundleSource>,
        policy: PeerPolicy,
        mandatory: bool,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self { verifier: Verifier { bundles, policy, provider }, mandatory }
    }
}

impl ClientCertVerifier for SpiffeClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Names of roots help nobody here: a workload has one certificate.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verifier.verify(end_entity, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.schemes()
    }
}
