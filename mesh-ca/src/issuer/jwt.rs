//! [`JwtIssuer`]: who signs JWT-SVIDs.

mod rotation;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    jws::JwsKey,
    store::{CaStore, StoreError, StoreItem},
};
use crate::{
    clock::Clock,
    spiffe::{
        JwtAuthority, JwtAuthorityError, JwtBundle, JwtBundles, JwtRuleBroken, JwtSvid, KeyError, KeyType, PrivateKey,
        SpiffeId, TrustDomain,
    },
};

pub use rotation::{JwtRotationConfig, JwtSupervision, RotatingJwtSigner};

/// Most audiences of one token. JWT-SVID.md section 7.2 asks for one.
pub const MAX_AUDIENCES: usize = 16;

/// Most bytes of one audience.
const MAX_AUDIENCE_BYTES: usize = 1024;

/// What a token is asked to say. The asker has been authenticated as `id` already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtRequest {
    /// Whom it speaks for.
    pub id: SpiffeId,
    /// Whom it is for: one to [`MAX_AUDIENCES`] names of up to 1024 bytes.
    pub audiences: Vec<String>,
    /// The wished lifetime. `None` means the issuer's default; more than the issuer allows is cut.
    pub lifetime: Option<Duration>,
}

/// Why a token was not issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueJwtError {
    /// The id is of a trust domain that this issuer does not sign for.
    #[error("this issuer signs for trust domain {issuer}, not for {asked}")]
    TrustDomain {
        /// The issuer's trust domain.
        issuer: String,
        /// That of the request.
        asked: String,
    },
    /// No audience, too many, or one that is empty or too long.
    #[error("a token needs 1 to {MAX_AUDIENCES} audiences of 1 to {MAX_AUDIENCE_BYTES} bytes each")]
    Audience,
    /// The signature could not be made.
    #[error("token could not be signed")]
    Sign,
    /// What was signed does not verify; it was not handed out.
    #[error("the signed token did not pass verification and was withheld: {0}")]
    Verification(#[from] JwtRuleBroken),
    /// A remote signer does not answer; trying again may help.
    #[error("signer is not available: {0}")]
    Unavailable(String),
}

impl IssueJwtError {
    /// Whether the request itself was at fault: trying again with the same one is of no use.
    pub fn is_request_fault(&self) -> bool {
        matches!(self, Self::TrustDomain { .. } | Self::Audience)
    }
}

/// Signs JWT-SVIDs for identities of one trust domain.
///
/// # Contract
/// - What comes back keeps JWT-SVID.md and verifies against `jwt_bundle` at the time of the call, names exactly the
///   audiences asked for, and lives no longer than asked for.
/// - The bundle holds each key for as long as a token signed with it may live.
/// - `issue_jwt` may wait for a remote signer; it is cancel safe. `jwt_bundle` returns at once.
///
/// Ready-made: [`JwtSigner`], [`RotatingJwtSigner`]. Anyone's can run `conformance::check_jwt_issuer` (feature `test-util`).
#[async_trait]
pub trait JwtIssuer: fmt::Debug + Send + Sync {
    /// Signs one token.
    ///
    /// # Errors
    /// [`IssueJwtError`] tells whose fault it was, see [`IssueJwtError::is_request_fault`].
    async fn issue_jwt(&self, request: JwtRequest) -> Result<JwtSvid, IssueJwtError>;

    /// The keys that verify what this issuer signs.
    fn jwt_bundle(&self) -> Arc<JwtBundle>;
}

/// What a [`JwtSigner`] is like. All but the trust domain have defaults.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JwtSignerConfig {
    /// The trust domain it signs for.
    pub trust_domain: TrustDomain,
    /// The kind of a new key. Default ECDSA P-256; Ed25519 cannot sign JWT-SVIDs.
    pub key_type: KeyType,
    /// Lifetime when none is asked for. Default 5 minutes.
    pub default_lifetime: Duration,
    /// The longest lifetime granted. Default 1 hour. Longer wishes are cut.
    pub max_lifetime: Duration,
}

impl JwtSignerConfig {
    /// The defaults for a trust domain.
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            key_type: KeyType::default(),
            default_lifetime: Duration::from_secs(5 * 60),
            max_lifetime: Duration::from_secs(60 * 60),
        }
    }

    /// With another kind of key.
    #[must_use]
    pub fn with_key_type(mut self, key_type: KeyType) -> Self {
        self.key_type = key_type;
        self
    }

    /// With other lifetimes.
    #[must_use]
    pub fn with_lifetimes(mut self, default: Duration, max: Duration) -> Self {
        (self.default_lifetime, self.max_lifetime) = (default, max);
        self
    }
}

