//! Certificates as PEM text, both ways (RFC 7468).

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use zeroize::Zeroizing;

/// Most certificates that one PEM text may hold: a bundle of many federated roots fits, a flood does not.
const MAX_CERTIFICATES: usize = 1024;

/// Why a text is not a list of PEM certificates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// A block is cut short, mislabelled or not base64.
    #[error("not well-formed PEM: {0}")]
    Malformed(String),
    /// No block with the label `CERTIFICATE`.
    #[error("no CERTIFICATE block found; expected PEM text with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// More blocks than a bundle can reasonably hold.
    #[error("more than {MAX_CERTIFICATES} certificates")]
    TooMany,
}

/// Reads every `CERTIFICATE` block, in order. Other blocks and text between blocks are passed over, as OpenSSL does.
///
/// # Errors
/// When a block is malformed, when there is none, or when there are too many.
pub fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let mut found = Vec::new();
    for block in CertificateDer::pem_slice_iter(pem) {
        if found.len() == MAX_CERTIFICATES {
            return Err(PemError::TooMany);
        }
        found.push(block.map_err(|e| PemError::Malformed(e.to_string()))?);
    }
    if found.is_empty() { Err(PemError::NoCertificate) } else { Ok(found) }
}

/// Writes certificates as PEM, one block after the other.
pub fn certificates_to_pem<'a, 'd: 'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'d>>) -> String {
    certificates.into_iter().map(|c| block("CERTIFICATE", c).as_str().to_owned()).collect()
}

/// One PEM block with lines of 64 characters. Wiped on drop, since it may hold a key.
pub(crate) fn block(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut out = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40));
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII, so every index is a character boundary.
        let (line, tail) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}
