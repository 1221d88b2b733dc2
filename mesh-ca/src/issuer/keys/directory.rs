//! [`DirectoryKeyStore`]: keys as files.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;

use super::{CaKey, KeyName, KeyStore, KeyStoreError, LocalKey};
use crate::{
    issuer::store::{Folder, StoreError},
    spiffe::{KeyType, PrivateKey},
};

/// Keeps each key as `NAME.key`, PKCS #8 in PEM, mode 0600, written as [`DirectoryStore`](crate::issuer::DirectoryStore)
/// writes its items. A file that others can read is refused.
#[derive(Debug, Clone)]
pub struct DirectoryKeyStore {
    folder: Folder,
}

impl DirectoryKeyStore {
    /// Uses a folder; makes it (mode 0700, with its parents) when it is missing.
    ///
    /// # Errors
    /// When it cannot be made or is not a folder.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Ok(Self { folder: Folder::open(directory.into())? })
    }

    /// Where a key is kept.
    pub fn path(&self, name: &KeyName) -> PathBuf {
        self.folder.path(&file(name))
    }
}

fn file(name: &KeyName) -> String {
    format!("{name}.key")
}

fn damaged(name: &KeyName, reason: impl std::fmt::Display) -> KeyStoreError {
    KeyStoreError::Damaged { name: name.clone(), reason: reason.to_string() }
}

#[async_trait]
impl KeyStore for DirectoryKeyStore {
    async fn generate(&self, name: &KeyName, key_type: KeyType) -> Result<Arc<dyn CaKey>, KeyStoreError> {
        let key_name = name.clone();
        let made = self.folder.run(move |folder| {
            let key = PrivateKey::generate(key_type).map_err(|e| StoreError::Other(e.to_string()))?;
            match folder.write_new(&file(&key_name), key.to_pem().as_bytes(), true) {
                Ok(()) => Ok(Some(key)),
                Err(StoreError::Exists(_)) => Ok(None),
                Err(e) => Err(e),
            }
        });
        let key = made.await?.ok_or_else(|| KeyStoreError::Exists(name.clone()))?;
        Ok(Arc::new(LocalKey::new(&key).map_err(|e| damaged(name, e))?))
    }

    async fn get(&self, name: &KeyName) -> Result<Option<Arc<dyn CaKey>>, KeyStoreError> {
        let file = file(name);
        let Some(pem) = self.folder.run(move |folder| folder.read(&file, true)).await? else { return Ok(None) };
        let key = PrivateKey::from_pem(&pem).and_then(|key| LocalKey::new(&key)).map_err(|e| damaged(name, e))?;
        Ok(Some(Arc::new(key)))
    }

    async fn remove(&self, name: &KeyName) -> Result<(), KeyStoreError> {
        let file = file(name);
        Ok(self.folder.run(move |folder| folder.remove(&file)).await?)
    }
}
