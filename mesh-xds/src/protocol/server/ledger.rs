//! The resources that streams speak of, and the order in which they changed.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use crate::{Resource, ResourceName, TypeUrl, Version};

/// Numbers changes. Compared within a ledger, or among ledgers that draw from one counter (`store::Scope`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Before every change.
    pub const NONE: Revision = Revision(0);
    /// After every change.
    pub const MAX: Revision = Revision(u64::MAX);
}

/// Resources of all types at one moment, each with the revision of its last change.
///
/// A stream needs to remember one revision to know what it has not told yet: a change costs what it touches, and streams
/// that stand at the same revision are told the same. What is removed is remembered until [`Ledger::forget_removals`], or
/// until there are more of a type than [`Ledger::MAX_REMOVALS`].
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    types: HashMap<TypeUrl, TypeLedger>,
    revision: Revision,
}

/// The resources of one type.
#[derive(Debug, Clone, Default)]
pub(super) struct TypeLedger {
    entries: HashMap<ResourceName, Entry>,
    /// Every entry, by the revision of its last change.
    order: BTreeMap<Revision, ResourceName>,
    /// Those of them that are gone.
    gone: BTreeMap<Revision, ResourceName>,
    last_change: Revision,
    last_removal: Revision,
    /// Removals up to here may be forgotten.
    forgotten: Revision,
    /// How many resources have each time to live.
    ttls: BTreeMap<Duration, usize>,
}

/// A resource that is there, or was.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The last content.
    pub(super) resource: Arc<Resource>,
    pub(super) gone: bool,
    /// Of the last change.
    pub(super) revision: Revision,
    /// Since when somebody may have been told of the name.
    pub(super) known_since: Revision,
    /// The version before the last change, and its revision.
    pub(super) before: Option<(Revision, Version)>,
}

impl Entry {
    pub(super) fn present(&self) -> Option<&Arc<Resource>> {
        (!self.gone).then_some(&self.resource)
    }
}

impl Ledger {
    /// Removals that are remembered of each type.
    pub const MAX_REMOVALS: usize = 16_384;

