//! The issuing server: Istio's `istio.v1.auth.IstioCertificateService` as a tonic service.
//!
//! [`CertificateService`] is put into any tonic router. What TLS found out about the peer reaches it as a request
//! extension: [`PeerInfo`], which [`tls_incoming`] provides by itself and other acceptors insert.

mod certificate_server;
mod incoming;
mod metrics;
mod service;

pub use certificate_server::CertificateServer;
pub use incoming::{IncomingLimits, PeerCertificates, PeerInfo, PeerStream, tls_incoming, tls_incoming_renewing};
pub use metrics::{ServiceMetrics, ServiceMetricsSnapshot};
pub(crate) use service::IMPERSONATION;
pub use service::{CertificateService, MAX_REQUEST_BYTES};
