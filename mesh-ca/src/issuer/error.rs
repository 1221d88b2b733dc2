//! [`IssueError`].

use super::csr::{CsrError, CsrKey};
use crate::spiffe::RuleBroken;

/// Why a certificate was not issued.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The signing request is not acceptable.
    #[error("signing request refused: {0}")]
    Csr(#[from] CsrError),
    /// The policy gives no certificates to such keys.
    #[error("the issuer's policy allows no certificate for a key of type {0}")]
    KeyNotAllowed(CsrKey),
    /// The id is of a trust domain that this issuer does not sign for.
    #[error("this issuer signs for trust domain {issuer}, not for {asked}")]
    TrustDomain {
        /// The issuer's trust domain.
        issuer: String,
        /// That of the request.
        asked: String,
    },
    /// A DNS name cannot stand in a certificate.
    #[error("not a DNS name: {0:?}")]
    DnsName(String),
    /// The issuer's own certificate is not valid now.
    #[error("the issuer's own certificate is expired or not valid yet; renew the CA")]
    SignerNotValid,
    /// The signature could not be made.
    #[error("signing failed: {0}")]
    Sign(String),
    /// What was signed does not verify; it was not handed out.
    #[error("the signed certificate did not pass verification and was withheld: {0}")]
    Verification(#[from] RuleBroken),
    /// What was signed is not what was asked for; it was not handed out.
    #[error("the signed certificate has another {0} than asked for and was withheld")]
    Mismatch(&'static str),
    /// A remote signer does not answer; trying again may help.
    #[error("signer is not available: {0}")]
    Unavailable(String),
}

impl IssueError {
    /// Whether the request itself was at fault: trying again with the same one is of no use.
    pub fn is_request_fault(&self) -> bool {
        matches!(self, Self::Csr(_) | Self::KeyNotAllowed(_) | Self::TrustDomain { .. } | Self::DnsName(_))
    }
}
