//! [`SelfSigned`]: a root of our own, kept in a store.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::{
    CertIssuer, IssueRequest, IssuedCertificate,
    authority::{Authority, AuthorityError},
    error::IssueError,
    policy::IssuancePolicy,
    store::{CaStore, StoreError, StoreItem},
    template::{self, Validity},
};
use crate::{
    clock::Clock,
    spiffe::{
        KeyError, KeyType, Place, PrivateKey, TrustBundle, TrustDomain, certificates_from_pem, certificates_to_pem,
        check_signing,
    },
};

/// What a self-signed CA is like. All but the trust domain have defaults.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SelfSignedConfig {
    /// The trust domain it signs for.
    pub trust_domain: TrustDomain,
    /// How long a new root lives. Default ten years (Istio's `CITADEL_SELF_SIGNED_CA_CERT_TTL`).
    pub root_lifetime: Duration,
    /// The kind of a new root's key. Default ECDSA P-256.
    pub key_type: KeyType,
    /// The lifetimes of what it signs.
    pub policy: IssuancePolicy,
}

impl SelfSignedConfig {
    /// The defaults for a trust domain.
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            root_lifetime: Duration::from_secs(10 * 365 * 24 * 60 * 60),
            key_type: KeyType::default(),
            policy: IssuancePolicy::default(),
        }
    }

    /// With other lifetimes for what it signs.
    #[must_use]
    pub fn with_policy(mut self, policy: IssuancePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// With another kind of key for a new root.
    #[must_use]
    pub fn with_key_type(mut self, key_type: KeyType) -> Self {
        self.key_type = key_type;
        self
    }

    /// With another lifetime for a new root.
    #[must_use]
    pub fn with_root_lifetime(mut self, lifetime: Duration) -> Self {
        self.root_lifetime = lifetime;
        self
    }
}

/// Why a self-signed CA cannot start. It never replaces a root that it cannot read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfSignedError {
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The stored CA cannot be used as it is.
    #[error("the stored CA ({item}) is damaged: {reason}; restore it from a backup, or remove it to start a new root \
             that no workload trusts yet", item = StoreItem::SigningCa.name())]
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// The stored CA is for another trust domain.
    #[error(
        "the stored CA is of trust domain {stored}, not {asked}; use another folder, or set the trust domain to {stored}"
    )]
    TrustDomain {
        /// That of the stored root.
        stored: String,
        /// The configured one.
        asked: String,
    },
    /// The stored root is no longer valid.
    #[error("the stored root expired; remove {item} to start a new root, and give it to every workload",
            item = StoreItem::SigningCa.name())]
    Expired,
    /// A new root could not be made.
    #[error("root could not be made: {0}")]
    Create(String),
}

impl From<KeyError> for SelfSignedError {
    fn from(e: KeyError) -> Self {
        Self::Create(e.to_string())
    }
}

/// An issuer with a self-signed root that survives restarts.
///
/// Lifetimes are cut to the policy and to the root's own end. Key and certificate are kept as
/// [`StoreItem::SigningCa`], the certificate alone as [`StoreItem::RootCertificates`] for whoever needs to verify.
#[derive(Debug)]
pub struct SelfSigned {
    authority: Authority,
    clock: Arc<dyn Clock>,
}

impl SelfSigned {
    /// Takes the CA from the store, or makes one and keeps it there. Two processes that start at once agree on one root.
    ///
    /// # Errors
    /// When the store fails, or what it holds is damaged, expired, or of another trust domain: nothing is overwritten.
    pub async fn open(
        store: &dyn CaStore,
        config: SelfSignedConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SelfSignedError> {
        let now = clock.now().wall;
        let stored = match store.load(StoreItem::SigningCa).await? {
            Some(stored) => stored,
            None => create(store, &config, now).await?,
        };
        let authority = read(&stored, config, now)?;
        let public = authority.bundle().to_pem();
        let kept = store.load(StoreItem::RootCertificates).await?;
        if kept.as_deref().map(Vec::as_slice) != Some(public.as_bytes()) {
            store.replace(StoreItem::RootCertificates, public.as_bytes()).await?;
        }
        Ok(Self { authority, clock })
    }
}

/// Makes a root and stores it; gives what is stored then, which may be the root of a faster process.
async fn create(
    store: &dyn CaStore,
    config: &SelfSignedConfig,
    now: SystemTime,
) -> Result<Zeroizing<Vec<u8>>, SelfSignedError> {
    let key = PrivateKey::generate(config.key_type)?;
    let validity = Validity::new(now, config.policy.backdate, config.root_lifetime);
    let params = template::root(&config.trust_domain, validity).map_err(|e| SelfSignedError::Create(e.to_string()))?;
    let signer = key.to_signer()?;
    let certificate = params.self_signed(&signer).map_err(|e| SelfSignedError::Create(e.to_string()))?;
    let mut content = key.to_pem();
    content.push_str(&certificates_to_pem([certificate.der()]));
    match store.create(StoreItem::SigningCa, content.as_bytes()).await {
        Ok(()) => {
            tracing::info!(trust_domain = %config.trust_domain, "made a new self-signed root");
            Ok(Zeroizing::new(content.as_bytes().to_vec()))
        }
        Err(StoreError::Exists(_)) => store
            .load(StoreItem::SigningCa)
            .await?
            .ok_or_else(|| SelfSignedError::Create("another process made and removed it meanwhile".into())),
        Err(e) => Err(e.into()),
    }
}

fn read(stored: &[u8], config: SelfSignedConfig, now: SystemTime) -> Result<Authority, SelfSignedError> {
    let damaged = |reason: String| SelfSignedError::Damaged { reason };
    let key = PrivateKey::from_pem(stored).map_err(|e| damaged(e.to_string()))?;
    let certificates = certificates_from_pem(stored).map_err(|e| damaged(e.to_string()))?;
    let [certificate]: [CertificateDer<'static>; 1] = certificates
        .try_into()
        .map_err(|c: Vec<_>| damaged(format!("it holds {} certificates instead of one", c.len())))?;
    let of = check_signing(&certificate, Place::Root).map_err(|e| damaged(e.to_string()))?;
    if of.as_ref() != Some(&config.trust_domain) {
        let stored = of.map_or_else(|| "(none)".into(), |t| t.to_string());
        return Err(SelfSignedError::TrustDomain { stored, asked: config.trust_domain.to_string() });
    }
    let bundle = TrustBundle::new(config.trust_domain, [certificate.clone()]).map_err(|e| damaged(e.to_string()))?;
    let root = certificate.clone();
    let authority = Authority::new(&certificate, &key, Vec::new(), root, Arc::new(bundle), config.policy)
        .map_err(|e: AuthorityError| damaged(e.to_string()))?;
    if now >= authority.validity().not_after {
        return Err(SelfSignedError::Expired);
    }
    Ok(authority)
}

#[async_trait]
impl CertIssuer for SelfSigned {
    async fn issue(&self, request: IssueRequest) -> Result<IssuedCertificate, IssueError> {
        self.authority.issue(&request, self.clock.now().wall)
    }

    fn trust_bundle(&self) -> Arc<TrustBundle> {
        Arc::clone(self.authority.bundle())
    }

    fn expires(&self) -> SystemTime {
        self.authority.validity().not_after
    }
}