    /// Without resources.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The revision of the last change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Makes the next change come after `revision`.
    pub fn advance(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// Adds `resource`, or replaces the one of its name. Gives whether its content or time to live differs from before.
    /// Another origin alone is taken over, but is no change.
    pub fn put(&mut self, resource: impl Into<Arc<Resource>>) -> bool {
        let resource = resource.into();
        let kind = self.types.entry(resource.type_url().clone()).or_default();
        let next = Revision(self.revision.0 + 1);
        let changed = kind.put(resource, next);
        if changed {
            self.revision = next;
        }
        changed
    }

    /// Removes a resource. Gives whether there was one.
    pub fn remove(&mut self, type_url: &TypeUrl, name: &str) -> bool {
        let next = Revision(self.revision.0 + 1);
        let removed = self.types.get_mut(type_url).is_some_and(|kind| kind.remove(name, next));
        if removed {
            self.revision = next;
        }
        removed
    }

    /// One resource.
    #[must_use]
    pub fn get(&self, type_url: &TypeUrl, name: &str) -> Option<&Arc<Resource>> {
        self.types.get(type_url)?.entries.get(name)?.present()
    }

    /// The resources of one type, in the order in which they last changed.
    pub fn list(&self, type_url: &TypeUrl) -> impl Iterator<Item = &Arc<Resource>> {
        self.types.get(type_url).into_iter().flat_map(TypeLedger::live)
    }

    /// What changed after `since`, in order: each name once, with the resource if there is one.
    pub fn changes(
        &self,
        type_url: &TypeUrl,
        since: Revision,
    ) -> impl Iterator<Item = (&ResourceName, Option<&Arc<Resource>>)> {
        let changed = self.types.get(type_url).into_iter().flat_map(move |kind| kind.since(since));
        changed.map(|entry| (entry.resource.name(), entry.present()))
    }

    /// Whether [`Ledger::changes`] since then may lack removals: they were forgotten.
    #[must_use]
    pub fn forgot_since(&self, since: Revision) -> bool {
        self.types.values().any(|kind| kind.forgot_since(since))
    }

    /// The types of which there is, or was, a resource.
    pub fn types(&self) -> impl Iterator<Item = &TypeUrl> {
        self.types.keys()
    }

    /// How many resources there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.types.values().map(TypeLedger::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets removals up to `revision`: every stream has told them.
    pub fn forget_removals(&mut self, revision: Revision) {
        for kind in self.types.values_mut() {
            kind.forget(revision);
        }
    }

    pub(super) fn of(&self, type_url: &TypeUrl) -> Option<&TypeLedger> {
        self.types.get(type_url)
    }
}

impl TypeLedger {
    fn put(&mut self, resource: Arc<Resource>, at: Revision) -> bool {
        let (name, ttl) = (resource.name().clone(), resource.ttl());
        let Some(entry) = self.entries.get_mut(&name) else {
            self.note_ttl(ttl);
            let entry = Entry { resource, gone: false, revision: at, known_since: at, before: None };
            self.entries.insert(name.clone(), entry);
            self.order.insert(at, name);
            self.last_change = at;
            return true;
        };
        let old = std::mem::replace(&mut entry.resource, resource);
        let same = old.version() == entry.resource.version() && old.ttl() == ttl;
        let was_gone = entry.gone;
        if was_gone || !same {
            self.gone.remove(&entry.revision);
            entry.before = (!was_gone).then(|| (entry.revision, old.version().clone()));
            self.order.remove(&entry.revision);
            (entry.revision, entry.gone) = (at, false);
            self.order.insert(at, name);
            self.last_change = at;
        }
        if !was_gone {
            self.forget_ttl(old.ttl());
        }
        self.note_ttl(ttl);
        was_gone || !same
    }

    fn remove(&mut self, name: &str, at: Revision) -> bool {
        let Some(entry) = self.entries.get_mut(name).filter(|e| !e.gone) else { return false };
        let ttl = entry.resource.ttl();
        self.order.remove(&entry.revision);
        entry.before = Some((entry.revision, entry.resource.version().clone()));
        (entry.revision, entry.gone) = (at, true);
        self.order.insert(at, entry.resource.name().clone());
        self.gone.insert(at, entry.resource.name().clone());
        self.last_change = at;
        self.last_removal = at;
        self.forget_ttl(ttl);
        if self.gone.len() > Ledger::MAX_REMOVALS
            && let Some(&oldest) = self.gone.keys().next()
        {
            self.forget(oldest);
        }
        true
    }

    fn note_ttl(&mut self, ttl: Option<Duration>) {
        if let Some(ttl) = ttl {
            *self.ttls.entry(ttl).or_default() += 1;
        }
    }

    fn forget_ttl(&mut self, ttl: Option<Duration>) {
        if let Some(ttl) = ttl
            && let Some(count) = self.ttls.get_mut(&ttl)
        {
            *count -= 1;
            if *count == 0 {
                self.ttls.remove(&ttl);
            }
        }
    }

    fn len(&self) -> usize {
        self.entries.len() - self.gone.len()
    }

    fn forget(&mut self, up_to: Revision) {
        while let Some(first) = self.gone.first_entry().filter(|first| *first.key() <= up_to) {
            let (revision, name) = first.remove_entry();
            self.order.remove(&revision);
            self.entries.remove(&name);
            self.forgotten = revision;
        }
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.since(Revision::NONE).filter_map(Entry::present)
    }

    /// What changed after `revision`, in order. Removals that were forgotten are not among it.
    pub(super) fn since(&self, revision: Revision) -> impl Iterator<Item = &Entry> {
        let range = (Bound::Excluded(revision), Bound::Unbounded);
        self.order.range(range).filter_map(|(_, name)| self.entries.get(name))
    }

