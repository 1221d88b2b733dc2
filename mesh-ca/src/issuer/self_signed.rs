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
    keys::{CaKey, CertificateSigner, KeyName, KeyStore, KeyStoreError, LocalKey},
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
    /// The key store failed.
    #[error("{0}")]
    Keys(#[from] KeyStoreError),
    /// There is a root, and its key is gone from the key store.
    #[error("the root's key {0} is not in the key store; restore it, or remove {item} to start a new root",
            item = StoreItem::SigningCa.name())]
    KeyMissing(KeyName),
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
    authority: Arc<Authority>,
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
        let key = PrivateKey::from_pem(&stored).and_then(|key| LocalKey::new(&key));
        let key = Arc::new(key.map_err(|e| SelfSignedError::Damaged { reason: e.to_string() })?);
        Self::finish(store, &stored, key, config, clock).await
    }

    /// As [`SelfSigned::open`], with the root's key in a [`KeyStore`] under the name `key`: the store of the CA holds no
    /// secret then. A key that is there already is used, also when its root was not finished.
    ///
    /// # Errors
    /// As [`SelfSigned::open`]; also when the key store fails, or the stored root is of another key.
    pub async fn open_with_keys(
        store: &dyn CaStore,
        keys: &dyn KeyStore,
        key: &KeyName,
        config: SelfSignedConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SelfSignedError> {
        let now = clock.now().wall;
        let stored = store.load(StoreItem::SigningCa).await?;
        let key = match (keys.get(key).await?, &stored) {
            (Some(key), _) => key,
            // Another key would make another root, which no workload trusts yet.
            (None, Some(_)) => return Err(SelfSignedError::KeyMissing(key.clone())),
            (None, None) => match keys.generate(key, config.key_type).await {
                Err(KeyStoreError::Exists(_)) => {
                    keys.get(key).await?.ok_or_else(|| SelfSignedError::KeyMissing(key.clone()))?
                }
                made => made?,
            },
        };
        let stored = match stored {
            Some(stored) => stored,
            None => {
                let content = root_pem(Arc::clone(&key), &config, now).await?;
                keep(store, &config, content.as_bytes()).await?
            }
        };
        Self::finish(store, &stored, key, config, clock).await
    }

    async fn finish(
        store: &dyn CaStore,
        stored: &[u8],
        key: Arc<dyn CaKey>,
        config: SelfSignedConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SelfSignedError> {
        let authority = read(stored, key, config, clock.now().wall)?;
        let public = authority.bundle().to_pem();
        let kept = store.load(StoreItem::RootCertificates).await?;
        if kept.as_deref().map(Vec::as_slice) != Some(public.as_bytes()) {
            store.replace(StoreItem::RootCertificates, public.as_bytes()).await?;
        }
        Ok(Self { authority: Arc::new(authority), clock })
    }
}

/// Makes a root with its key and stores both; gives what is stored then, which may be the root of a faster process.
async fn create(
    store: &dyn CaStore,
    config: &SelfSignedConfig,
    now: SystemTime,
) -> Result<Zeroizing<Vec<u8>>, SelfSignedError> {
    let key = PrivateKey::generate(config.key_type)?;
    let mut content = key.to_pem();
    content.push_str(&root_pem(Arc::new(LocalKey::new(&key)?), config, now).await?);
    keep(store, config, content.as_bytes()).await
}

/// A new self-signed root, signed where blocking is allowed.
async fn root_pem(key: Arc<dyn CaKey>, config: &SelfSignedConfig, now: SystemTime) -> Result<String, SelfSignedError> {
    let failed = |e: &dyn std::fmt::Display| SelfSignedError::Create(e.to_string());
    let validity = Validity::new(now, config.policy.backdate, config.root_lifetime);
    let params = template::root(&config.trust_domain, 1, validity).map_err(|e| failed(&e))?;
    let signer = CertificateSigner::new(key)?;
    let signed = tokio::task::spawn_blocking(move || params.self_signed(&signer)).await.map_err(|e| failed(&e))?;
    Ok(certificates_to_pem([signed.map_err(|e| failed(&e))?.der()]))
}

/// Stores a new CA, unless another process was faster: then its one counts.
async fn keep(
    store: &dyn CaStore,
    config: &SelfSignedConfig,
    content: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SelfSignedError> {
    match store.create(StoreItem::SigningCa, content).await {
        Ok(()) => {
            tracing::info!(trust_domain = %config.trust_domain, "made a new self-signed root");
            Ok(Zeroizing::new(content.to_vec()))
        }
        Err(StoreError::Exists(_)) => store
            .load(StoreItem::SigningCa)
            .await?
            .ok_or_else(|| SelfSignedError::Create("another process made and removed it meanwhile".into())),
        Err(e) => Err(e.into()),
    }
}

fn read(
    stored: &[u8],
    key: Arc<dyn CaKey>,
    config: SelfSignedConfig,
    now: SystemTime,
) -> Result<Authority, SelfSignedError> {
    let damaged = |reason: String| SelfSignedError::Damaged { reason };
    let certificates = certificates_from_pem(stored).map_err(|e| damaged(e.to_string()))?;
    let [certificate]: [CertificateDer<'static>; 1] = certificates.try_into().map_err(|c: Vec<_>| {
        let hint = if c.len() == 2 { ": a rotation is under way, which RotatingCa goes on with" } else { "" };
        damaged(format!("it holds {} certificates instead of one{hint}", c.len()))
    })?;
    let of = check_signing(&certificate, Place::Root).map_err(|e| damaged(e.to_string()))?;
    if of.as_ref() != Some(&config.trust_domain) {
        let stored = of.map_or_else(|| "(none)".into(), |t| t.to_string());
        return Err(SelfSignedError::TrustDomain { stored, asked: config.trust_domain.to_string() });
    }
    let bundle = TrustBundle::new(config.trust_domain, [certificate.clone()]).map_err(|e| damaged(e.to_string()))?;
    let root = certificate.clone();
    let authority = Authority::new(&certificate, key, Vec::new(), root, Arc::new(bundle), config.policy)
        .map_err(|e: AuthorityError| damaged(e.to_string()))?;
    if now >= authority.validity().not_after {
        return Err(SelfSignedError::Expired);
    }
    Ok(authority)
}

#[async_trait]
impl CertIssuer for SelfSigned {
    async fn issue(&self, request: IssueRequest) -> Result<IssuedCertificate, IssueError> {
        let now = self.clock.now().wall;
        if !self.authority.is_remote() {
            return self.authority.issue(&request, now);
        }
        let authority = Arc::clone(&self.authority);
        tokio::task::spawn_blocking(move || authority.issue(&request, now))
            .await
            .unwrap_or_else(|e| Err(IssueError::Sign(format!("signing ended early: {e}"))))
    }

    fn trust_bundle(&self) -> Arc<TrustBundle> {
        Arc::clone(self.authority.bundle())
    }

    fn begins(&self) -> SystemTime {
        self.authority.validity().not_before
    }

    fn expires(&self) -> SystemTime {
        self.authority.validity().not_after
    }
}
