//! The whole configuration at one moment.

mod field_diff;

use std::{collections::BTreeMap, sync::Arc};

pub use self::field_diff::{affected_hosts, changed_fields};
use crate::model::{Kind, KindSpec, Object, ObjectKey};

type ByName = BTreeMap<Arc<str>, Arc<Object>>;
type ByNamespace = BTreeMap<Arc<str>, Arc<ByName>>;

/// The whole configuration at one moment: immutable, indexed, cheap to clone.
///
/// Objects are found by kind, by kind and namespace, and by key. A change copies only the namespace of the kind that it
/// touches; everything else is shared with the snapshot before. Iteration is in the order of [`ObjectKey`].
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    kinds: BTreeMap<Kind, Arc<ByNamespace>>,
    len: usize,
    version: u64,
}

/// An object together with its content in its own type.
#[derive(Debug)]
pub struct Typed<'a, T> {
    /// The object.
    pub object: &'a Arc<Object>,
    /// Its content.
    pub spec: &'a T,
}

impl<T> Clone for Typed<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Typed<'_, T> {}

/// The keys by which two snapshots differ, each list in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Objects that the later one has in addition.
    pub added: Vec<ObjectKey>,
    /// Objects that say something else in the later one.
    pub changed: Vec<ObjectKey>,
    /// Objects that the later one lacks.
    pub removed: Vec<ObjectKey>,
}

impl Change {
    /// Whether the snapshots say the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    /// Every key of the change.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.added.iter().chain(&self.changed).chain(&self.removed)
    }

    pub(crate) fn sort(&mut self) {
        self.added.sort();
        self.changed.sort();
        self.removed.sort();
    }
}

impl Snapshot {
    /// A snapshot of some objects; of several with the same key the last counts.
    #[must_use]
    pub fn from_objects(objects: impl IntoIterator<Item = Arc<Object>>) -> Self {
        let mut snapshot = Self::default();
        for object in objects {
            snapshot.insert(object);
        }
        snapshot
    }

    /// Counts the changes since the store began; 0 for a snapshot made by hand.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every object.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.kinds.values().flat_map(|kind| kind.values()).flat_map(|names| names.values())
    }

    /// The objects of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Object>> {
        self.kinds.get(&kind).into_iter().flat_map(|kind| kind.values()).flat_map(|names| names.values())
    }

    /// The objects of a kind in a namespace.
    pub fn in_namespace(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.kinds.get(&kind).and_then(|kind| kind.get(namespace)).into_iter().flat_map(|names| names.values())
    }

    /// The object with a key.
    #[must_use]
    pub fn object(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.kinds.get(&key.kind)?.get(&key.namespace)?.get(&key.name)
    }

    /// The objects of a type.
    pub fn all<T: KindSpec>(&self) -> impl Iterator<Item = Typed<'_, T>> {
        self.of_kind(T::KIND).filter_map(typed)
    }

    /// The objects of a type in a namespace.
    pub fn all_in<T: KindSpec>(&self, namespace: &str) -> impl Iterator<Item = Typed<'_, T>> {
        self.in_namespace(T::KIND, namespace).filter_map(typed)
    }

    /// The object of a type with a namespace (empty for kinds without) and a name.
    #[must_use]
    pub fn find<T: KindSpec>(&self, namespace: &str, name: &str) -> Option<Typed<'_, T>> {
        typed(self.kinds.get(&T::KIND)?.get(namespace)?.get(name)?)
    }

    /// The namespaces in which a kind has objects.
    pub fn namespaces(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.kinds.get(&kind).into_iter().flat_map(|kind| kind.keys()).map(|namespace| &**namespace)
    }

    /// What changed from `self` to `later`. Shared parts cost nothing.
    #[must_use]
    pub fn diff(&self, later: &Self) -> Change {
        let mut change = Change::default();
        for kind in Kind::all() {
            let (old, new) = (self.kinds.get(&kind), later.kinds.get(&kind));
            if let (Some(old), Some(new)) = (old, new)
                && Arc::ptr_eq(old, new)
            {
                continue;
            }
            for object in later.of_kind(kind) {
                match self.object(object.key()) {
                    None => change.added.push(object.key().clone()),
                    Some(before) if Arc::ptr_eq(before, object) || before.same_content(object) => {}
                    Some(_) => change.changed.push(object.key().clone()),
                }
            }
            let gone = self.of_kind(kind).filter(|object| later.object(object.key()).is_none());
            change.removed.extend(gone.map(|object| object.key().clone()));
        }
        change
    }

    pub(crate) fn set_version(&mut self, version: u64) {
        self.version = version;
    }

    pub(crate) fn insert(&mut self, object: Arc<Object>) {
        let key = object.key();
        let kind = Arc::make_mut(self.kinds.entry(key.kind).or_default());
        let names = Arc::make_mut(kind.entry(Arc::clone(&key.namespace)).or_default());
        if names.insert(Arc::clone(&key.name), object).is_none() {
            self.len += 1;
        }
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        let Some(kind) = self.kinds.get_mut(&key.kind).map(Arc::make_mut) else { return };
        let Some(names) = kind.get_mut(&key.namespace).map(Arc::make_mut) else { return };
        if names.remove(&key.name).is_some() {
            self.len -= 1;
        }
        if names.is_empty() {
            kind.remove(&key.namespace);
        }
    }
}

fn typed<T: KindSpec>(object: &Arc<Object>) -> Option<Typed<'_, T>> {
    object.spec_as().map(|spec| Typed { object, spec })
}

impl FromIterator<Arc<Object>> for Snapshot {
    fn from_iter<I: IntoIterator<Item = Arc<Object>>>(objects: I) -> Self {
        Self::from_objects(objects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ObjectMeta, Service, VirtualService};

    fn meta(namespace: &str, name: &str) -> ObjectMeta {
        ObjectMeta { name: name.into(), namespace: Some(namespace.into()), ..ObjectMeta::default() }
    }

    #[test]
    fn finds_by_kind_namespace_and_key() {
        let one = Arc::new(Object::new(meta("a", "x"), VirtualService::default()));
        let two = Arc::new(Object::new(meta("b", "x"), Service::default()));
        let snapshot: Snapshot = [Arc::clone(&one), two].into_iter().collect();
        assert_eq!(snapshot.len(), 2);
        assert_eq!(snapshot.all::<VirtualService>().count(), 1);
        assert_eq!(snapshot.all_in::<Service>("a").count(), 0);
        assert!(snapshot.find::<Service>("b", "x").is_some());
        assert!(Arc::ptr_eq(snapshot.object(one.key()).unwrap(), &one));
    }

    #[test]
    fn differs_by_content_only() {
        let first: Snapshot = [Arc::new(Object::new(meta("a", "x"), VirtualService::default()))].into_iter().collect();
        let mut later = first.clone();
        later.insert(Arc::new(Object::new(meta("a", "x"), VirtualService::default())));
        assert!(first.diff(&later).is_empty());
        let other = VirtualService { hosts: vec!["h".into()], ..VirtualService::default() };
        later.insert(Arc::new(Object::new(meta("a", "x"), other)));
        later.insert(Arc::new(Object::new(meta("a", "y"), Service::default())));
        let change = first.diff(&later);
        assert_eq!((change.added.len(), change.changed.len(), change.removed.len()), (1, 1, 0));
        let back = later.diff(&first);
        assert_eq!((back.added.len(), back.changed.len(), back.removed.len()), (0, 1, 1));
        later.remove(&change.added[0]);
        assert_eq!(later.len(), 1);
    }
}
