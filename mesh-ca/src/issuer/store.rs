//! Where a CA keeps what must survive a restart: [`CaStore`].

mod directory;
mod folder;

use std::{any::Any, fmt, path::PathBuf};

use async_trait::async_trait;
use zeroize::Zeroizing;

pub use directory::DirectoryStore;
pub(crate) use folder::Folder;

/// Most bytes that an item may have: a list of the most certificates that can be revoked fits.
pub const MAX_ITEM_BYTES: u64 = 64 * 1024 * 1024;

/// A thing that is kept. Each is written and read whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StoreItem {
    /// The signing key and its certificate, in one PEM text so that they can never be torn apart; with those of the other root
    /// and the state while roots are being changed. Secret.
    SigningCa,
    /// The roots, for whoever needs to verify, as PEM. Public.
    RootCertificates,
    /// The key that signs join tokens, as PEM. Secret.
    TokenKey,
    /// The keys that sign JWT-SVIDs, as PEM. Secret.
    JwtKey,
    /// Which certificates were taken back, as JSON. Public.
    Revocations,
    /// The revocation lists, for whoever needs to verify, as PEM. Public.
    Crl,
}

impl StoreItem {
    /// All items.
    pub const ALL: [Self; 6] =
        [Self::SigningCa, Self::RootCertificates, Self::TokenKey, Self::JwtKey, Self::Revocations, Self::Crl];

    /// Its file name in a directory, or its key in a Kubernetes Secret.
    pub fn name(self) -> &'static str {
        match self {
            Self::SigningCa => "ca.pem",
            Self::RootCertificates => "root-cert.pem",
            Self::TokenKey => "token-key.pem",
            Self::JwtKey => "jwt-key.pem",
            Self::Revocations => "revocations.json",
            Self::Crl => "ca-crl.pem",
        }
    }

    /// Whether it holds a private key, so that nobody else may read it.
    pub fn is_secret(self) -> bool {
        !matches!(self, Self::RootCertificates | Self::Revocations | Self::Crl)
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
    /// Another process is the CA.
    #[error("{place} is in use by {holder}; end that process, or use another folder")]
    Locked {
        /// What is locked.
        place: String,
        /// Who holds it.
        holder: String,
    },
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

/// The right to be the CA, see [`CaStore::lock`]; given back when dropped.
pub struct StoreLock {
    _held: Box<dyn Any + Send + Sync>,
}

impl StoreLock {
    /// Holds it for as long as `held` is not dropped.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self { _held: Box::new(held) }
    }
}

impl fmt::Debug for StoreLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreLock")
    }
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
/// - `lock` gives the right to be the CA to one process at a time, or says who has it; it ends with the value, and with the
///   process. Reading needs no lock.
/// - Secret items ([`StoreItem::is_secret`]) are kept so that nobody but the owner can read them, and are refused when
///   they are found otherwise.
///
/// Ready-made: [`DirectoryStore`]; `MemoryStore` (feature `test-util`). Anyone's can run `conformance::check_store`.
#[async_trait]
pub trait CaStore: fmt::Debug + Send + Sync {
    /// Takes the right to be the CA.
    ///
    /// # Errors
    /// [`StoreError::Locked`], or when it cannot be found out.
    async fn lock(&self) -> Result<StoreLock, StoreError>;

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
    use std::{
        collections::BTreeMap,
        fmt,
        sync::{Arc, Mutex, PoisonError},
    };

    use async_trait::async_trait;
    use zeroize::Zeroizing;

    use super::{CaStore, StoreError, StoreItem, StoreLock};

    /// Keeps items in memory, for tests.
    #[derive(Default)]
    pub struct MemoryStore {
        items: Mutex<BTreeMap<StoreItem, Zeroizing<Vec<u8>>>>,
        lock: Arc<tokio::sync::Mutex<()>>,
    }

    impl fmt::Debug for MemoryStore {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("MemoryStore")
        }
    }

    #[async_trait]
    impl CaStore for MemoryStore {
        async fn lock(&self) -> Result<StoreLock, StoreError> {
            let locked = || StoreError::Locked { place: "the store".into(), holder: "this process".into() };
            Ok(StoreLock::new(Arc::clone(&self.lock).try_lock_owned().map_err(|_| locked())?))
        }

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
