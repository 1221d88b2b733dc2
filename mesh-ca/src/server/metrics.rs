//! Counters of [`CertificateService`](super::CertificateService).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tonic::Code;

/// Counters that the service and its owner share.
#[derive(Debug, Default)]
pub struct ServiceMetrics {
    issued: AtomicU64,
    unauthenticated: AtomicU64,
    permission_denied: AtomicU64,
    invalid_argument: AtomicU64,
    resource_exhausted: AtomicU64,
    unavailable: AtomicU64,
    internal: AtomicU64,
}

/// The counters at one moment, each since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceMetricsSnapshot {
    /// Certificates issued (Istio: `citadel_server_success_cert_issuance_count`).
    pub issued: u64,
    /// Calls without a proof that holds (Istio: `citadel_server_authentication_failure_count`).
    pub unauthenticated: u64,
    /// Calls that asked for what the caller may not have.
    pub permission_denied: u64,
    /// Calls with a bad signing request (Istio: `citadel_server_csr_parsing_err_count`).
    pub invalid_argument: u64,
    /// Calls whose message was too large.
    pub resource_exhausted: u64,
    /// Calls that could not be judged or signed for a time.
    pub unavailable: u64,
    /// Calls that failed by our own fault (Istio: `citadel_server_csr_sign_err_count`).
    pub internal: u64,
}

impl ServiceMetrics {
    /// Reads all counters.
    pub fn snapshot(&self) -> ServiceMetricsSnapshot {
        ServiceMetricsSnapshot {
            issued: self.issued.load(Relaxed),
            unauthenticated: self.unauthenticated.load(Relaxed),
            permission_denied: self.permission_denied.load(Relaxed),
            invalid_argument: self.invalid_argument.load(Relaxed),
            resource_exhausted: self.resource_exhausted.load(Relaxed),
            unavailable: self.unavailable.load(Relaxed),
            internal: self.internal.load(Relaxed),
        }
    }

    pub(super) fn count_issued(&self) {
        self.issued.fetch_add(1, Relaxed);
    }

    pub(super) fn count_refused(&self, code: Code) {
        let counter = match code {
            Code::Unauthenticated => &self.unauthenticated,
            Code::PermissionDenied => &self.permission_denied,
            Code::InvalidArgument => &self.invalid_argument,
            Code::ResourceExhausted => &self.resource_exhausted,
            Code::Unavailable => &self.unavailable,
            _ => &self.internal,
        };
        counter.fetch_add(1, Relaxed);
    }
}
