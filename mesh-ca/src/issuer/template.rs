//! Templates: what a certificate will say, decided before a key is touched.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType, SerialNumber,
};
use time::OffsetDateTime;

use super::error::IssueError;
use crate::spiffe::{SpiffeId, TrustDomain};

/// 9999-12-31T23:59:59Z, the last moment that X.509 can say (RFC 5280 section 4.1.2.5).
const END_OF_TIME: u64 = 253_402_300_799;

/// The span of a certificate in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Validity {
    /// From `now - backdate` to `now + lifetime`, both cut to what X.509 can say and to whole seconds.
    pub(super) fn new(now: SystemTime, backdate: Duration, lifetime: Duration) -> Self {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = now.saturating_sub(backdate).as_secs().min(END_OF_TIME);
        let end = now.saturating_add(lifetime).as_secs().min(END_OF_TIME);
        Self { not_before: at(start), not_after: at(end) }
    }

    /// Cut to lie within that of the signer.
    pub(super) fn within(self, signer: Self) -> Self {
        Self { not_before: self.not_before.max(signer.not_before), not_after: self.not_after.min(signer.not_after) }
    }

    fn apply(self, params: &mut CertificateParams) {
        // Both ends lie between 1970 and 9999, which OffsetDateTime covers.
        params.not_before = OffsetDateTime::from(self.not_before);
        params.not_after = OffsetDateTime::from(self.not_after);
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The template of an X.509-SVID leaf (X509-SVID.md appendix A). The subject is empty, so the SAN is critical.
pub(super) fn leaf(
    id: &SpiffeId,
    dns_names: &[String],
    rsa: bool,
    validity: Validity,
) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names.push(uri(id.as_str())?);
    for name in dns_names {
        params.subject_alt_names.push(dns(name)?);
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    if rsa {
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial()?);
    validity.apply(&mut params);
    Ok(params)
}

/// The template of a self-signed root that carries its trust domain's id (X509-SVID.md section 3.2).
///
/// Roots of different generations have different names: revocation lists are found by the name of their issuer.
pub(super) fn root(
    trust_domain: &TrustDomain,
    generation: u64,
    validity: Validity,
) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, trust_domain.as_str());
    let name = if generation == 1 { "mesh root".into() } else { format!("mesh root {generation}") };
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names.push(uri(&trust_domain.id())?);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial()?);
    validity.apply(&mut params);
    Ok(params)
}

fn uri(text: &str) -> Result<SanType, IssueError> {
    text.try_into().map(SanType::URI).map_err(|e: rcgen::Error| IssueError::Sign(e.to_string()))
}

fn dns(name: &str) -> Result<SanType, IssueError> {
    let refused = || IssueError::DnsName(name.to_owned());
    // A wildcard is a DNS name with a star for its first label.
    let plain = name.strip_prefix("*.").unwrap_or(name);
    rustls_pki_types::DnsName::try_from(plain).map_err(|_| refused())?;
    name.try_into().map(SanType::DnsName).map_err(|_| refused())
}

/// 127 random bits: positive, never zero, 16 bytes in DER (RFC 5280 section 4.1.2.2).
fn serial() -> Result<SerialNumber, IssueError> {
    let mut bytes = [0u8; 16];
    rand::fill(&mut bytes).map_err(|_| IssueError::Sign("no random numbers".into()))?;
    // First byte between 0x40 and 0x7f: no sign bit, no leading zero.
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{END_OF_TIME, Validity, at, dns, serial};

    #[test]
    fn validity_stays_within_what_x509_can_say() {
        let early = Validity::new(UNIX_EPOCH, Duration::from_secs(120), Duration::MAX);
        assert_eq!(early.not_before, UNIX_EPOCH);
        assert_eq!(early.not_after, at(END_OF_TIME));
        let inner = Validity::new(at(1000), Duration::ZERO, Duration::from_secs(5000));
        let outer = Validity { not_before: at(1500), not_after: at(2000) };
        assert_eq!(inner.within(outer), outer);
    }

    #[test]
    fn serials_are_long_and_positive() {
        let a = serial().unwrap().to_bytes();
        assert_eq!(a.len(), 16);
        assert!((0x40..0x80).contains(&a[0]));
        assert_ne!(a, serial().unwrap().to_bytes());
    }

    #[test]
    fn dns_names_are_checked() {
        for good in ["istiod.istio-system.svc", "*.example.com", "localhost"] {
            assert!(dns(good).is_ok(), "{good}");
        }
        for bad in ["", "*", "a b", "é.com", "a..b", "https://x"] {
            assert!(dns(bad).is_err(), "{bad}");
        }
    }
}
