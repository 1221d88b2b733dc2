//! [`CertSource`]: where certificates come from, as a workload sees it.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;

use crate::{
    issuer::{CertIssuer, Csr, IssueError, IssueRequest},
    spiffe::{SpiffeId, TrustBundles, X509Svid},
};

/// What a source is asked for. The private key stays with the asker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CertRequest {
    /// The signing request, PEM.
    pub csr_pem: String,
    /// The identity asked for.
    pub id: SpiffeId,
    /// DNS names asked for.
    pub dns_names: Vec<String>,
    /// The wished lifetime; `None` means the CA's default.
    pub lifetime: Option<Duration>,
    /// The certificate held so far, if it is still good: it can prove who asks.
    pub current: Option<Arc<X509Svid>>,
    /// Whom to believe when talking to the CA.
    pub bundles: Arc<TrustBundles>,
}

impl CertRequest {
    /// A request without DNS names, wishes or an older certificate.
    pub fn new(csr_pem: impl Into<String>, id: SpiffeId, bundles: Arc<TrustBundles>) -> Self {
        Self { csr_pem: csr_pem.into(), id, dns_names: Vec::new(), lifetime: None, current: None, bundles }
    }
}

/// What a source gives. The caller verifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchedCertificate {
    /// Leaf first, then intermediates, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// Roots of the trust domain; may be empty when the caller has them by other ways.
    pub roots: Vec<CertificateDer<'static>>,
}

impl FetchedCertificate {
    /// A chain and roots.
    pub fn new(chain: Vec<CertificateDer<'static>>, roots: Vec<CertificateDer<'static>>) -> Self {
        Self { chain, roots }
    }
}

/// Why no certificate came. Texts hold no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The CA could not be reached; it may be back soon.
    #[error("CA cannot be reached: {0}")]
    Unreachable(String),
    /// The CA said no.
    #[error("CA refused: {0}")]
    Refused(String),
    /// What came back is of no use.
    #[error("CA answered with something unusable: {0}")]
    Unusable(String),
    /// What we prove ourselves with cannot be read.
    #[error("credential cannot be used: {0}")]
    Credential(String),
}

/// Gets a certificate for a key.
///
/// # Contract
/// - One call, one try: retries and pauses are the caller's. It may wait for the network; the caller bounds the wait by
///   dropping the future, so it must be cancel safe.
/// - It does not see the private key, and does not need to check what comes back: the caller does.
///
/// Ready-made: [`IssuerSource`] (an issuer in this process), [`RemoteCa`](super::RemoteCa) (Istio's CSR API). Anyone's can
/// run `agent::conformance`; `FlakySource` is a double that fails by plan (both with feature `test-util`).
#[async_trait]
pub trait CertSource: fmt::Debug + Send + Sync {
    /// Fetches one certificate.
    ///
    /// # Errors
    /// See [`SourceError`]; all of them are worth another try later.
    async fn fetch(&self, request: &CertRequest) -> Result<FetchedCertificate, SourceError>;
}

/// An issuer in the same process: for the control plane's own serving certificate.
#[derive(Debug, Clone)]
pub struct IssuerSource {
    issuer: Arc<dyn CertIssuer>,
}

impl IssuerSource {
    /// Certificates of `issuer`, for whatever id is asked: it trusts its process.
    pub fn new(issuer: Arc<dyn CertIssuer>) -> Self {
        Self { issuer }
    }
}

#[async_trait]
impl CertSource for IssuerSource {
    async fn fetch(&self, request: &CertRequest) -> Result<FetchedCertificate, SourceError> {
        let csr = Csr::from_pem(&request.csr_pem).map_err(|e| SourceError::Refused(e.to_string()))?;
        let asked = IssueRequest {
            csr,
            id: request.id.clone(),
            dns_names: request.dns_names.clone(),
            lifetime: request.lifetime,
        };
        let issued = self.issuer.issue(asked).await.map_err(|e| match e {
            IssueError::Unavailable(_) => SourceError::Unreachable(e.to_string()),
            _ => SourceError::Refused(e.to_string()),
        })?;
        let roots = self.issuer.trust_bundle().roots().iter().map(|r| r.certificate().clone()).collect();
        Ok(FetchedCertificate { chain: issued.chain, roots })
    }
}