    pub(super) fn last_change(&self) -> Revision {
        self.last_change
    }

    pub(super) fn last_removal(&self) -> Revision {
        self.last_removal
    }

    /// Whether a stream that stands at `revision` can no longer be told all that was removed since.
    pub(super) fn forgot_since(&self, revision: Revision) -> bool {
        self.forgotten > revision
    }

    pub(super) fn shortest_ttl(&self) -> Option<Duration> {
        self.ttls.keys().next().copied()
    }
}

#[cfg(test)]
mod tests {
    use mesh_xds_api::google::protobuf::Any;

    use super::*;

    const CDS: TypeUrl = TypeUrl::CLUSTER;

    fn resource(name: &str, content: &str) -> Resource {
        let any = Any { type_url: CDS.as_str().into(), value: content.as_bytes().to_vec().into() };
        Resource::new(name, any)
    }

    /// What changed since, as text: `+a -b`.
    fn since(ledger: &Ledger, revision: u64) -> Vec<String> {
        let sign = |e: &Entry| format!("{}{}", if e.gone { '-' } else { '+' }, e.resource.name());
        ledger.of(&CDS).unwrap().since(Revision(revision)).map(sign).collect()
    }

    #[test]
    fn each_name_stands_at_its_last_change() {
        let mut ledger = Ledger::new();
        for (name, content) in [("a", "1"), ("b", "1"), ("a", "1"), ("a", "2")] {
            ledger.put(resource(name, content));
        }
        assert_eq!(ledger.revision(), Revision(3));
        assert_eq!(since(&ledger, 0), ["+b", "+a"]);
        assert_eq!(since(&ledger, 2), ["+a"]);
        assert!(ledger.remove(&CDS, "b") && !ledger.remove(&CDS, "b") && !ledger.remove(&CDS, "x"));
        assert_eq!(since(&ledger, 3), ["-b"]);
        assert_eq!((ledger.len(), ledger.get(&CDS, "b")), (1, None));
    }

    #[test]
    fn a_name_that_came_back_is_known_since_it_first_came() {
        let mut ledger = Ledger::new();
        ledger.put(resource("a", "1"));
        ledger.remove(&CDS, "a");
        ledger.put(resource("a", "1"));
        ledger.remove(&CDS, "a");
        assert_eq!(ledger.of(&CDS).unwrap().entry("a").unwrap().known_since, Revision(1));
    }

    #[test]
    fn removals_are_forgotten_when_told_or_too_many() {
        let mut ledger = Ledger::new();
        for i in 0..Ledger::MAX_REMOVALS + 10 {
            ledger.put(resource(&i.to_string(), "1"));
            ledger.remove(&CDS, &i.to_string());
        }
        let kind = ledger.of(&CDS).unwrap();
        assert_eq!(kind.gone.len(), Ledger::MAX_REMOVALS);
        assert!(kind.forgot_since(Revision(1)) && !kind.forgot_since(ledger.revision()));
        ledger.forget_removals(ledger.revision());
        assert_eq!(since(&ledger, 0), Vec::<String>::new());
        assert!(ledger.of(&CDS).unwrap().order.is_empty());
    }

    #[test]
    fn shortest_time_to_live_follows_the_resources() {
        let mut ledger = Ledger::new();
        let second = Duration::from_secs(1);
        ledger.put(resource("a", "1").with_ttl(Some(second * 2)));
        ledger.put(resource("b", "1").with_ttl(Some(second)));
        assert_eq!(ledger.of(&CDS).unwrap().shortest_ttl(), Some(second));
        assert!(ledger.put(resource("b", "1")), "clients must hear that it stays");
        assert_eq!(ledger.of(&CDS).unwrap().shortest_ttl(), Some(second * 2));
        ledger.remove(&CDS, "a");
        assert_eq!(ledger.of(&CDS).unwrap().shortest_ttl(), None);
    }
}
