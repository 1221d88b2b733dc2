//! One set of resources.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::RwLock;
use tokio::sync::watch;

use super::{
    ViewWatcher,
    batch::{Batch, Changed, Step},
    log::ChangeLog,
};
use crate::{Resource, ResourceKey, ResourceName, TypeUrl, protocol::server::ResourceSet};

/// Changed names kept for watchers. A watcher that lags further behind compares everything once.
const LOG_LIMIT: usize = 16_384;

/// Counts the updates of a view that changed something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub(super) u64);

/// One set of resources of all types, as some clients are to see it.
///
/// Writers and readers take a short lock; nothing is awaited under it. An update takes effect as a whole.
#[derive(Debug)]
pub struct View {
    content: RwLock<Content>,
    revision: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct Content {
    types: HashMap<TypeUrl, BTreeMap<ResourceName, Arc<Resource>>>,
    pub(super) log: ChangeLog,
    pub(super) revision: u64,
}

impl View {
    /// An empty view.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let content = Content { types: HashMap::new(), log: ChangeLog::new(LOG_LIMIT), revision: 0 };
        Arc::new(Self { content: RwLock::new(content), revision: watch::Sender::new(0) })
    }

    /// Applies `batch`, whole. Costs what the batch names.
    pub fn update(&self, batch: Batch) -> Changed {
        self.write(|content, changed| {
            for step in batch.steps {
                match step {
                    Step::Put(resource) => content.put(resource, changed),
                    Step::Remove(key) => content.remove(key, changed),
                }
            }
        })
    }

    /// Makes `resources` the whole content, of all types: what is not among them is removed. Costs the size of both
    /// sets; watchers hear of the difference only.
    pub fn replace(&self, resources: impl IntoIterator<Item = Resource>) -> Changed {
        let resources: Vec<Resource> = resources.into_iter().collect();
        self.write(|content, changed| {
            let stale = content.keys_besides(&resources);
            resources.into_iter().for_each(|resource| content.put(resource, changed));
            stale.into_iter().for_each(|key| content.remove(key, changed));
        })
    }

    fn write(&self, change: impl FnOnce(&mut Content, &mut Changed)) -> Changed {
        let mut changed = Changed::default();
        let mut content = self.content.write();
        content.revision += 1;
        change(&mut content, &mut changed);
        if changed.is_empty() {
            content.revision -= 1;
            return changed;
        }
        content.log.trim();
        let revision = content.revision;
        drop(content);
        self.revision.send_modify(|r| *r = revision.max(*r));
        changed
    }

    /// One resource.
    #[must_use]
    pub fn get(&self, type_url: &TypeUrl, name: &str) -> Option<Arc<Resource>> {
        self.content.read().get(type_url, name).cloned()
    }

    /// The resources of one type, by name.
    #[must_use]
    pub fn list(&self, type_url: &TypeUrl) -> Vec<Arc<Resource>> {
        self.content.read().types.get(type_url).map(|t| t.values().cloned().collect()).unwrap_or_default()
    }

    /// All resources, by type and name, as of one moment.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<ResourceKey, Arc<Resource>> {
        let content = self.content.read();
        content.types.values().flat_map(BTreeMap::values).map(|r| (r.key(), r.clone())).collect()
    }

    /// How many resources there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.content.read().types.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The current revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.content.read().revision)
    }

    /// Calls `read` with the content as of one moment. Writers wait meanwhile: be short, and call no other method of
    /// this view.
    pub fn read<T>(&self, read: impl FnOnce(&dyn ResourceSet) -> T) -> T {
        read(&*self.content.read())
    }

    pub(super) fn read_content<T>(&self, read: impl FnOnce(&Content) -> T) -> T {
        read(&self.content.read())
    }

    /// A watcher that has seen nothing yet.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> ViewWatcher {
        ViewWatcher::new(self.clone(), self.revision.subscribe())
    }
}

impl Content {
    fn put(&mut self, resource: Resource, changed: &mut Changed) {
        let names = self.types.entry(resource.type_url().clone()).or_default();
        if let Some(old) = names.get_mut(resource.name())
            && old.version() == resource.version()
        {
            // Same bytes, perhaps from another object.
            if old.origin() != resource.origin() {
                *old = Arc::new(resource);
            }
            return;
        }
        let key = resource.key();
        names.insert(key.name.clone(), Arc::new(resource));
        self.log.push(self.revision, key.clone());
        changed.put.push(key);
    }

    fn remove(&mut self, key: ResourceKey, changed: &mut Changed) {
        let Some(names) = self.types.get_mut(&key.type_url) else { return };
        if names.remove(key.name.as_str()).is_none() {
            return;
        }
        if names.is_empty() {
            self.types.remove(&key.type_url);
        }
        self.log.push(self.revision, key.clone());
        changed.removed.push(key);
    }

    fn keys_besides(&self, resources: &[Resource]) -> Vec<ResourceKey> {
        let kept: std::collections::HashSet<(&TypeUrl, &ResourceName)> =
            resources.iter().map(|r| (r.type_url(), r.name())).collect();
        let all = self.types.values().flat_map(BTreeMap::values);
        all.filter(|r| !kept.contains(&(r.type_url(), r.name()))).map(|r| r.key()).collect()
    }
}

impl ResourceSet for Content {
    fn get(&self, type_url: &TypeUrl, name: &str) -> Option<&Arc<Resource>> {
        self.types.get(type_url)?.get(name)
    }

    fn for_each(&self, type_url: &TypeUrl, each: &mut dyn FnMut(&Arc<Resource>)) {
        self.types.get(type_url).into_iter().flat_map(BTreeMap::values).for_each(each);
    }
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
