use std::io;

use rustls::{CertificateError, OtherError};

use crate::stats::{Counter, Stats};

/// A TLS configuration could not be made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A secret has not arrived.
    #[error("secret {0:?} has not arrived")]
    NotReady(String),
    /// A secret holds something else than what it is used for.
    #[error("secret {name:?} does not hold a {wanted}")]
    WrongKind {
        /// Name of the secret.
        name: String,
        /// `certificate` or `validation context`.
        wanted: &'static str,
    },
    /// A chain without a certificate.
    #[error("the certificate chain of secret {0:?} is empty")]
    EmptyChain(String),
    /// The private key cannot be used, or does not belong to the certificate.
    #[error("private key of secret {name:?}: {source}")]
    Key {
        /// Name of the secret.
        name: String,
        /// rustls' reason.
        source: rustls::Error,
    },
    /// A root cannot be read.
    #[error("trusted root {index} of secret {name:?}: {reason}")]
    Root {
        /// Name of the secret.
        name: String,
        /// Position, from 0.
        index: usize,
        /// What is wrong.
        reason: String,
    },
    /// A revocation list cannot be read.
    #[error("revocation list {index} of secret {name:?}: {reason}")]
    Crl {
        /// Name of the secret.
        name: String,
        /// Position, from 0.
        index: usize,
        /// What is wrong.
        reason: String,
    },
    /// An unknown cipher suite.
    #[error("cipher suite {0:?} is not known; use OpenSSL's names, as ECDHE-ECDSA-AES128-GCM-SHA256")]
    CipherSuite(String),
    /// No cipher suite is left.
    #[error(
        "none of the configured TLS 1.2 cipher suites can be negotiated here; add an ECDHE suite with AES-GCM or ChaCha20"
    )]
    NoCipherSuite,
    /// An unknown group.
    #[error("key exchange group {0:?} is not known; use X25519, P-256, P-384 or X25519MLKEM768")]
    Group(String),
    /// The lowest version is above the highest.
    #[error("the lowest TLS version is above the highest")]
    Versions,
    /// Session ticket keys that cannot be used, or none at all.
    #[error("secret {0:?} holds no session ticket keys that can be used")]
    TicketKeys(String),
    /// The log of secrets cannot be opened.
    #[error("cannot open the key log {path}: {source}")]
    KeyLog {
        /// The file.
        path: String,
        /// What the system says.
        source: std::sync::Arc<io::Error>,
    },
    /// A server without a certificate.
    #[error("a server needs a certificate")]
    NoCertificate,
    /// rustls refused the configuration.
    #[error("TLS configuration: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Why a peer that sent a certificate was refused, beyond what chain verification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyFailure {
    /// No SAN matches.
    #[error("no subject alternative name of the certificate matches")]
    San,
    /// Neither the certificate's nor the key's hash is among the accepted ones.
    #[error("the certificate's hash is not among the accepted ones")]
    Hash,
    /// The certificate has no SPIFFE id, or it is in a trust domain that is not trusted.
    #[error("the certificate is in no trust domain that is trusted")]
    TrustDomain,
    /// The certificate is not that of a workload: it may sign others.
    #[error("the certificate is an authority's, not a workload's")]
    NoLeaf,
}

impl VerifyFailure {
    pub(super) fn into_rustls(self) -> rustls::Error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(std::sync::Arc::new(self))))
    }
}

/// Outcomes of handshakes, under Envoy's names.
#[derive(Debug)]
pub struct TlsStats {
    /// `handshake`: done.
    pub handshake: Counter,
    /// `session_reused`: of those, resumed.
    pub session_reused: Counter,
    /// `no_certificate`: of those, without a certificate of the peer.
    pub no_certificate: Counter,
    /// `connection_error`: failures other than of verification.
    pub connection_error: Counter,
    /// `fail_verify_error`: chains that did not verify.
    pub fail_verify_error: Counter,
    /// `fail_verify_no_cert`: a certificate was required and none came.
    pub fail_verify_no_cert: Counter,
    /// `fail_verify_san`: no SAN matched.
    pub fail_verify_san: Counter,
    /// `fail_verify_cert_hash`: no hash matched.
    pub fail_verify_cert_hash: Counter,
}

impl TlsStats {
    /// Handles below `prefix`, as `listener.0.0.0.0_443.ssl.` or `cluster.NAME.ssl.`.
    #[must_use]
    pub fn new(stats: &Stats, prefix: &str) -> Self {
        let counter = |name: &str| stats.counter(&format!("{prefix}{name}"));
        Self {
            handshake: counter("handshake"),
            session_reused: counter("session_reused"),
            no_certificate: counter("no_certificate"),
            connection_error: counter("connection_error"),
            fail_verify_error: counter("fail_verify_error"),
            fail_verify_no_cert: counter("fail_verify_no_cert"),
            fail_verify_san: counter("fail_verify_san"),
            fail_verify_cert_hash: counter("fail_verify_cert_hash"),
        }
    }

    /// Counts a handshake that was done.
    pub fn succeeded(&self, connection: &rustls::CommonState) {
        self.handshake.inc();
        if connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
            self.session_reused.inc();
        }
        if connection.peer_certificates().is_none_or(<[_]>::is_empty) {
            self.no_certificate.inc();
        }
    }

    /// Counts a handshake that failed.
    pub fn failed(&self, error: &io::Error) {
        let counter = match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::NoCertificatesPresented) => &self.fail_verify_no_cert,
            Some(rustls::Error::InvalidCertificate(reason)) => match verify_failure(reason) {
                Some(VerifyFailure::San) => &self.fail_verify_san,
                Some(VerifyFailure::Hash) => &self.fail_verify_cert_hash,
                Some(VerifyFailure::TrustDomain | VerifyFailure::NoLeaf) | None => &self.fail_verify_error,
            },
            _ => &self.connection_error,
        };
        counter.inc();
    }
}

/// Why a handshake failed, in words.
#[must_use]
pub fn failure_text(error: &io::Error) -> String {
    match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause)))) => {
            format!("certificate verify failed: {cause}")
        }
        Some(rustls::Error::InvalidCertificate(reason)) => format!("certificate verify failed: {reason}"),
        Some(other) => other.to_string(),
        None => error.to_string(),
    }
}

fn verify_failure(reason: &CertificateError) -> Option<VerifyFailure> {
    match reason {
        CertificateError::Other(OtherError(cause)) => cause.downcast_ref::<VerifyFailure>().copied(),
        _ => None,
    }
}
