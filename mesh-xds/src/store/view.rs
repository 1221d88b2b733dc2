//! One set of resources.

use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::{
    ApiRules, Refused, ResourceCheck, Revision, Scope, Unchecked, ViewWatcher,
    batch::{Batch, Changed, Step},
    scope::Member,
    set_aside::{SetAside, Verdicts},
};
use crate::{
    Resource, ResourceKey, ResourceName, TypeUrl,
    protocol::server::{Ledger, Sharing},
};

/// One set of resources of all types, as some clients are to see it.
///
/// Writers and readers take a short lock; nothing is awaited under it. An update takes effect as a whole.
pub struct View {
    check: Arc<dyn ResourceCheck>,
    ledger: RwLock<Ledger>,
    revision: watch::Sender<Revision>,
    member: Member,
    sharing: Sharing,
    /// Up to where each watcher has told removals.
    told: Mutex<Vec<Weak<AtomicU64>>>,
    set_aside: SetAside,
}

/// An update that is about to be done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proposed<'a> {
    /// The content.
    pub(super) ledger: &'a Ledger,
    /// What will be done to it.
    pub(super) steps: &'a [Step],
    /// What will not.
    pub(super) refused: &'a [Refused],
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("revision", &self.revision())
            .field("resources", &self.len())
            .finish_non_exhaustive()
    }
}

