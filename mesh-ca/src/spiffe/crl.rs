//! [`Crl`]: what a CA has taken back.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::{certificate::X509Certificate, prelude::FromDer, revocation_list::CertificateRevocationList};

/// Most bytes of one list. A list of 100 000 serial numbers has about 4 MB.
pub const MAX_CRL_BYTES: usize = 16 * 1024 * 1024;

/// Most lists in one PEM text.
const MAX_LISTS: usize = 64;

/// Why a revocation list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// More than [`MAX_CRL_BYTES`].
    #[error("revocation list has {0} bytes; at most {MAX_CRL_BYTES} are read")]
    TooLarge(usize),
    /// Not PEM, or no `X509 CRL` block in it.
    #[error("no revocation list in PEM (-----BEGIN X509 CRL-----): {0}")]
    Pem(String),
    /// More blocks than a trust domain can reasonably have.
    #[error("more than {MAX_LISTS} revocation lists")]
    TooMany,
    /// Not a list, or one of a kind that cannot be checked: version 1, delta lists, indirect ones, critical extensions that
    /// are not known (RFC 5280 sections 5.1 and 5.2).
    #[error("not a complete revocation list of version 2 (RFC 5280): {0}")]
    Unusable(String),
}

/// A certificate revocation list (RFC 5280 section 5), read and ready to be asked. Its signature is checked when a path is.
#[derive(Clone)]
pub struct Crl {
    der: CertificateRevocationListDer<'static>,
    parsed: Arc<CertRevocationList<'static>>,
    this_update: SystemTime,
    next_update: Option<SystemTime>,
    revoked: usize,
}

impl Crl {
    /// Reads DER bytes.
    ///
    /// # Errors
    /// See [`CrlError`].
    pub fn from_der(der: &[u8]) -> Result<Self, CrlError> {
        if der.len() > MAX_CRL_BYTES {
            return Err(CrlError::TooLarge(der.len()));
        }
        let parsed = OwnedCertRevocationList::from_der(der).map_err(|e| CrlError::Unusable(e.to_string()))?;
        let (_, facts) = CertificateRevocationList::from_der(der).map_err(|e| CrlError::Unusable(e.to_string()))?;
        let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Ok(Self {
            this_update: time(facts.last_update().timestamp()),
            next_update: facts.next_update().map(|t| time(t.timestamp())),
            revoked: facts.iter_revoked_certificates().count(),
            parsed: Arc::new(parsed.into()),
            der: CertificateRevocationListDer::from(der.to_vec()),
        })
    }

    /// Reads every `X509 CRL` block of a PEM text, in order.
    ///
    /// # Errors
    /// See [`CrlError`]; a text without a list is refused too.
    pub fn all_from_pem(pem: &[u8]) -> Result<Vec<Self>, CrlError> {
        let mut found = Vec::new();
        for block in CertificateRevocationListDer::pem_slice_iter(pem) {
            if found.len() == MAX_LISTS {
                return Err(CrlError::TooMany);
            }
            found.push(Self::from_der(&block.map_err(|e| CrlError::Pem(e.to_string()))?)?);
        }
        if found.is_empty() { Err(CrlError::Pem("there is none".into())) } else { Ok(found) }
    }

    /// The list itself.
    pub fn der(&self) -> &CertificateRevocationListDer<'static> {
        &self.der
    }

    /// The list as PEM.
    pub fn to_pem(&self) -> String {
        super::pem::block("X509 CRL", &self.der).as_str().to_owned()
    }

    /// When it was made.
    pub fn this_update(&self) -> SystemTime {
        self.this_update
    }

    /// When the next one was promised. A list that is older than that is still asked: what it takes back stays taken back.
    pub fn next_update(&self) -> Option<SystemTime> {
        self.next_update
    }

    /// Whether this issuer has signed it.
    pub fn is_signed_by(&self, issuer: &CertificateDer<'_>) -> bool {
        let Ok((_, list)) = CertificateRevocationList::from_der(&self.der) else { return false };
        let Ok((_, issuer)) = X509Certificate::from_der(issuer) else { return false };
        list.issuer().as_raw() == issuer.subject().as_raw() && list.verify_signature(issuer.public_key()).is_ok()
    }

    /// How many certificates it takes back.
    pub fn revoked(&self) -> usize {
        self.revoked
    }

    pub(super) fn parsed(&self) -> &CertRevocationList<'static> {
        &self.parsed
    }
}

impl PartialEq for Crl {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Crl {}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crl")
            .field("this_update", &self.this_update)
            .field("next_update", &self.next_update)
            .field("revoked", &self.revoked)
            .finish_non_exhaustive()
    }
}
