use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::SecretSource;
use crate::model::Secret;

/// Secrets held in memory: the ready-made [`SecretSource`], for embedders that get certificates by their own means.
///
/// ```
/// use mesh_proxy::{model::{Secret, SecretValue}, tls::{MemorySecrets, SecretSource}};
///
/// let secrets = MemorySecrets::default();
/// let mut roots = secrets.watch("ROOTCA");
/// assert!(roots.borrow_and_update().is_none());
/// let value = SecretValue::Validation { roots: Vec::new(), crls: Vec::new(), rules: Default::default() };
/// secrets.set(Secret { name: "ROOTCA".to_owned(), value });
/// assert!(roots.borrow_and_update().is_some());
/// ```
#[derive(Debug, Default)]
pub struct MemorySecrets(Mutex<HashMap<String, watch::Sender<Option<Arc<Secret>>>>>);

impl MemorySecrets {
    /// Sets or replaces the secret with the name that it bears. Those who watch it are told.
    pub fn set(&self, secret: Secret) {
        let mut secrets = self.0.lock();
        let sender = secrets.entry(secret.name.clone()).or_default();
        sender.send_replace(Some(Arc::new(secret)));
    }
}

impl SecretSource for MemorySecrets {
    fn watch(&self, name: &str) -> watch::Receiver<Option<Arc<Secret>>> {
        self.0.lock().entry(name.to_owned()).or_default().subscribe()
    }
}
