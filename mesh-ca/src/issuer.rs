//! Issuing: template → sign → verify what was signed.
//!
//! [`CertIssuer`] is the seam: [`SelfSigned`] keeps a root of its own in a [`CaStore`], [`RotatingCa`] changes it under way and
//! takes certificates back, [`PluggedIn`] signs with an intermediate that somebody else made and put into a folder,
//! [`RemoteIssuer`] has another CA sign; anyone else's issuer implements the same trait and can run the same conformance suite
//! (`issuer::conformance`, feature `test-util`).
//!
//! An issuer does not know who asks: it is told the id. Who may have which id is the business of
//! [`Authenticator`](crate::authn::Authenticator).

mod authority;
#[cfg(feature = "test-util")]
pub mod conformance;
mod csr;
mod error;
pub(crate) mod jws;
mod jwt;
pub mod keys;
mod plugged_in;
mod policy;
pub mod records;
mod remote;
pub mod revocation;
pub mod rotation;
mod self_signed;
pub mod store;
mod template;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;

use crate::spiffe::{BundleSource, SpiffeId, TrustBundle, TrustBundles, certificates_to_pem};

pub(crate) use csr::shown;
pub use csr::{Csr, CsrError, CsrKey, MAX_CSR_BYTES};
pub use error::IssueError;
pub use jwt::{
    IssueJwtError, JwtIssuer, JwtRequest, JwtRotationConfig, JwtSigner, JwtSignerConfig, JwtSignerError,
    JwtSupervision, MAX_AUDIENCES, RotatingJwtSigner,
};
pub use keys::{DirectoryKeyStore, KeyName, KeyStore, KeyStoreError, MemoryKeyStore};
pub use plugged_in::{CaFile, PluggedIn, PluggedInConfig, PluggedInError, PluggedInStatus, PluggedInWatch, Reload};
pub use policy::{IssuancePolicy, KeyPolicy};
pub use records::{DirectoryRecords, IssuedRecord, IssuedRecords};
pub use remote::{RemoteIssuer, RemoteIssuerConfig};
pub use revocation::{MAX_REVOKED, RevocationReason, RevocationReasonError, Revoked};
pub use rotation::{RootKeys, RootRotationConfig, RotatingCa, RotatingCaConfig, RotatingCaError};
pub use self_signed::{SelfSigned, SelfSignedConfig, SelfSignedError};
pub use store::{CaStore, DirectoryStore, StoreError, StoreItem, StoreLock};

/// What an issuer is asked for. The asker has been authenticated as `id` already.
#[derive(Debug, Clone)]
pub struct IssueRequest {
    /// The signing request: its key is used, its names are only compared.
    pub csr: Csr,
    /// The identity to put into the certificate.
    pub id: SpiffeId,
    /// DNS names to put into the certificate besides the id; for serving certificates, empty for workloads.
    pub dns_names: Vec<String>,
    /// The wished lifetime. `None` means the issuer's default; more than the issuer allows is cut.
    pub lifetime: Option<Duration>,
}

/// A certificate that was signed and then verified.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IssuedCertificate {
    /// Leaf first, then the intermediates, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The root that the chain ends at.
    pub root: CertificateDer<'static>,
    /// All roots that the issuer's peers believe, at the time of signing; more than one while roots are being changed.
    pub roots: Vec<CertificateDer<'static>>,
    /// Who it speaks for.
    pub id: SpiffeId,
    /// The leaf's serial number, hexadecimal.
    pub serial: String,
    /// Start of validity.
    pub not_before: SystemTime,
    /// End of validity.
    pub not_after: SystemTime,
}

impl IssuedCertificate {
    /// Each certificate as PEM: leaf, intermediates, and as the last text the roots, all of them. That is what Istio's CSR API
    /// answers, whose last element is the content of `root-cert.pem`.
    pub fn pem_with_root(&self) -> Vec<String> {
        let chain = self.chain.iter().map(|c| certificates_to_pem([c]));
        chain.chain([certificates_to_pem(&self.roots)]).collect()
    }
}

/// Signs certificates for identities of one trust domain.
///
/// # Contract
/// - `issue` uses nothing of the CSR but its public key, whose possession [`Csr`] has proven. It refuses a CSR that asks
///   for a name which the request does not grant, or for the CA bit.
/// - What comes back keeps the profile of X509-SVID.md, verifies against `trust_bundle` at the time of the call, starts
///   early enough for peers with a late clock, and ends no later than the issuer's policy and its own certificate allow.
/// - Serial numbers come from a random source and never repeat.
/// - `issue` may wait for a remote signer. It is cancel safe: a dropped future leaves at most a certificate that nobody got.
/// - `trust_bundle`, `begins` and `expires` return at once.
#[async_trait]
pub trait CertIssuer: fmt::Debug + Send + Sync {
    /// Signs one certificate.
    ///
    /// # Errors
    /// [`IssueError`] tells whose fault it was, see [`IssueError::is_request_fault`].
    async fn issue(&self, request: IssueRequest) -> Result<IssuedCertificate, IssueError>;

    /// The roots that verify what this issuer signs.
    fn trust_bundle(&self) -> Arc<TrustBundle>;

    /// When the issuer's own certificate began, or the last one of its chain did.
    fn begins(&self) -> SystemTime;

    /// When the issuer's own certificate ends. Nothing it signs lives longer.
    fn expires(&self) -> SystemTime;
}

/// Whom the workloads of an issuer in this process believe, with its revocation lists, as it is at each moment.
#[derive(Debug, Clone)]
pub struct IssuerBundles(pub Arc<dyn CertIssuer>);

impl BundleSource for IssuerBundles {
    fn bundles(&self) -> Arc<TrustBundles> {
        Arc::new(TrustBundles::from(TrustBundle::clone(&self.0.trust_bundle())))
    }
}
