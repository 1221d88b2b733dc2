use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    TlsError,
    server::{ServerTlsHandle, WeakServerTls},
    tickets::check_keys,
    verify::anchors,
};
use crate::model::{Secret, SecretRef, SecretValue, ServerTls};

/// Gives secrets by name within this process, so that keys need not travel over SDS.
///
/// Registered for the name of a cluster: SDS configurations that point to that cluster are answered by the source
/// instead of a connection.
///
/// # Contract
///
/// - `watch` returns at once. The receiver holds `None` until the secret exists, and each newer value as it comes; an
///   unknown name stays `None`.
/// - Several watches of one name are allowed. Dropping the receiver ends interest; nothing else must be done.
/// - When the source ends, the last value stays in use.
pub trait SecretSource: fmt::Debug + Send + Sync {
    /// The secret with this name, now and later.
    fn watch(&self, name: &str) -> watch::Receiver<Option<Arc<Secret>>>;
}

/// Current secrets by reference: written by the control thread, read by whoever builds TLS configurations. Cheap to
/// clone.
#[derive(Clone, Debug, Default)]
pub struct SecretStore {
    slots: Arc<Mutex<HashMap<SecretRef, Arc<Slot>>>>,
    servers: Arc<Mutex<Servers>>,
}

/// Handles of configurations by their place, while the configuration lives.
type Servers = HashMap<usize, (Weak<ServerTls>, WeakServerTls)>;

/// Place of one secret.
#[derive(Debug, Default)]
pub(super) struct Slot {
    value: ArcSwapOption<Secret>,
    version: AtomicU64,
}

impl Slot {
    /// Of a secret that never changes.
    pub(super) fn fixed(secret: &Arc<Secret>) -> Arc<Self> {
        Arc::new(Self { value: ArcSwapOption::from(Some(secret.clone())), version: AtomicU64::new(1) })
    }

    /// Zero until there is a value; grows with every new one.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    pub(super) fn value(&self) -> Option<Arc<Secret>> {
        self.value.load_full()
    }
}

impl SecretStore {
    /// Sets or replaces a secret. Handles that use it notice with their next connection.
    pub fn set(&self, name: &SecretRef, secret: Arc<Secret>) {
        let slot = self.slot(name);
        if slot.value.load().as_deref() == Some(&*secret) {
            return;
        }
        slot.value.store(Some(secret));
        slot.version.fetch_add(1, Release);
    }

    /// The secret, if it arrived.
    #[must_use]
    pub fn get(&self, name: &SecretRef) -> Option<Arc<Secret>> {
        self.slots.lock().get(name).and_then(|slot| slot.value())
    }

    /// Forgets a secret that no configuration names any more. Configurations built with it keep working.
    pub fn remove(&self, name: &SecretRef) {
        self.slots.lock().remove(name);
    }

    /// Every secret that arrived, with its reference, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<(SecretRef, Arc<Secret>)> {
        self.slots.lock().iter().filter_map(|(name, slot)| Some((name.clone(), slot.value()?))).collect()
    }

    /// The handle of a configuration, the same for all workers: a session that was made on one is resumed on any.
    pub(super) fn server(&self, config: &Arc<ServerTls>) -> ServerTlsHandle {
        let mut servers = self.servers.lock();
        servers.retain(|_, (config, _)| config.strong_count() > 0);
        // Its place tells a configuration while it lives; its entry goes with it.
        let place = Arc::as_ptr(config) as usize;
        if let Some(known) = servers.get(&place).and_then(|(_, handle)| handle.upgrade()) {
            return known;
        }
        let handle = ServerTlsHandle::new(config, self);
        servers.insert(place, (Arc::downgrade(config), handle.downgrade()));
        handle
    }

    pub(super) fn slot(&self, name: &SecretRef) -> Arc<Slot> {
        self.slots.lock().entry(name.clone()).or_default().clone()
    }
}

/// Whether a secret can be used: the key fits the leaf certificate, roots and revocation lists can be read. The control
/// side refuses (NACKs) what fails here.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_secret(secret: &Secret) -> Result<(), TlsError> {
    match &secret.value {
        SecretValue::Certificate { .. } => super::provider::certified_key(secret).map(drop),
        SecretValue::Validation { .. } => anchors(secret).map(drop),
        SecretValue::SessionTicketKeys(_) => check_keys(secret),
    }
}
