//! Where signing keys live: [`KeyStore`].

mod directory;
mod local;
mod memory;

use std::{fmt, str::FromStr, sync::Arc};

use async_trait::async_trait;

use super::store::StoreError;
use crate::spiffe::KeyType;

pub use directory::DirectoryKeyStore;
pub(super) use local::{CertificateSigner, LocalKey};
pub use memory::MemoryKeyStore;

/// What a key is called in its store: 1 to 64 of the characters `a-z 0-9 -`, which every key service takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

/// A text that is no [`KeyName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key's name has 1 to 64 lower case letters, digits and dashes")]
pub struct KeyNameError;

impl KeyName {
    /// Takes a name.
    ///
    /// # Errors
    /// When it is too long, empty, or holds another character.
    pub fn new(name: impl Into<String>) -> Result<Self, KeyNameError> {
        let name = name.into();
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=64).contains(&name.len()) && name.bytes().all(fine) { Ok(Self(name)) } else { Err(KeyNameError) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::new(s)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a key could not be had or used. Never holds key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyStoreError {
    /// `generate` found that the key exists.
    #[error("key {0} exists already")]
    Exists(KeyName),
    /// What is kept under the name cannot be used.
    #[error("key {name} is damaged: {reason}")]
    Damaged {
        /// Its name.
        name: KeyName,
        /// What is wrong.
        reason: String,
    },
    /// The store makes no keys of this kind.
    #[error("this key store makes no keys of type {0}")]
    KeyType(KeyType),
    /// The place where keys are kept failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The signature was not made.
    #[error("signing failed: {0}")]
    Sign(String),
    /// The key service does not answer; trying again may help.
    #[error("key store is not available: {0}")]
    Unavailable(String),
}

/// How a key signs; a public key fixes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 with SHA-256, in ASN.1 form.
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384, in ASN.1 form.
    EcdsaP384Sha384,
    /// Ed25519.
    Ed25519,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaPkcs1Sha256,
}

/// A private key that signs, wherever it is.
///
/// # Contract
/// - `public_key_der` and `algorithm` never change and return at once.
/// - `sign` signs the message itself, not a digest of it, with `algorithm`. It may block when `is_remote` says so, within
///   bounds of its own; it is then called where blocking is allowed.
/// - Neither `Debug` nor errors show key material.
pub trait CaKey: fmt::Debug + Send + Sync {
    /// The public half as SubjectPublicKeyInfo in DER.
    fn public_key_der(&self) -> &[u8];

    /// How it signs.
    fn algorithm(&self) -> KeyAlgorithm;

    /// Signs a message.
    ///
    /// # Errors
    /// [`KeyStoreError::Sign`] or [`KeyStoreError::Unavailable`].
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyStoreError>;

    /// Whether `sign` may block, because the key is in another process or machine. Default no.
    fn is_remote(&self) -> bool {
        false
    }
}

/// Makes and keeps signing keys, so that a CA's key can be where nobody can copy it: in a KMS or HSM.
///
/// # Contract
/// - `generate` makes a key only if there is none of this name; of several at once exactly one wins, the others get
///   [`KeyStoreError::Exists`]. When it has returned, the key survives a restart of this process (but for
///   [`MemoryKeyStore`]).
/// - `get` gives the key that was generated under the name, or `None`.
/// - `remove` destroys a key for good; that of a name that is not there is no error. A [`CaKey`] that is held already may
///   go on signing.
/// - All are cancel safe: a dropped `generate` leaves a whole key or none.
///
/// Ready-made: [`DirectoryKeyStore`], [`MemoryKeyStore`]. Anyone's can run `conformance::check_key_store` (feature
/// `test-util`).
#[async_trait]
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// Makes a key.
    ///
    /// # Errors
    /// See [`KeyStoreError`].
    async fn generate(&self, name: &KeyName, key_type: KeyType) -> Result<Arc<dyn CaKey>, KeyStoreError>;

    /// A key that was made before.
    ///
    /// # Errors
    /// When it is there but cannot be used now, or at all.
    async fn get(&self, name: &KeyName) -> Result<Option<Arc<dyn CaKey>>, KeyStoreError>;

    /// Destroys a key.
    ///
    /// # Errors
    /// When it may still be there.
    async fn remove(&self, name: &KeyName) -> Result<(), KeyStoreError>;
}
