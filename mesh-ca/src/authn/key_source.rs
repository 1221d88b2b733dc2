//! [`JwtKeySource`]: where the keys that verify tokens come from.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::jwt_key::JwtKey;

/// There are no keys now; trying again may help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the issuer's keys are not at hand: {0}")]
pub struct KeysUnavailable(pub String);

/// The keys of a token issuer, which may change.
///
/// # Contract
/// - `keys` gives those in force, at once but for the very first time, when it may wait within bounds of its own.
/// - `newer_than` is called when a token names a key that `keys` does not have. It looks for newer ones, at most so often
///   that strangers who make up key ids cannot make it a burden to the issuer, and for many callers at once only one time.
///   `None` when there are none.
/// - Both are cancel safe.
///
/// Ready-made: [`FixedKeys`], [`JwksSource`](super::JwksSource).
#[async_trait]
pub trait JwtKeySource: fmt::Debug + Send + Sync {
    /// The keys in force.
    ///
    /// # Errors
    /// When none were ever had, or the last ones are too old.
    async fn keys(&self) -> Result<Arc<[JwtKey]>, KeysUnavailable>;

    /// Other keys than these.
    async fn newer_than(&self, keys: &Arc<[JwtKey]>) -> Option<Arc<[JwtKey]>>;
}

/// Keys that never change.
#[derive(Debug, Clone)]
pub struct FixedKeys(Arc<[JwtKey]>);

impl FixedKeys {
    /// These.
    pub fn new(keys: impl IntoIterator<Item = JwtKey>) -> Self {
        Self(keys.into_iter().collect())
    }
}

#[async_trait]
impl JwtKeySource for FixedKeys {
    async fn keys(&self) -> Result<Arc<[JwtKey]>, KeysUnavailable> {
        Ok(Arc::clone(&self.0))
    }

    async fn newer_than(&self, _keys: &Arc<[JwtKey]>) -> Option<Arc<[JwtKey]>> {
        None
    }
}
