//! [`DirectoryStore`]: a CA in a folder.

use std::path::PathBuf;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{CaStore, StoreError, StoreItem, StoreLock, folder::Folder};

/// Keeps each item as a file, see [`StoreItem::name`].
///
/// A write goes to a new file beside the target (mode 0600, or 0644 for public items), is synced, and then takes the
/// target's name in one step; the folder is synced too. Files of interrupted writes (`.tmp-*`) are harmless. The file `.lock`
/// is locked by the process that is the CA, and says which one that is.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    folder: Folder,
}

impl DirectoryStore {
    /// Uses a folder; makes it (mode 0700, with its parents) when it is missing.
    ///
    /// # Errors
    /// When it cannot be made or is not a folder.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Ok(Self { folder: Folder::open(directory.into())? })
    }

    /// Where an item is kept.
    pub fn path(&self, item: StoreItem) -> PathBuf {
        self.folder.path(item.name())
    }
}

#[async_trait]
impl CaStore for DirectoryStore {
    async fn lock(&self) -> Result<StoreLock, StoreError> {
        Ok(StoreLock::new(self.folder.run(Folder::lock).await?))
    }

    async fn load(&self, item: StoreItem) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.folder.run(move |f| f.read(item.name(), item.is_secret())).await
    }

    async fn create(&self, item: StoreItem, content: &[u8]) -> Result<(), StoreError> {
        let content = Zeroizing::new(content.to_vec());
        self.folder.run(move |f| f.write_new(item.name(), &content, item.is_secret())).await
    }

    async fn replace(&self, item: StoreItem, content: &[u8]) -> Result<(), StoreError> {
        let content = Zeroizing::new(content.to_vec());
        self.folder.run(move |f| f.write_over(item.name(), &content, item.is_secret())).await
    }
}
