//! [`MemoryKeyStore`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{CaKey, KeyName, KeyStore, KeyStoreError, LocalKey};
use crate::spiffe::{KeyType, PrivateKey};

/// Keeps keys in this process, and nowhere else: for CAs that end with it, and for tests.
#[derive(Debug, Default)]
pub struct MemoryKeyStore {
    keys: Mutex<BTreeMap<KeyName, Arc<LocalKey>>>,
}

impl MemoryKeyStore {
    /// Without keys.
    pub fn new() -> Self {
        Self::default()
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<KeyName, Arc<LocalKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KeyStore for MemoryKeyStore {
    async fn generate(&self, name: &KeyName, key_type: KeyType) -> Result<Arc<dyn CaKey>, KeyStoreError> {
        let failed = |e: &dyn std::fmt::Display| KeyStoreError::Sign(e.to_string());
        // RSA keys take long to make.
        let made = tokio::task::spawn_blocking(move || LocalKey::new(&PrivateKey::generate(key_type)?));
        let made = Arc::new(made.await.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?);
        let mut keys = self.keys();
        if keys.contains_key(name) {
            return Err(KeyStoreError::Exists(name.clone()));
        }
        keys.insert(name.clone(), Arc::clone(&made));
        Ok(made)
    }

    async fn get(&self, name: &KeyName) -> Result<Option<Arc<dyn CaKey>>, KeyStoreError> {
        Ok(self.keys().get(name).map(|key| Arc::clone(key) as Arc<dyn CaKey>))
    }

    async fn remove(&self, name: &KeyName) -> Result<(), KeyStoreError> {
        self.keys().remove(name);
        Ok(())
    }
}
