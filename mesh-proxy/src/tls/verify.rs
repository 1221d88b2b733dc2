use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{CertRevocationList, EndEntityCert, KeyUsage, OwnedCertRevocationList, RevocationOptionsBuilder};

use super::{TlsError, VerifyFailure, info::SubjectNames};
use crate::model::{SanMatcher, SanType, Secret, SecretValue, ValidationSource};

/// Trust anchors of a validation secret.
#[derive(Debug)]
pub(super) struct Anchors {
    roots: Vec<TrustAnchor<'static>>,
    subjects: Vec<DistinguishedName>,
    crls: Vec<CertRevocationList<'static>>,
    sans: Arc<[SanMatcher]>,
}

/// Reads roots and revocation lists.
pub(super) fn anchors(secret: &Secret) -> Result<Anchors, TlsError> {
    let name = || secret.name.clone();
    let SecretValue::Validation { roots, crls, sans } = &secret.value else {
        return Err(TlsError::WrongKind { name: name(), wanted: "validation context" });
    };
    let roots: Vec<_> = roots
        .iter()
        .enumerate()
        .map(|(index, der)| {
            let anchor = webpki::anchor_from_trusted_cert(der).map(|anchor| anchor.to_owned());
            anchor.map_err(|e| TlsError::Root { name: name(), index, reason: e.to_string() })
        })
        .collect::<Result<_, _>>()?;
    let crls = crls
        .iter()
        .enumerate()
        .map(|(index, der)| {
            let crl = OwnedCertRevocationList::from_der(der.as_ref());
            crl.map(Into::into).map_err(|e| TlsError::Crl { name: name(), index, reason: e.to_string() })
        })
        .collect::<Result<_, _>>()?;
    let subjects = roots.iter().map(|root| DistinguishedName::in_sequence(root.subject.as_ref())).collect();
    Ok(Anchors { roots, subjects, crls, sans: sans.clone() })
}

/// Verifies a peer as Envoy does: chain, then SAN matchers, then pins.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    /// `None`: the chain is not verified.
    anchors: Option<Anchors>,
    sans: Vec<SanMatcher>,
    certificate_hashes: Vec<[u8; 32]>,
    spki_hashes: Vec<[u8; 32]>,
    accept_untrusted: bool,
    /// A client without certificate is refused.
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PeerVerifier {
    /// `validation` with its roots as they are now; `None` accepts any certificate.
    pub(super) fn new(
        validation: Option<&ValidationSource>,
        roots: Option<&Secret>,
        mandatory: bool,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self, TlsError> {
        let anchors = roots.map(anchors).transpose()?;
        let mut sans: Vec<_> = validation.map(|v| v.sans.clone()).unwrap_or_default();
        sans.extend(anchors.iter().flat_map(|a| a.sans.iter().cloned()));
        Ok(Self {
            anchors,
            sans,
            certificate_hashes: validation.map(|v| v.certificate_hashes.clone()).unwrap_or_default(),
            spki_hashes: validation.map(|v| v.spki_hashes.clone()).unwrap_or_default(),
            accept_untrusted: validation.is_some_and(|v| v.accept_untrusted),
            mandatory,
            algorithms,
        })
    }

    /// Whether the chain leads to a root and satisfies everything asked for.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), rustls::Error> {
        if let Some(anchors) = &self.anchors {
            self.verify_chain(anchors, leaf, intermediates, now, usage)?;
        }
        if !self.sans.is_empty() && !self.san_matches(leaf)? {
            return Err(VerifyFailure::San.into_rustls());
        }
        if (!self.certificate_hashes.is_empty() || !self.spki_hashes.is_empty()) && !self.pinned(leaf)? {
            return Err(VerifyFailure::Hash.into_rustls());
        }
        Ok(())
    }

    /// Whether a connection may go on although [`verify`](Self::verify) failed.
    pub(super) fn accepts_untrusted(&self) -> bool {
        self.accept_untrusted
    }

    /// Whether anything is asked of the peer's certificate.
    pub(super) fn asks(&self) -> bool {
        self.anchors.is_some()
            || !self.sans.is_empty()
            || !self.certificate_hashes.is_empty()
            || !self.spki_hashes.is_empty()
    }

    fn verify_chain(
        &self,
        anchors: &Anchors,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), rustls::Error> {
        let end_entity = EndEntityCert::try_from(leaf).map_err(certificate_error)?;
        let crls: Vec<&CertRevocationList<'_>> = anchors.crls.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&crls).ok().map(RevocationOptionsBuilder::build);
        end_entity
            .verify_for_usage(self.algorithms.all, &anchors.roots, intermediates, now, usage, revocation, None)
            .map(drop)
            .map_err(certificate_error)
    }

    fn san_matches(&self, leaf: &CertificateDer<'_>) -> Result<bool, rustls::Error> {
        let names = SubjectNames::parse(leaf).ok_or(CertificateError::BadEncoding)?;
        Ok(self.sans.iter().any(|san| {
            let values = match san.san_type {
                SanType::Uri => &names.uris,
                SanType::Dns => &names.dns,
                SanType::Email => &names.emails,
                SanType::Ip => &names.ips,
            };
            let dns = san.san_type == SanType::Dns;
            values.iter().any(|value| san.matcher.matches(value) || (dns && wildcard_matches(san, value)))
        }))
    }

    fn pinned(&self, leaf: &CertificateDer<'_>) -> Result<bool, rustls::Error> {
        let hash = sha256(leaf);
        if self.certificate_hashes.contains(&hash) {
            return Ok(true);
        }
        let end_entity = EndEntityCert::try_from(leaf).map_err(certificate_error)?;
        Ok(self.spki_hashes.contains(&sha256(end_entity.subject_public_key_info().as_ref())))
    }

    fn accept(&self, result: Result<(), rustls::Error>) -> Result<(), rustls::Error> {
        if self.accept_untrusted { Ok(()) } else { result }
    }
}

/// An exact DNS matcher also accepts a certificate for `*.` its domain, as in Envoy.
fn wildcard_matches(san: &SanMatcher, pattern: &str) -> bool {
    let (crate::model::StringMatcher::Exact(name) | crate::model::StringMatcher::ExactIgnoreCase(name)) = &san.matcher
    else {
        return false;
    };
    let Some(domain) = pattern.strip_prefix("*.") else { return pattern.eq_ignore_ascii_case(name) };
    name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain))
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// webpki's reasons as rustls', so that the right alert is sent.
fn certificate_error(error: webpki::Error) -> rustls::Error {
    use webpki::Error as E;
    let reason = match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::CertNotValidYet { .. } => CertificateError::NotValidYet,
        E::CertExpired { .. } => CertificateError::Expired,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::CertRevoked => CertificateError::Revoked,
        E::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => CertificateError::Other(rustls::OtherError(Arc::new(other))),
    };
    rustls::Error::InvalidCertificate(reason)
}

/// [`PeerVerifier`] for the side that receives a server's certificate.
#[derive(Debug)]
pub(super) struct ServerVerifier(pub(super) Arc<PeerVerifier>);

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0.accept(self.0.verify(end_entity, intermediates, now, KeyUsage::server_auth()))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.algorithms.supported_schemes()
    }
}

/// [`PeerVerifier`] for the side that receives a client's certificate.
#[derive(Debug)]
pub(super) struct ClientVerifier(pub(super) Arc<PeerVerifier>);

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.anchors.as_ref().map_or(&[], |anchors| &anchors.subjects)
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.mandatory
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.accept(self.0.verify(end_entity, intermediates, now, KeyUsage::client_auth()))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.algorithms.supported_schemes()
    }
}