impl View {
    /// An empty view in a scope of its own. What is put into it is held to the API's rules.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::with(Scope::new(), Arc::new(ApiRules))
    }

    /// As [`View::new`], but takes everything as it is.
    #[must_use]
    pub fn unchecked() -> Arc<Self> {
        Self::with(Scope::new(), Arc::new(Unchecked))
    }

    /// An empty view whose clients depend on those of the scope's other views. What is put into it must pass `check`.
    #[must_use]
    pub fn with(scope: Scope, check: Arc<dyn ResourceCheck>) -> Arc<Self> {
        Arc::new(Self {
            check,
            ledger: RwLock::default(),
            revision: watch::Sender::new(Revision::NONE),
            member: scope.join(),
            sharing: Sharing::default(),
            told: Mutex::default(),
            set_aside: SetAside::default(),
        })
    }

    /// Applies `batch`, whole but for what is refused. Costs what the batch names.
    pub fn update(&self, batch: Batch) -> Changed {
        certain(self.update_if(batch, |_| Ok(())))
    }

    /// As [`View::update`], if `agrees` does.
    pub(super) fn update_if<E>(
        &self,
        batch: Batch,
        agrees: impl FnOnce(Proposed<'_>) -> Result<(), E>,
    ) -> Result<Changed, E> {
        let mut verdicts = self.set_aside.verdicts();
        let mut steps = batch.steps;
        steps.retain(|step| match step {
            Step::Put(resource) => self.allows(resource, &mut verdicts),
            Step::Remove(key) => {
                verdicts.clear(|| key.clone());
                true
            }
        });
        let changed = self.write(|_| steps, verdicts.refused(), agrees)?;
        self.set_aside.settle(verdicts);
        Ok(changed)
    }

    /// Makes `resources` the whole content, of all types: what is not among them is removed; what is refused stays as it
    /// was. Costs the size of both sets; watchers hear of the difference only.
    pub fn replace(&self, resources: impl IntoIterator<Item = Resource>) -> Changed {
        certain(self.replace_if(resources, |_| Ok(())))
    }

    /// As [`View::replace`], if `agrees` does.
    pub(super) fn replace_if<E>(
        &self,
        resources: impl IntoIterator<Item = Resource>,
        agrees: impl FnOnce(Proposed<'_>) -> Result<(), E>,
    ) -> Result<Changed, E> {
        let mut verdicts = self.set_aside.verdicts();
        let mut resources: Vec<Resource> = resources.into_iter().collect();
        resources.retain(|resource| self.allows(resource, &mut verdicts));
        let set_aside = verdicts.keys();
        let steps = |ledger: &Ledger| {
            let stale = keys_besides(ledger, &resources, &set_aside);
            resources.into_iter().map(Step::Put).chain(stale.into_iter().map(Step::Remove)).collect()
        };
        let changed = self.write(steps, verdicts.refused(), agrees)?;
        self.set_aside.settle(verdicts);
        self.set_aside.retain(&set_aside);
        Ok(changed)
    }

    /// Whether `resource` may be shown. What the view has already is not looked at again.
    fn allows(&self, resource: &Resource, verdicts: &mut Verdicts) -> bool {
        let known = self.read(|ledger| {
            let known = ledger.get(resource.type_url(), resource.name().as_str());
            known.is_some_and(|known| known.version() == resource.version())
        });
        match if known { Ok(()) } else { self.verdict(resource) } {
            Ok(()) => {
                verdicts.clear(|| resource.key());
                true
            }
            Err(refused) => {
                verdicts.refuse(resource.version().clone(), refused);
                false
            }
        }
    }

    /// What the check says of new content, or has said of it.
    fn verdict(&self, resource: &Resource) -> Result<(), Refused> {
        if let Some(refused) = self.set_aside.known(resource) {
            return Err(refused);
        }
        let (key, origin) = (resource.key(), resource.origin().cloned());
        self.check.check(resource).map_err(|reason| Refused { key, origin, reason: reason.into() })
    }

    /// What was refused and has neither been replaced nor removed since.
    #[must_use]
    pub fn refused(&self) -> Vec<Refused> {
        self.set_aside.list()
    }

    fn write<E>(
        &self,
        steps: impl FnOnce(&Ledger) -> Vec<Step>,
        refused: Vec<Refused>,
        agrees: impl FnOnce(Proposed<'_>) -> Result<(), E>,
    ) -> Result<Changed, E> {
        let mut ledger = self.ledger.write();
        let steps = steps(&ledger);
        agrees(Proposed { ledger: &ledger, steps: &steps, refused: &refused })?;
        let mut changed = Changed { refused, ..Changed::default() };
        // Numbered under the lock, so that a view's revisions only grow.
        ledger.advance(self.member.reserve(steps.len()));
        for step in steps {
            match step {
                Step::Put(resource) => put(&mut ledger, resource, &mut changed),
                Step::Remove(key) => remove(&mut ledger, key, &mut changed),
            }
        }
        if changed.is_empty() {
            return Ok(changed);
        }
        ledger.forget_removals(self.told_by_all());
        let revision = ledger.revision();
        self.member.changed(revision);
        drop(ledger);
        self.revision.send_modify(|r| *r = revision.max(*r));
        Ok(changed)
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

/// What nobody objects to.
fn certain(changed: Result<Changed, Infallible>) -> Changed {
    match changed {
        Ok(changed) => changed,
        Err(never) => match never {},
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

fn keys_besides(ledger: &Ledger, resources: &[Resource], set_aside: &HashSet<ResourceKey>) -> Vec<ResourceKey> {
    let put = resources.iter().map(|r| (r.type_url(), r.name()));
    let kept: HashSet<(&TypeUrl, &ResourceName)> =
        put.chain(set_aside.iter().map(|key| (&key.type_url, &key.name))).collect();
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

    #[test]
    fn what_breaks_a_rule_is_set_aside_and_the_rest_goes_on() {
        let view = View::new();
        view.update(Batch::new().put(cluster("a", "")));
        let good = view.get(&TypeUrl::CLUSTER, "a");
        let origin = crate::Origin::object("Service", "default", "a");
        let zero = prost_types::Duration::default();
        let bad = Cluster { name: "a".into(), connect_timeout: Some(zero), ..Default::default() };
        let bad = || Resource::pack("a", &bad).with_origin(origin.clone());
        for changed in
            [view.update(Batch::new().put(bad()).put(cluster("b", "1"))), view.replace([bad(), cluster("b", "2")])]
        {
            assert_eq!((changed.put.len(), changed.removed.len()), (1, 0));
            let [refused] = &changed.refused[..] else { panic!("{:?}", changed.refused) };
            let text = refused.to_string();
            assert!(text.starts_with("CDS a (from Service default/a): "), "{text}");
            assert!(text.contains("connect_timeout"), "{text}");
            assert_eq!(view.get(&TypeUrl::CLUSTER, "a"), good, "the last good one stays");
            assert_eq!(view.refused().len(), 1);
        }
        view.update(Batch::new().put(cluster("a", "1")));
        assert!(view.refused().is_empty());
        assert_eq!(View::unchecked().update(Batch::new().put(bad())).put.len(), 1);
    }
}
