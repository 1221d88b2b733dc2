//! The whole configuration at one moment.

mod facet;
mod field_diff;
mod index;
mod link;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use self::field_diff::{affected_hosts, changed_fields};
use self::index::Index;
use crate::model::{Kind, KindSpec, Object, ObjectKey};

type ByName = BTreeMap<Arc<str>, Arc<Object>>;
type ByNamespace = BTreeMap<Arc<str>, Arc<ByName>>;

/// The whole configuration at one moment: immutable, indexed, cheap to clone.
///
/// Objects are found by kind, by kind and namespace, by key, and by what is in them: hosts, labels, references. A change
/// copies only the namespace of the kind that it touches, and a few small parts of the index; everything else is shared
/// with the snapshot before. Iteration is in the order of [`ObjectKey`].
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    kinds: BTreeMap<Kind, Arc<ByNamespace>>,
    index: Index,
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

    fn sort(&mut self) {
        self.added.sort();
        self.changed.sort();
        self.removed.sort();
    }
}

impl Snapshot {
    /// A snapshot of some objects; of several with the same key the last counts.
    #[must_use]
    pub fn from_objects(objects: impl IntoIterator<Item = Arc<Object>>) -> Self {
        let mut objects: Vec<_> = objects.into_iter().collect();
        // In order, the index only ever appends.
        objects.sort_by(|a, b| a.key().cmp(b.key()));
        let mut snapshot = Self::default();
        for object in objects {
            snapshot.insert(object);
        }
        snapshot
    }

    /// Some of its objects, with its index: what is looked up is found only if it is one of them.
    pub(crate) fn part(&self, keys: &BTreeSet<ObjectKey>) -> Self {
        let mut kinds: BTreeMap<Kind, BTreeMap<Arc<str>, ByName>> = BTreeMap::new();
        let mut len = 0;
        for object in keys.iter().filter_map(|key| self.object(key)) {
            let ObjectKey { kind, namespace, name } = object.key();
            let names = kinds.entry(*kind).or_default().entry(Arc::clone(namespace)).or_default();
            names.insert(Arc::clone(name), Arc::clone(object));
            len += 1;
        }
        let share = |kind: BTreeMap<Arc<str>, ByName>| {
            Arc::new(kind.into_iter().map(|(namespace, names)| (namespace, Arc::new(names))).collect())
        };
        let kinds = kinds.into_iter().map(|(kind, names)| (kind, share(names))).collect();
        Self { kinds, index: self.index.clone(), len, version: self.version }
    }

    /// Calls back with each object that is not the very same in both, as it is in `self` and in `later`. Shared parts
    /// cost nothing.
    pub(crate) fn compare<'a>(
        &'a self,
        later: &'a Self,
        mut visit: impl FnMut(Option<&'a Arc<Object>>, Option<&'a Arc<Object>>),
    ) {
        for kind in Kind::all() {
            let (old, new) = (self.kinds.get(&kind), later.kinds.get(&kind));
            if same_part(old, new) {
                continue;
            }
            let namespaces: BTreeSet<_> = [old, new].into_iter().flatten().flat_map(|kind| kind.keys()).collect();
            for namespace in namespaces {
                let names = |kind: Option<&'a Arc<ByNamespace>>| kind.and_then(|kind| kind.get(namespace));
                let (old, new) = (names(old), names(new));
                if same_part(old, new) {
                    continue;
                }
                for (name, object) in new.into_iter().flat_map(|names| names.iter()) {
                    match old.and_then(|old| old.get(name)) {
                        Some(before) if Arc::ptr_eq(before, object) => {}
                        before => visit(before, Some(object)),
                    }
                }
                let still = |name: &Arc<str>| new.is_some_and(|new| new.contains_key(name));
                let gone = old.into_iter().flat_map(|names| names.iter()).filter(|(name, _)| !still(name));
                gone.for_each(|(_, object)| visit(Some(object), None));
            }
        }
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
        self.compare(later, |before, after| match (before, after) {
            (None, Some(object)) => change.added.push(object.key().clone()),
            (Some(object), None) => change.removed.push(object.key().clone()),
            (Some(before), Some(after)) if !before.same_content(after) => change.changed.push(after.key().clone()),
            _ => {}
        });
        change.sort();
        change
    }

    pub(crate) fn set_version(&mut self, version: u64) {
        self.version = version;
    }

    pub(crate) fn insert(&mut self, object: Arc<Object>) {
        let key = object.key();
        let kind = Arc::make_mut(self.kinds.entry(key.kind).or_default());
        let names = Arc::make_mut(kind.entry(Arc::clone(&key.namespace)).or_default());
        let old = names.insert(Arc::clone(&key.name), Arc::clone(&object));
        match old {
            Some(old) => self.index.remove(&old),
            None => self.len += 1,
        }
        self.index.insert(&object);
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        let Some(kind) = self.kinds.get_mut(&key.kind).map(Arc::make_mut) else { return };
        let Some(names) = kind.get_mut(&key.namespace).map(Arc::make_mut) else { return };
        let old = names.remove(&key.name);
        if names.is_empty() {
            kind.remove(&key.namespace);
        }
        if let Some(old) = old {
            self.len -= 1;
            self.index.remove(&old);
        }
    }
}

/// Whether two snapshots share a part, or both lack it.
fn same_part<T>(old: Option<&Arc<T>>, new: Option<&Arc<T>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
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
