//! Peers by SPIFFE trust domain (`envoy.tls.cert_validator.spiffe`; SPIFFE's X509-SVID, sections 4 and 5.2).

use rustls::CertificateError;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{VerifyFailure, info::SubjectNames};

/// The trust domain that a peer's leaf claims to be in.
///
/// # Errors
/// It is no leaf: an authority, or able to sign certificates or revocation lists; or it has no SPIFFE id.
pub(super) fn trust_domain(leaf: &CertificateDer<'_>) -> Result<String, rustls::Error> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
    let signs = match certificate.key_usage() {
        Ok(usage) => usage.is_some_and(|usage| usage.value.key_cert_sign() || usage.value.crl_sign()),
        Err(_) => return Err(CertificateError::BadEncoding.into()),
    };
    if certificate.is_ca() || signs {
        return Err(VerifyFailure::NoLeaf.into_rustls());
    }
    let names = SubjectNames::of(&certificate);
    let domain = names.uris.iter().find_map(|uri| domain_of(uri));
    domain.map(str::to_owned).ok_or_else(|| VerifyFailure::TrustDomain.into_rustls())
}

fn domain_of(uri: &str) -> Option<&str> {
    let rest = uri.strip_prefix("spiffe://")?;
    let domain = rest.split_once('/').map_or(rest, |(domain, _)| domain);
    (!domain.is_empty()).then_some(domain)
}
