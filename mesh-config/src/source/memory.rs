//! A source in memory, for tests and for programs that make their own configuration.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{ConfigSource, Event, HealthHandle, HealthRecorder, ObjectChange};
use crate::model::{Object, ObjectKey};

type Objects = BTreeMap<ObjectKey, Arc<Object>>;

/// A source in memory; its [`MemoryHandle`]s change it.
///
/// Changes between two calls of `next` are merged, so that nothing queues up.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use mesh_config::{ConfigSource, Event, MemorySource, Object, ObjectMeta, model::VirtualService};
///
/// let (handle, mut source) = MemorySource::new();
/// let meta = ObjectMeta { name: "reviews".into(), ..ObjectMeta::default() };
/// handle.apply(Object::new(meta, VirtualService::default()));
/// assert!(matches!(source.next().await, Some(Event::Snapshot(objects)) if objects.len() == 1));
/// drop(handle);
/// assert!(source.next().await.is_none());
/// # });
/// ```
#[derive(Debug)]
pub struct MemorySource {
    objects: Arc<Mutex<Objects>>,
    changed: watch::Receiver<()>,
    told: Option<Objects>,
    health: HealthRecorder,
}

/// Changes a [`MemorySource`]. Cheap to clone; the source ends with its last handle.
#[derive(Clone, Debug)]
pub struct MemoryHandle {
    objects: Arc<Mutex<Objects>>,
    changed: watch::Sender<()>,
}

impl MemorySource {
    /// An empty source and its first handle.
    #[must_use]
    #[allow(clippy::new_ret_no_self)] // the handle comes with it, as with channels
    pub fn new() -> (MemoryHandle, Self) {
        let objects = Arc::new(Mutex::new(Objects::new()));
        let (sender, changed) = watch::channel(());
        (
            MemoryHandle { objects: Arc::clone(&objects), changed: sender },
            Self { objects, changed, told: None, health: HealthRecorder::new() },
        )
    }

    /// What is to be told now, if anything.
    fn event(&mut self) -> Option<Event> {
        self.health.read_well();
        let now = lock(&self.objects).clone();
        let Some(told) = &self.told else {
            let all = now.values().cloned().map(ObjectChange::Applied).collect();
            self.told = Some(now);
            return Some(Event::Snapshot(all));
        };
        let fresh = |object: &&Arc<Object>| told.get(object.key()).is_none_or(|before| !Arc::ptr_eq(before, object));
        let mut changes: Vec<_> = now.values().filter(fresh).cloned().map(ObjectChange::Applied).collect();
        let gone = told.keys().filter(|key| !now.contains_key(key));
        changes.extend(gone.cloned().map(ObjectChange::Deleted));
        self.told = Some(now);
        (!changes.is_empty()).then_some(Event::Changes(changes))
    }
}

impl MemoryHandle {
    /// Adds an object, or replaces the one with the same key.
    pub fn apply(&self, object: impl Into<Arc<Object>>) {
        let object = object.into();
        lock(&self.objects).insert(object.key().clone(), object);
        self.changed.send_replace(());
    }

    /// Takes an object out; whether it was there.
    pub fn delete(&self, key: &ObjectKey) -> bool {
        let found = lock(&self.objects).remove(key).is_some();
        self.changed.send_replace(());
        found
    }

    /// Replaces the whole set in one step.
    pub fn replace(&self, objects: impl IntoIterator<Item = Arc<Object>>) {
        let objects = objects.into_iter().map(|object| (object.key().clone(), object)).collect();
        *lock(&self.objects) = objects;
        self.changed.send_replace(());
    }
}

/// The map is whole after every statement, so a panic elsewhere leaves nothing half done.
fn lock(objects: &Mutex<Objects>) -> MutexGuard<'_, Objects> {
    objects.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl ConfigSource for MemorySource {
    async fn next(&mut self) -> Option<Event> {
        if self.told.is_none() {
            self.changed.mark_unchanged();
            return self.event();
        }
        loop {
            let ended = self.changed.changed().await.is_err();
            if let Some(event) = self.event() {
                return Some(event);
            }
            if ended {
                return None;
            }
        }
    }

    fn health(&self) -> HealthHandle {
        self.health.handle()
    }
}
