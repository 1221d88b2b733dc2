use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{Dangling, External, after::After, dangling_of};
use crate::{
    Reference, ResourceKey,
    protocol::server::{Ledger, Revision},
};

/// Who refers to what in a ledger, kept up to date by following its changes.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Up to where it has followed.
    at: Revision,
    /// Of those that refer to anything.
    references: HashMap<ResourceKey, Arc<[Reference]>>,
    referrers: HashMap<ResourceKey, HashSet<ResourceKey>>,
    /// Keys that are referred to and are nowhere.
    missing: HashSet<ResourceKey>,
}

impl Graph {
    /// Takes in what changed in `ledger` since last time. Costs what changed, with its references; after removals that the
    /// ledger has forgotten, the whole ledger.
    pub(super) fn follow(&mut self, ledger: &Ledger, external: &External) -> Revision {
        if ledger.forgot_since(self.at) {
            *self = Self::default();
        }
        let mut unsettled = HashSet::new();
        for kind in ledger.types() {
            for (name, now) in ledger.changes(kind, self.at) {
                let key = ResourceKey::new(kind.clone(), name.clone());
                self.set(&key, now.map(|resource| resource.shared_references()), &mut unsettled);
                unsettled.insert(key);
            }
        }
        for key in unsettled {
            let there = external.holds(&key) || ledger.get(&key.type_url, key.name.as_str()).is_some();
            if there || !self.referrers.contains_key(&key) {
                self.missing.remove(&key);
            } else {
                self.missing.insert(key);
            }
        }
        self.at = ledger.revision();
        self.at
    }

    fn set(&mut self, from: &ResourceKey, now: Option<Arc<[Reference]>>, touched: &mut HashSet<ResourceKey>) {
        for Reference { to, .. } in self.references.remove(from).iter().flat_map(|before| &**before) {
            if let Some(referrers) = self.referrers.get_mut(to) {
                referrers.remove(from);
                if referrers.is_empty() {
                    self.referrers.remove(to);
                }
            }
            touched.insert(to.clone());
        }
        let Some(now) = now.filter(|now| !now.is_empty()) else { return };
        for Reference { to, .. } in &*now {
            self.referrers.entry(to.clone()).or_default().insert(from.clone());
            touched.insert(to.clone());
        }
        self.references.insert(from.clone(), now);
    }

    /// What would dangle after a change to the ledger that was followed. Costs what is changed, with its references, and those
    /// who refer to what is missed.
    pub(super) fn dangling(&self, after: &After<'_>) -> Vec<Dangling> {
        let mut suspects: BTreeSet<&ResourceKey> = after.changed.keys().collect();
        let removed = after.changed.iter().filter(|(_, now)| now.is_none()).map(|(key, _)| key);
        for key in removed.chain(&self.missing) {
            if let Some(referrers) = self.referrers.get(key)
                && !after.holds(key)
            {
                suspects.extend(referrers);
            }
        }
        let suspects = suspects.into_iter().filter_map(|key| after.get(key));
        suspects.flat_map(|resource| dangling_of(resource, |key| after.holds(key))).collect()
    }
}
