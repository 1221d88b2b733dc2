//! Verification of peers as Envoy does it: chain, then names, then pins.

mod anchors;
mod sides;

use std::{collections::HashMap, sync::Arc};

use rustls::{CertificateError, DistinguishedName, crypto::WebPkiSupportedAlgorithms};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

pub(super) use self::{
    anchors::{Anchors, anchors},
    sides::{ClientVerifier, ServerVerifier},
};
use super::{TlsError, VerifyFailure, info::SubjectNames, spiffe};
use crate::{
    hash::sha256,
    model::{PeerRules, SanMatcher, SanType, Secret, StringMatcher, ValidationSource},
};

/// Verifies a peer.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    trust: Trust,
    rules: PeerRules,
    /// Names of the roots, for clients.
    subjects: Vec<DistinguishedName>,
    /// A client without certificate is refused.
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Whom chains must lead to.
#[derive(Debug)]
enum Trust {
    /// Chains are not verified.
    Nobody,
    /// One of these roots.
    Roots(Anchors),
    /// A root of the trust domain that the peer's id is in.
    Domains(HashMap<String, Anchors>),
}

impl PeerVerifier {
    /// `validation` with its roots as they are now; `None` accepts any certificate.
    pub(super) fn new(
        validation: Option<&ValidationSource>,
        roots: Option<&Secret>,
        mandatory: bool,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self, TlsError> {
        let own = validation.map(|v| v.rules.clone()).unwrap_or_default();
        let (shared, rules) = match roots {
            Some(secret) => {
                let (anchors, more) = anchors(secret)?;
                (Some(anchors), own.and(&more))
            }
            None => (None, own),
        };
        let trust = if rules.trust_domains.is_empty() {
            shared.map_or(Trust::Nobody, Trust::Roots)
        } else {
            let domains = rules.trust_domains.iter().map(|(domain, roots)| {
                let revoked = shared.as_ref().map(Anchors::crls).unwrap_or_default();
                Ok((domain.clone(), Anchors::new(domain, roots, revoked)?))
            });
            Trust::Domains(domains.collect::<Result<_, TlsError>>()?)
        };
        let subjects = match &trust {
            Trust::Roots(anchors) if !rules.hide_roots => anchors.subjects(),
            Trust::Domains(domains) if !rules.hide_roots => domains.values().flat_map(Anchors::subjects).collect(),
            _ => Vec::new(),
        };
        Ok(Self { trust, rules, subjects, mandatory, algorithms })
    }

    /// Whether the chain leads to a root and satisfies everything asked for. With `sni` a DNS SAN must be for it, instead
    /// of what the SAN matchers ask.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
        sni: Option<&str>,
    ) -> Result<(), rustls::Error> {
        let anchors = match &self.trust {
            Trust::Nobody => None,
            Trust::Roots(anchors) => Some(anchors),
            Trust::Domains(domains) => {
                let domain = spiffe::trust_domain(leaf)?;
                Some(domains.get(&domain).ok_or_else(|| VerifyFailure::TrustDomain.into_rustls())?)
            }
        };
        if let Some(anchors) = anchors {
            anchors.verify(&self.rules, self.algorithms, leaf, intermediates, now, usage)?;
        }
        if !self.names_match(leaf, sni)? {
            return Err(VerifyFailure::San.into_rustls());
        }
        if !self.pinned(leaf)? {
            return Err(VerifyFailure::Hash.into_rustls());
        }
        Ok(())
    }

    /// Whether a connection may go on although [`verify`](Self::verify) failed.
    pub(super) fn accepts_untrusted(&self) -> bool {
        self.rules.accept_untrusted
    }

    /// Whether anything is asked of the peer's certificate.
    pub(super) fn asks(&self) -> bool {
        !matches!(self.trust, Trust::Nobody)
            || !self.rules.sans.is_empty()
            || !self.rules.certificate_hashes.is_empty()
            || !self.rules.spki_hashes.is_empty()
    }

    fn names_match(&self, leaf: &CertificateDer<'_>, sni: Option<&str>) -> Result<bool, rustls::Error> {
        if sni.is_none() && self.rules.sans.is_empty() {
            return Ok(true);
        }
        let names = SubjectNames::parse(leaf).ok_or(CertificateError::BadEncoding)?;
        Ok(match sni {
            Some(name) => names.dns_matches(name),
            None => self.rules.sans.iter().any(|san| san_matches(san, &names)),
        })
    }

    fn pinned(&self, leaf: &CertificateDer<'_>) -> Result<bool, rustls::Error> {
        let (certificates, keys) = (&self.rules.certificate_hashes, &self.rules.spki_hashes);
        if (certificates.is_empty() && keys.is_empty()) || certificates.contains(&sha256(leaf)) {
            return Ok(true);
        }
        let end_entity = EndEntityCert::try_from(leaf).map_err(certificate_error)?;
        Ok(keys.contains(&sha256(end_entity.subject_public_key_info().as_ref())))
    }
}

fn san_matches(san: &SanMatcher, names: &SubjectNames) -> bool {
    let values = match san.san_type {
        SanType::Uri => &names.uris,
        SanType::Dns => &names.dns,
        SanType::Email => &names.emails,
        SanType::Ip => &names.ips,
        SanType::OtherName => {
            return names.others.iter().any(|(oid, value)| *oid == san.oid && san.matcher.matches(value));
        }
    };
    if values.iter().any(|value| san.matcher.matches(value)) {
        return true;
    }
    // An exact DNS matcher also accepts a certificate for `*.` its domain, as in Envoy.
    match &san.matcher {
        StringMatcher::Exact(name) | StringMatcher::ExactIgnoreCase(name) if san.san_type == SanType::Dns => {
            names.dns_matches(name)
        }
        _ => false,
    }
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
        E::CrlExpired { .. } => CertificateError::ExpiredRevocationList,
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => CertificateError::Other(rustls::OtherError(Arc::new(other))),
    };
    rustls::Error::InvalidCertificate(reason)
}
