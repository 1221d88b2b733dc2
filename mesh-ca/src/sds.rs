//! Certificates and roots for Envoy: an SDS server (feature `sds`).
//!
//! | secret | what it holds |
//! |---|---|
//! | `default` | the workload's own certificate and key, as long as it is good |
//! | `ROOTCA` | the roots of the own trust domain |
//! | `ALL` | Envoy's SPIFFE validator (`envoy.tls.cert_validator.spiffe`) with the roots of the own and each federated trust domain, every one for its own ids |
//! | `spiffe://TRUST_DOMAIN` | the roots of that trust domain alone |
//! | `file-cert:CERTIFICATE~KEY` | a certificate and key from two files |
//! | `file-root:ROOTS` | roots from a file |
//!
//! The first two and the files are named as by Istio's agent, the others as by SPIRE's. A file secret has to be listed in
//! [`SdsConfig::files`]; its files are looked at again and again, and a pair that does not go together is not sent.
//! Secrets go to whoever asks, so the socket is the door: [`SdsServer::serve`] lets in its own user alone.
//!
//! Revocation lists go with the roots of a trust domain when each of its issuers has one: Envoy with lists refuses every
//! certificate whose issuer has none. The validator for `ALL` has no place for them.
//!
//! In the process of a [`RotatingCa`](crate::issuer::RotatingCa), [`SdsConfig::with_rotation`] makes Envoy's acknowledgements
//! the proof that a step of the root's rotation waits for.

mod acknowledged;
mod files;
mod secrets;
mod server;

pub use files::{FileSecret, FileSecretError};
pub use server::{SdsConfig, SdsServer};

/// Name of the own certificate.
pub const OWN: &str = "default";
/// Name of the own trust domain's roots.
pub const ROOTS: &str = "ROOTCA";
/// Name of the validator for all trust domains.
pub const ALL: &str = "ALL";
