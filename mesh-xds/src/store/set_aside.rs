//! What a view was given and does not show.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use tracing::warn;

use super::Refused;
use crate::{Resource, ResourceKey, Version};

/// What was refused and has neither been replaced nor removed since, with its version.
#[derive(Debug, Default)]
pub(super) struct SetAside(Mutex<HashMap<ResourceKey, (Version, Refused)>>);

/// What was found of the resources of an update that is not done yet.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// In order; `None` where nothing is to be set aside any more.
    list: Vec<(ResourceKey, Option<(Version, Refused)>)>,
    /// Something is set aside already.
    matters: bool,
}

impl Verdicts {
    /// The content of the resource may be shown, or is removed.
    pub(super) fn clear(&mut self, key: impl FnOnce() -> ResourceKey) {
        if self.matters || !self.list.is_empty() {
            self.list.push((key(), None));
        }
    }

    pub(super) fn refuse(&mut self, version: Version, refused: Refused) {
        self.list.push((refused.key.clone(), Some((version, refused))));
    }

    /// What is refused.
    pub(super) fn refused(&self) -> Vec<Refused> {
        self.list.iter().filter_map(|(_, verdict)| verdict.as_ref()).map(|(_, refused)| refused.clone()).collect()
    }

    /// The keys of what is refused.
    pub(super) fn keys(&self) -> HashSet<ResourceKey> {
        self.list.iter().filter(|(_, verdict)| verdict.is_some()).map(|(key, _)| key.clone()).collect()
    }
}

impl SetAside {
    /// For an update that begins.
    pub(super) fn verdicts(&self) -> Verdicts {
        Verdicts { list: Vec::new(), matters: !self.0.lock().is_empty() }
    }

    /// What was said of the same content before.
    pub(super) fn known(&self, resource: &Resource) -> Option<Refused> {
        let set_aside = self.0.lock();
        if set_aside.is_empty() {
            return None;
        }
        let (version, refused) = set_aside.get(&resource.key())?;
        (version == resource.version()).then(|| refused.clone())
    }

    /// The update is done.
    pub(super) fn settle(&self, verdicts: Verdicts) {
        let mut set_aside = self.0.lock();
        for (key, verdict) in verdicts.list {
            let Some((version, refused)) = verdict else {
                set_aside.remove(&key);
                continue;
            };
            let told = refused.to_string();
            let before = set_aside.insert(key, (version.clone(), refused));
            if before.is_none_or(|(before, _)| before != version) {
                warn!(resource = told, "a resource was refused; clients keep the one before");
            }
        }
    }

    /// Only these are still wanted.
    pub(super) fn retain(&self, keys: &HashSet<ResourceKey>) {
        self.0.lock().retain(|key, _| keys.contains(key));
    }

    /// By key.
    pub(super) fn list(&self) -> Vec<Refused> {
        let mut refused: Vec<Refused> = self.0.lock().values().map(|(_, refused)| refused.clone()).collect();
        refused.sort_by(|a, b| a.key.cmp(&b.key));
        refused
    }
}
