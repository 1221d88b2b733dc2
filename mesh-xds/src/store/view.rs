//! One set of resources.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::{
    Revision, Scope, ViewWatcher,
    batch::{Batch, Changed, Step},
    scope::Member,
};
use crate::{
    Resource, ResourceKey, ResourceName, TypeUrl,
    protocol::server::{Ledger, Sharing},
};

/// One set of resources of all types, as some clients are to see it.
///
/// Writers and readers take a short lock; nothing is awaited under it. An update takes effect as a whole.
#[derive(Debug)]
pub struct View {
    ledger: RwLock<Ledger>,
    revision: watch::Sender<Revision>,
    member: Member,
    sharing: Sharing,
    /// Up to where each watcher has told removals.
    told: Mutex<Vec<Weak<AtomicU64>>>,
}

impl View {
    /// An empty view in a scope of its own.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::within(&Scope::new())
    }

    /// An empty view whose clients depend on those of the scope's other views.
    #[must_use]
    pub fn within(scope: &Scope) -> Arc<Self> {
        Arc::new(Self {
            ledger: RwLock::default(),
            revision: watch::Sender::new(Revision::NONE),
            member: scope.join(),
            sharing: Sharing::default(),
            told: Mutex::default(),
        })
    }

    /// Applies `batch`, whole. Costs what the batch names.
    pub fn update(&self, batch: Batch) -> Changed {
        self.write(batch.steps.len(), |ledger, changed| {
            for step in batch.steps {
                match step {
                    Step::Put(resource) => put(ledger, resource, changed),
                    Step::Remove(key) => remove(ledger, key, changed),
                }
            }
        })
    }

    /// Makes `resources` the whole content, of all types: what is not among them is removed. Costs the size of both
    /// sets; watchers hear of the difference only.
    pub fn replace(&self, resources: impl IntoIterator<Item = Resource>) -> Changed {
        let resources: Vec<Resource> = resources.into_iter().collect();
        let steps = resources.len() + self.len();
        self.write(steps, |ledger, changed| {
            let stale = keys_besides(ledger, &resources);
            resources.into_iter().for_each(|resource| put(ledger, resource, changed));
            stale.into_iter().for_each(|key| remove(ledger, key, changed));
        })
    }

    fn write(&self, steps: usize, change: impl FnOnce(&mut Ledger, &mut Changed)) -> Changed {
        let mut changed = Changed::default();
        let mut ledger = self.ledger.write();
        // Numbered under the lock, so that a view's revisions only grow.
        ledger.advance(self.member.reserve(steps));
        change(&mut ledger, &mut changed);
        if changed.is_empty() {
            return changed;
        }
        ledger.forget_removals(self.told_by_all());
        let revision = ledger.revision();
        self.member.changed(revision);
        drop(ledger);
        self.revision.send_modify(|r| *r = revision.max(*r));
        changed
    }

    /// Up to where every watcher has told removals.
    fn told_by_all(&self) -> Revision {
        let mut told = self.told.lock();
        let mut all = Revision::MAX;
        told.retain(|one| match one.upgrade() {
            Some(one) => {
                all = all.min(Revision(one.load(Ordering::Relaxed)));
                true
            }
            None => false,
        });
        all
    }

    /// One resource.
    #[must_use]
    pub fn get(&self, type_url: &TypeUrl, name: &str) -> Option<Arc<Resource>> {
        self.ledger.read().get(type_url, name).cloned()
    }

    /// The resources of one type, by name.
    #[must_use]
    pub fn list(&self, type_url: &TypeUrl) -> Vec<Arc<Resource>> {
        let mut list: Vec<_> = self.ledger.read().list(type_url).cloned().collect();
        list.sort_by(|a, b| a.name().cmp(b.name()));
        list
    }

    /// All resources, by type and name, as of one moment.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<ResourceKey, Arc<Resource>> {
        let ledger = self.ledger.read();
        ledger.types().flat_map(|kind| ledger.list(kind)).map(|r| (r.key(), r.clone())).collect()
    }

    /// How many resources there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ledger.read().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The revision of the last change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// The scope.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        self.member.scope()
    }

    /// Calls `read` with the content as of one moment. Writers wait meanwhile: be short, and call no other method of
    /// this view.
    pub fn read<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.ledger.read())
    }

    /// A watcher that has seen nothing yet.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> ViewWatcher {
        ViewWatcher::new(self.clone(), self.revision.subscribe())
    }

    pub(super) fn member(&self) -> &Member {
        &self.member
    }

    pub(crate) fn sharing(&self) -> &Sharing {
        &self.sharing
    }

    /// Remembers removals until the counter says that they were told.
    pub(super) fn remember_for(&self, told: &Arc<AtomicU64>) {
        self.told.lock().push(Arc::downgrade(told));
    }
}

fn put(ledger: &mut Ledger, resource: Resource, changed: &mut Changed) {
    let key = resource.key();
    if ledger.put(resource) {
        changed.put.push(key);
    }
}

fn remove(ledger: &mut Ledger, key: ResourceKey, changed: &mut Changed) {
    if ledger.remove(&key.type_url, key.name.as_str()) {
        changed.removed.push(key);
    }
}

fn keys_besides(ledger: &Ledger, resources: &[Resource]) -> Vec<ResourceKey> {
    let kept: HashSet<(&TypeUrl, &ResourceName)> = resources.iter().map(|r| (r.type_url(), r.name())).collect();
    let all = ledger.types().flat_map(|kind| ledger.list(kind));
    all.filter(|r| !kept.contains(&(r.type_url(), r.name()))).map(|r| r.key()).collect()
}

#[cfg(test)]
mod tests {
    use mesh_xds_api::envoy::config::cluster::v3::Cluster;

    use super::*;

    fn cluster(name: &str, alt: &str) -> Resource {
        let message = Cluster { name: name.into(), alt_stat_name: alt.into(), ..Default::default() };
        Resource::pack(name, &message)
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let view = View::new();
        let changed = view.update(Batch::new().put(cluster("a", "")).put(cluster("b", "")));
        assert_eq!(changed.put.len(), 2);
        let before = view.revision();
        assert!(view.update(Batch::new().put(cluster("a", ""))).is_empty());
        assert_eq!(view.revision(), before);
        let changed = view.replace([cluster("a", "x"), cluster("c", "")]);
        let names = |keys: &[ResourceKey]| keys.iter().map(|k| k.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&changed.put), ["a", "c"]);
        assert_eq!(names(&changed.removed), ["b"]);
        assert_eq!(view.len(), 2);
    }

    #[test]
    fn another_origin_is_no_change_but_is_kept() {
        let view = View::new();
        view.update(Batch::new().put(cluster("a", "")));
        let origin = crate::Origin::object("Service", "default", "a");
        assert!(view.update(Batch::new().put(cluster("a", "").with_origin(origin.clone()))).is_empty());
        assert_eq!(view.get(&TypeUrl::CLUSTER, "a").unwrap().origin(), Some(&origin));
    }
}
