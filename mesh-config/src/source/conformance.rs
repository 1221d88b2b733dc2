//! Checks of the [`ConfigSource`] contract that any implementation can run (feature `test-util`).
//!
//! The checks panic with what is wrong, as tests do.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc, time::Duration};

use super::{ConfigSource, Event, ObjectChange};
use crate::{
    model::{Object, ObjectKey, ObjectMeta, ServiceEntry},
    snapshot::Snapshot,
};

/// A source under test, and the means to change what it reads.
pub trait Harness: fmt::Debug {
    /// The source's type.
    type Source: ConfigSource;

    /// Makes a source that reads what `put` has stored so far.
    fn source(&mut self) -> Self::Source;

    /// Stores an object where the source reads it.
    fn put(&mut self, object: &Object) -> impl Future<Output = ()>;

    /// Takes an object out from where the source reads it.
    fn remove(&mut self, key: &ObjectKey) -> impl Future<Output = ()>;
}

/// How long a source may take to tell a change.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs all checks.
///
/// # Panics
///
/// When the source breaks the contract.
pub async fn check<H: Harness>(mut harness: H) {
    harness.put(&entry("first", "a.example.com")).await;
    let mut source = harness.source();
    let health = source.health();
    assert!(!health.now().ready, "a source that has told nothing is not ready");
    let mut view = View::default();
    view.take(&mut source).await;
    assert!(view.whole, "the first event must be a snapshot");
    let first = health.now();
    assert!(first.ready && first.last_read.is_some(), "a source that has told its whole set is ready: {first:?}");
    assert_eq!(view.hosts(), ["a.example.com"], "the first snapshot must hold the whole set");

    harness.put(&entry("second", "b.example.com")).await;
    view.until(&mut source, &["a.example.com", "b.example.com"]).await;

    harness.put(&entry("first", "c.example.com")).await;
    view.until(&mut source, &["b.example.com", "c.example.com"]).await;

    harness.remove(entry("second", "").key()).await;
    view.until(&mut source, &["c.example.com"]).await;

    // Cancel safety: a wait that is given up loses nothing.
    for round in 0..20 {
        let host = format!("d{round}.example.com");
        harness.put(&entry("first", &host)).await;
        let _ = tokio::time::timeout(Duration::from_micros(round * 50), view.take(&mut source)).await;
        view.until(&mut source, &[&host]).await;
    }

    assert!(health.now().last_read >= first.last_read, "the time of the last reading must not go back");

    let mut fresh = View::default();
    fresh.take(&mut harness.source()).await;
    assert_eq!(fresh.hosts(), view.hosts(), "a new source must tell the present state");
}

/// An object to store.
fn entry(name: &str, host: &str) -> Object {
    let meta = ObjectMeta { name: name.to_owned(), namespace: Some("conformance".to_owned()), ..ObjectMeta::default() };
    Object::new(meta, ServiceEntry { hosts: vec![host.to_owned()], ..ServiceEntry::default() })
}

/// What a listener knows from the events.
#[derive(Default)]
struct View {
    whole: bool,
    objects: BTreeMap<ObjectKey, Arc<Object>>,
}

impl View {
    fn hosts(&self) -> Vec<String> {
        let snapshot = Snapshot::from_objects(self.objects.values().cloned());
        let mut hosts: Vec<_> = snapshot.all::<ServiceEntry>().flat_map(|entry| entry.spec.hosts.clone()).collect();
        hosts.sort();
        hosts
    }

    async fn until(&mut self, source: &mut impl ConfigSource, hosts: &[&str]) {
        while self.hosts() != hosts {
            self.take(source).await;
        }
    }

    async fn take(&mut self, source: &mut impl ConfigSource) {
        let event = tokio::time::timeout(PATIENCE, source.next()).await;
        let changes = match event.expect("the source must tell changes in time").expect("the source must not end") {
            Event::Failed(_) => return,
            Event::Snapshot(changes) => {
                self.whole = true;
                self.objects.clear();
                changes
            }
            Event::Changes(changes) => {
                assert!(self.whole, "changes must not come before the first snapshot");
                changes
            }
        };
        for change in changes {
            match change {
                ObjectChange::Applied(object) => {
                    self.objects.insert(object.key().clone(), object);
                }
                ObjectChange::Deleted(key) => {
                    assert!(self.objects.remove(&key).is_some(), "{key} was deleted but never applied");
                }
                ObjectChange::Refused { key, diagnostics } => panic!("{key} was refused: {diagnostics:?}"),
                ObjectChange::Findings { .. } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::source::{DirectorySource, MemoryHandle, MemorySource};

    #[derive(Debug)]
    struct Memory {
        handles: Vec<MemoryHandle>,
        objects: BTreeMap<ObjectKey, Arc<Object>>,
    }

    impl Harness for Memory {
        type Source = MemorySource;

        fn source(&mut self) -> MemorySource {
            let (handle, source) = MemorySource::new();
            handle.replace(self.objects.values().cloned());
            self.handles.push(handle);
            source
        }

        async fn put(&mut self, object: &Object) {
            let object = Arc::new(object.clone());
            self.objects.insert(object.key().clone(), Arc::clone(&object));
            self.handles.iter().for_each(|handle| handle.apply(Arc::clone(&object)));
        }

        async fn remove(&mut self, key: &ObjectKey) {
            self.objects.remove(key);
            self.handles.iter().for_each(|handle| {
                handle.delete(key);
            });
        }
    }

    #[derive(Debug)]
    struct Folder(tempfile::TempDir);

    impl Harness for Folder {
        type Source = DirectorySource;

        fn source(&mut self) -> DirectorySource {
            DirectorySource::new([self.0.path()])
        }

        async fn put(&mut self, object: &Object) {
            let value = serde_json::json!({
                "apiVersion": object.api_version, "kind": object.kind().as_str(), "metadata": object.meta,
                "spec": {"hosts": object.spec_as::<ServiceEntry>().unwrap().hosts},
            });
            // Written beside and renamed, as careful writers do.
            let mut file = tempfile::NamedTempFile::new_in(self.0.path()).unwrap();
            file.write_all(value.to_string().as_bytes()).unwrap();
            file.persist(self.0.path().join(format!("{}.json", object.name()))).unwrap();
        }

        async fn remove(&mut self, key: &ObjectKey) {
            std::fs::remove_file(self.0.path().join(format!("{}.json", key.name))).unwrap();
        }
    }

    #[tokio::test]
    async fn memory_conforms() {
        check(Memory { handles: Vec::new(), objects: BTreeMap::new() }).await;
    }

    #[tokio::test]
    async fn directory_conforms() {
        check(Folder(tempfile::tempdir().unwrap())).await;
    }
}