/// Why a [`JwtSigner`] cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwtSignerError {
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The stored key cannot be used.
    #[error("the stored JWT signing key ({item}) is damaged: {reason}; restore it, or remove it to make a new one, which \
             ends the use of all tokens so far", item = StoreItem::JwtKey.name())]
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// A key could not be made.
    #[error("JWT signing key: {0}")]
    Key(#[from] KeyError),
    /// The key is of a kind that JWT-SVIDs do not allow.
    #[error("JWT signing key: {0}")]
    Authority(#[from] JwtAuthorityError),
}

/// Signs JWT-SVIDs with one key of its own, which does not change: ES256, ES384 or RS256 by the kind of the key.
pub struct JwtSigner {
    config: JwtSignerConfig,
    key: JwsKey,
    bundle: Arc<JwtBundle>,
    bundles: JwtBundles,
    clock: Arc<dyn Clock>,
}

impl JwtSigner {
    /// Signs with `key`.
    ///
    /// # Errors
    /// When the key is of a kind that JWT-SVID.md section 2.1 does not allow.
    pub fn new(key: &PrivateKey, config: JwtSignerConfig, clock: Arc<dyn Clock>) -> Result<Self, JwtSignerError> {
        Self::with_others(key, [], config, clock)
    }

    /// Signs with `key`, and publishes the others too.
    fn with_others<'a>(
        key: &'a PrivateKey,
        others: impl IntoIterator<Item = &'a PrivateKey>,
        config: JwtSignerConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, JwtSignerError> {
        let ready = |key: &PrivateKey| {
            JwsKey::new(key).map_err(|_| JwtAuthorityError::Key("it must be ECDSA P-256 or P-384, or RSA".into()))
        };
        let key = ready(key)?;
        let mut authorities = vec![JwtAuthority::from_public_der(key.key_id(), key.public_key_der())?];
        for other in others {
            let other = ready(other)?;
            authorities.push(JwtAuthority::from_public_der(other.key_id(), other.public_key_der())?);
        }
        let bundle = JwtBundle::new(config.trust_domain.clone(), authorities);
        Ok(Self { config, key, bundles: bundle.clone().into(), bundle: Arc::new(bundle), clock })
    }

    /// Takes the key from the store, or makes one and keeps it there. Two processes that start at once agree on one key.
    ///
    /// # Errors
    /// When the store fails or what it holds is damaged: nothing is overwritten.
    pub async fn open(
        store: &dyn CaStore,
        config: JwtSignerConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, JwtSignerError> {
        let stored = match store.load(StoreItem::JwtKey).await? {
            Some(stored) => stored,
            None => create(store, config.key_type).await?,
        };
        let damaged = |reason: &dyn fmt::Display| JwtSignerError::Damaged { reason: reason.to_string() };
        let key = PrivateKey::from_pem(&stored).map_err(|e| damaged(&e))?;
        Self::new(&key, config, clock).map_err(|e| damaged(&e))
    }

    fn lifetime(&self, wish: Option<Duration>) -> Duration {
        wish.filter(|w| !w.is_zero()).unwrap_or(self.config.default_lifetime).min(self.config.max_lifetime)
    }
}

async fn create(store: &dyn CaStore, key_type: KeyType) -> Result<Zeroizing<Vec<u8>>, JwtSignerError> {
    if key_type == KeyType::Ed25519 {
        return Err(JwtAuthorityError::Key("Ed25519".into()).into());
    }
    let pem = PrivateKey::generate(key_type)?.to_pem();
    match store.create(StoreItem::JwtKey, pem.as_bytes()).await {
        Ok(()) => Ok(Zeroizing::new(pem.as_bytes().to_vec())),
        Err(StoreError::Exists(_)) => store.load(StoreItem::JwtKey).await?.ok_or_else(|| {
            StoreError::Other("another process made and removed the JWT signing key meanwhile".into()).into()
        }),
        Err(e) => Err(e.into()),
    }
}

#[async_trait]
impl JwtIssuer for JwtSigner {
    async fn issue_jwt(&self, request: JwtRequest) -> Result<JwtSvid, IssueJwtError> {
        if request.id.trust_domain() != &self.config.trust_domain {
            let asked = request.id.trust_domain().to_string();
            return Err(IssueJwtError::TrustDomain { issuer: self.config.trust_domain.to_string(), asked });
        }
        let fits = |a: &String| (1..=MAX_AUDIENCE_BYTES).contains(&a.len());
        if !(1..=MAX_AUDIENCES).contains(&request.audiences.len()) || !request.audiences.iter().all(fits) {
            return Err(IssueJwtError::Audience);
        }
        let now = self.clock.now().wall;
        let issued = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = json!({
            "sub": request.id.as_str(),
            "aud": request.audiences,
            "iat": issued.as_secs(),
            "exp": issued.saturating_add(self.lifetime(request.lifetime)).as_secs(),
        });
        let token = self.key.sign(&claims).ok_or(IssueJwtError::Sign)?;
        let audiences: Vec<&str> = request.audiences.iter().map(String::as_str).collect();
        Ok(JwtSvid::verify(&token, &self.bundles, &audiences, now, Duration::ZERO)?)
    }

    fn jwt_bundle(&self) -> Arc<JwtBundle> {
        Arc::clone(&self.bundle)
    }
}

impl fmt::Debug for JwtSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSigner").field("config", &self.config).field("bundle", &self.bundle).finish_non_exhaustive()
    }
}
