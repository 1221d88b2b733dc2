use std::collections::BTreeMap;

use super::External;
use crate::{Resource, ResourceKey, protocol::server::Ledger, store::batch::Step};

/// What a view would hold after some steps.
#[derive(Debug)]
pub(super) struct After<'a> {
    ledger: &'a Ledger,
    external: &'a External,
    /// What would differ from before: the last word on each name.
    pub(super) changed: BTreeMap<ResourceKey, Option<&'a Resource>>,
}

impl<'a> After<'a> {
    pub(super) fn new(ledger: &'a Ledger, steps: &'a [Step], external: &'a External) -> Self {
        let mut changed: BTreeMap<ResourceKey, Option<&Resource>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put(resource) => changed.insert(resource.key(), Some(resource)),
                Step::Remove(key) => changed.insert(key.clone(), None),
            };
        }
        changed.retain(|key, now| !same(ledger, key, *now));
        Self { ledger, external, changed }
    }

    pub(super) fn get(&self, key: &ResourceKey) -> Option<&'a Resource> {
        match self.changed.get(key) {
            Some(now) => *now,
            None => self.ledger.get(&key.type_url, key.name.as_str()).map(|resource| &**resource),
        }
    }

    /// Whether a reference to `key` would lead somewhere.
    pub(super) fn holds(&self, key: &ResourceKey) -> bool {
        self.external.holds(key) || self.get(key).is_some()
    }
}

/// Whether the ledger has this content already.
pub(super) fn same(ledger: &Ledger, key: &ResourceKey, now: Option<&Resource>) -> bool {
    let before = ledger.get(&key.type_url, key.name.as_str());
    before.map(|resource| resource.version()) == now.map(Resource::version)
}
