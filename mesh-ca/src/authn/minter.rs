//! [`TokenMinter`]: signs join tokens in the form of Kubernetes' projected ones.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::json;
use zeroize::Zeroizing;

use super::{BearerToken, JwtKey, JwtKeyError};
use crate::{
    clock::Clock,
    issuer::{CaStore, StoreError, StoreItem, jws::JwsKey},
    spiffe::{JwtAlgorithm, KeyError, KeyType, PrivateKey},
};

/// Why a token could not be made, or the minter not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The stored key cannot be used.
    #[error("the stored token key ({item}) is damaged: {reason}; restore it, or remove it to make a new one, which \
             ends the use of all tokens so far", item = StoreItem::TokenKey.name())]
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// A key could not be made.
    #[error("token key: {0}")]
    Key(#[from] KeyError),
    /// Namespace or account cannot stand in a token's subject.
    #[error("{0:?} cannot be a namespace or service account")]
    Name(String),
    /// The crypto library failed.
    #[error("token could not be signed")]
    Sign,
}

/// What a token is for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TokenRequest {
    /// The workload's namespace.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
    /// Who may accept the token. Default `istio-ca`.
    pub audience: String,
    /// How long it is good for. Default one hour.
    pub lifetime: Duration,
}

impl TokenRequest {
    /// The defaults for a workload.
    pub fn new(namespace: impl Into<String>, service_account: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            service_account: service_account.into(),
            audience: "istio-ca".into(),
            lifetime: Duration::from_secs(3600),
        }
    }

    /// With another lifetime.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// With another audience.
    #[must_use]
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }
}

/// Signs join tokens (ES256) with a key of its own, kept in a store. Where there is no Kubernetes, somebody else has to
/// tell workloads apart; whoever holds a token of this minter is that workload.
pub struct TokenMinter {
    issuer: String,
    key: JwsKey,
    clock: Arc<dyn Clock>,
}

impl TokenMinter {
    /// Takes the key from the store, or makes one and keeps it there.
    ///
    /// # Errors
    /// When the store fails or what it holds is damaged.
    pub async fn open(
        store: &dyn CaStore,
        issuer: impl Into<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, MintError> {
        let stored = match store.load(StoreItem::TokenKey).await? {
            Some(stored) => stored,
            None => create(store).await?,
        };
        let damaged = |reason: &dyn fmt::Display| MintError::Damaged { reason: reason.to_string() };
        let private = PrivateKey::from_pem(&stored).map_err(|e| damaged(&e))?;
        let key = JwsKey::new(&private).ok().filter(|k| k.algorithm() == JwtAlgorithm::Es256);
        let key = key.ok_or_else(|| damaged(&"not an ECDSA P-256 key"))?;
        Ok(Self { issuer: issuer.into(), key, clock })
    }

    /// The `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key that verifies its tokens.
    ///
    /// # Errors
    /// Cannot happen for keys made by this type.
    pub fn verification_key(&self) -> Result<JwtKey, JwtKeyError> {
        JwtKey::from_public_der(Some(self.key.key_id().to_owned()), self.key.public_key_der())
    }

    /// Signs one token.
    ///
    /// # Errors
    /// When a name is empty or holds a character that no Kubernetes name has, or signing fails.
    pub fn mint(&self, request: &TokenRequest) -> Result<BearerToken, MintError> {
        for name in [&request.namespace, &request.service_account] {
            let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
            if name.is_empty() || name.len() > 253 || !name.bytes().all(fine) {
                return Err(MintError::Name(name.clone()));
            }
        }
        let now = self.clock.now().wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut unique = [0u8; 16];
        rand::fill(&mut unique).map_err(|_| MintError::Sign)?;
        let claims = json!({
            "iss": self.issuer,
            "sub": format!("system:serviceaccount:{}:{}", request.namespace, request.service_account),
            "aud": [request.audience],
            "iat": now.as_secs(),
            "nbf": now.as_secs(),
            "exp": now.saturating_add(request.lifetime).as_secs(),
            "jti": BASE64.encode(unique),
            "kubernetes.io": {
                "namespace": request.namespace,
                "serviceaccount": { "name": request.service_account },
            },
        });
        let token = self.key.sign(&claims).ok_or(MintError::Sign)?;
        Ok(BearerToken::new(token.as_str()))
    }
}

async fn create(store: &dyn CaStore) -> Result<Zeroizing<Vec<u8>>, MintError> {
    let pem = PrivateKey::generate(KeyType::EcdsaP256)?.to_pem();
    match store.create(StoreItem::TokenKey, pem.as_bytes()).await {
        Ok(()) => Ok(Zeroizing::new(pem.as_bytes().to_vec())),
        Err(StoreError::Exists(_)) => store
            .load(StoreItem::TokenKey)
            .await?
            .ok_or_else(|| StoreError::Other("another process made and removed the token key meanwhile".into()).into()),
        Err(e) => Err(e.into()),
    }
}

impl fmt::Debug for TokenMinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenMinter")
            .field("issuer", &self.issuer)
            .field("key_id", &self.key.key_id())
            .finish_non_exhaustive()
    }
}
