//! [`JoinTokens`]: secrets that let one workload in, once.

mod directory;
#[cfg(feature = "test-util")]
mod memory;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_lc_rs::{constant_time::verify_slices_are_equal, digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use zeroize::Zeroizing;

use super::{Authenticator, AuthnError, BearerToken, Identity, ProofKind, RequestFacts};
use crate::{clock::Clock, issuer::StoreError, spiffe::SpiffeId};

pub use directory::DirectoryJoinTokens;
#[cfg(feature = "test-util")]
pub use memory::MemoryJoinTokens;

const KIND: &str = "join token";
/// What a join token begins with, so that it is not taken for another kind of token, and leaks can be searched for.
const PREFIX: &str = "mesh-join.";
/// Bytes of the part that tokens are found by.
const HANDLE_BYTES: usize = 12;
/// Bytes of the secret part: 256 bits cannot be guessed, however often somebody tries.
const SECRET_BYTES: usize = 32;

/// What is kept of a token. The secret itself is not: only its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinTokenRecord {
    /// The part that it is found by: 16 characters of base64url. No secret.
    pub handle: String,
    /// SHA-256 of the secret part.
    pub digest: [u8; 32],
    /// Whom it lets in.
    pub id: SpiffeId,
    /// When it ends, in whole seconds.
    pub expires: SystemTime,
}

impl JoinTokenRecord {
    /// A record.
    pub fn new(handle: impl Into<String>, digest: [u8; 32], id: SpiffeId, expires: SystemTime) -> Self {
        Self { handle: handle.into(), digest, id, expires }
    }
}

/// What a store knows of a handle.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinTokenState {
    /// It may be used.
    Unused(JoinTokenRecord),
    /// It was used.
    Used,
    /// It was never there, or was forgotten after its end.
    Unknown,
}

/// Keeps join tokens until they are used.
///
/// # Contract
/// - `put` keeps a record over a restart once it has returned.
/// - `mark_used` gives `true` to exactly one caller for each handle, also when several processes share the store, and once
///   it has given `true` the token is used for good, power cut or not.
/// - A used token is told from an unknown one until `forget_ended` with a time after its end.
///
/// Ready-made: [`DirectoryJoinTokens`]; `MemoryJoinTokens` (feature `test-util`). Anyone's can run
/// `conformance::check_join_token_store`.
#[async_trait]
pub trait JoinTokenStore: fmt::Debug + Send + Sync {
    /// Keeps a new token.
    ///
    /// # Errors
    /// When it cannot be kept.
    async fn put(&self, record: &JoinTokenRecord) -> Result<(), StoreError>;

    /// What is known of a handle.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn find(&self, handle: &str) -> Result<JoinTokenState, StoreError>;

    /// Takes the one use of a token; `false` when somebody else did before.
    ///
    /// # Errors
    /// When that cannot be kept; the token may then be used or not.
    async fn mark_used(&self, handle: &str) -> Result<bool, StoreError>;

    /// Forgets tokens that ended before `now`, used or not. Gives how many are left.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn forget_ended(&self, now: SystemTime) -> Result<usize, StoreError>;
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinTokenError {
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// More tokens wait for their use than are kept.
    #[error("{0} join tokens are kept already; use some, or wait for their end")]
    TooMany(usize),
    /// The crypto library gave no random numbers.
    #[error("no random numbers")]
    Random,
}

/// Makes join tokens, and lets in whoever brings one: once, and before its end.
///
/// The use is kept before the caller is let in, so a token that was seen on its way is of no use to a second one. A
/// workload whose call breaks off after that needs a new token.
#[derive(Debug, Clone)]
pub struct JoinTokens {
    store: Arc<dyn JoinTokenStore>,
    clock: Arc<dyn Clock>,
    limit: usize,
}

impl JoinTokens {
    /// Most tokens that are kept by default.
    pub const DEFAULT_LIMIT: usize = 10_000;

    /// Tokens in a store.
    pub fn new(store: Arc<dyn JoinTokenStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, limit: Self::DEFAULT_LIMIT }
    }

    /// With another limit for tokens that are kept, used ones before their end included.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Makes a token that lets in `id` for `lifetime`. It is shown this once.
    ///
    /// # Errors
    /// See [`JoinTokenError`].
    pub async fn create(&self, id: SpiffeId, lifetime: Duration) -> Result<BearerToken, JoinTokenError> {
        let now = self.clock.now().wall;
        if self.store.forget_ended(now).await? >= self.limit {
            return Err(JoinTokenError::TooMany(self.limit));
        }
        let (mut handle, mut secret) = ([0u8; HANDLE_BYTES], Zeroizing::new([0u8; SECRET_BYTES]));
        rand::fill(&mut handle).map_err(|_| JoinTokenError::Random)?;
        rand::fill(secret.as_mut()).map_err(|_| JoinTokenError::Random)?;
        let handle = BASE64URL.encode(handle);
        let secret = Zeroizing::new(BASE64URL.encode(secret.as_ref()));
        self.store.put(&JoinTokenRecord::new(&handle, digest_of(&secret), id, whole(now + lifetime))).await?;
        Ok(BearerToken::new(format!("{PREFIX}{handle}.{}", secret.as_str())))
    }

    async fn judge(&self, handle: &str, secret: &str) -> Result<Identity, AuthnError> {
        let refused = |reason: &str| AuthnError::Refused { kind: KIND, reason: reason.to_owned() };
        let store_failed = |e: StoreError| AuthnError::Unavailable { kind: KIND, reason: e.to_string() };
        let well_formed = |text: &str, bytes| BASE64URL.decode(text).is_ok_and(|b| b.len() == bytes);
        if !well_formed(handle, HANDLE_BYTES) || !well_formed(secret, SECRET_BYTES) {
            return Err(refused("it is not well-formed"));
        }
        let record = match self.store.find(handle).await.map_err(store_failed)? {
            JoinTokenState::Unused(record) => record,
            JoinTokenState::Used => return Err(refused("it has been used already")),
            JoinTokenState::Unknown => return Err(refused("it is not known")),
        };
        // The digests are compared in constant time; the handle, which the store was asked for, is no secret.
        if verify_slices_are_equal(&digest_of(secret), &record.digest).is_err() {
            return Err(refused("it is not known"));
        }
        if self.clock.now().wall >= record.expires {
            return Err(refused("it is expired"));
        }
        if !self.store.mark_used(handle).await.map_err(store_failed)? {
            return Err(refused("it has been used already"));
        }
        Ok(Identity::new(record.id, ProofKind::JoinToken, format!("join token {handle}")))
    }
}

#[async_trait]
impl Authenticator for JoinTokens {
    async fn authenticate(&self, facts: &RequestFacts) -> Result<Identity, AuthnError> {
        let mut verdict = Err(AuthnError::NoProof(KIND));
        for token in &facts.bearer_tokens {
            let Some(parts) = token.expose().strip_prefix(PREFIX) else { continue };
            let (handle, secret) = parts.split_once('.').unwrap_or((parts, ""));
            verdict = self.judge(handle, secret).await;
            if verdict.is_ok() {
                break;
            }
        }
        verdict
    }
}

fn digest_of(secret: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
    out
}

fn whole(time: SystemTime) -> SystemTime {
    SystemTime::UNIX_EPOCH
        + Duration::from_secs(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
}
