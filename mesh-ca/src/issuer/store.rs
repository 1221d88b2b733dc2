//! Where a CA keeps what must survive a restart: [`CaStore`].

mod directory;
mod folder;

use std::{fmt, path::PathBuf};

use async_trait::async_trait;
use zeroize::Zeroizing;

pub use directory::DirectoryStore;
pub(super) use folder::Folder;

/// Most bytes that an item may have.
pub const MAX_ITEM_BYTES: u64 = 1024 * 1024;

/// A thing that is kept. Each is written and read whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StoreItem {
    /// The signing key and its certificate, in one PEM text so that they can never be torn apart. Secret.
    SigningCa,
    /// The roots, for whoever needs to verify, as PEM. Public.
    RootCertificates,
    /// The key that signs join tokens, as PEM. Secret.
    TokenKey,
    /// The key that signs JWT-SVIDs, as PEM. Secret.
    JwtKey,
}

impl StoreItem {
    /// All items.
    pub const ALL: [Self; 4] = [Self::SigningCa, Self::RootCertificates, Self::TokenKey, Self::JwtKey];

    /// Its file name in a directory, or its key in a Kubernetes Secret.
    pub fn name(self) -> &'static str {
        match self {
            Self::SigningCa => "ca.pem",
            Self::RootCertificates => "root-cert.pem",
            Self::TokenKey => "token-key.pem",
            Self::JwtKey => "jwt-key.pem",
        }
    }

    /// Whether it holds a private key, so that nobody else may read it.
    pub fn is_secret(self) -> bool {
        !matches!(self, Self::RootCertificates)
    }
}

/// Why something could not be kept or read. Texts name the place and what to do, never the content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// `create` found that the item exists.
    #[error("{0} exists already")]
    Exists(String),
    /// A secret can be read by others.
    #[error("{path} can be read by others (mode {mode:o}); run: chmod 600 {path}", path = .path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its mode bits.
        mode: u32,
    },
    /// The item is larger than [`MAX_ITEM_BYTES`].
    #[error("{0} is larger than {MAX_ITEM_BYTES} bytes; it is not what was written here")]
    TooLarge(String),
    /// The file system refused.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Another kind of store failed.
    #[error("store failed: {0}")]
    Other(String),
}

/// Keeps a CA's few items.
///
/// # Contract
/// - `load` gives exactly what the last successful write gave, or `None` when there was none. A torn write is never seen:
///   after a crash at any point an item is either the old or the new one.
/// - `create` writes only if the item is absent; of several writers at once exactly one wins, the others get
///   [`StoreError::Exists`].
/// - `replace` writes whether or not the item is there.
/// - When a write has returned, the item survives a power cut.
/// - Secret items ([`StoreItem::is_secret`]) are kept so that nobody but the owner can read them, and are refused when
///   they are found otherwise.
///
/// Ready-made: [`DirectoryStore`]; `MemoryStore` (feature `test-util`). Anyone's can run `conformance::check_store`.
#[async_trait]
pub trait CaStore: fmt::Debug + Send + Sync {
    /// Reads an item.
    ///
    /// # Errors
    /// When it is there but cannot be read, or must not be used.
    async fn load(&self, item: StoreItem) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;

    /// Writes an item that must not exist.
    ///
    /// # Errors
    /// [`StoreError::Exists`], or when it cannot be written.
    async fn create(&self, item: StoreItem, content: &[u8]) -> Result<(), StoreError>;

    /// Writes an item, in place of an older one if there is one.
    ///
    /// # Errors
    /// When it cannot be written; the older one is then untouched.
    async fn replace(&self, item: StoreItem, content: &[u8]) -> Result<(), StoreError>;
}

#[cfg(feature = "test-util")]
pub use memory::MemoryStore;

#[cfg(feature = "test-util")]
mod memory {
    use std::{collections::BTreeMap, fmt, sync::Mutex, sync::PoisonError};

    use async_trait::async_trait;
    use zeroize::Zeroizing;

    use super::{CaStore, StoreError, StoreItem};

    /// Keeps items in memory, for tests.
    #[derive(Default)]
    pub struct MemoryStore {
        items: Mutex<BTreeMap<StoreItem, Zeroizing<Vec<u8>>>>,
    }

    impl fmt::Debug for MemoryStore {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("MemoryStore")
        }
    }

    #[async_trait]
    impl CaStore for MemoryStore {
        async fn load(&self, item: StoreItem) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
            Ok(self.items.lock().unwrap_or_else(PoisonError::into_inner).get(&item).cloned())
        }

        async fn create(&self, item: StoreItem, content: &[u8]) -> Result<(), StoreError> {
            let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
            if items.contains_key(&item) {
                return Err(StoreError::Exists(item.name().into()));
            }
            items.insert(item, Zeroizing::new(content.to_vec()));
            Ok(())
        }

        async fn replace(&self, item: StoreItem, content: &[u8]) -> Result<(), StoreError> {
            let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
            items.insert(item, Zeroizing::new(content.to_vec()));
            Ok(())
        }
    }
}
