//! What a client holds of one type, and until when it may.

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use crate::{ResourceName, Version, protocol::Heartbeat};

/// Resources accepted, by name.
#[derive(Debug, Default)]
pub(super) struct Held {
    resources: HashMap<ResourceName, One>,
    /// When times to live end, soonest first.
    deadlines: BTreeSet<(Instant, ResourceName)>,
    /// Their time has ended; the consumer is not told yet.
    lapsed: BTreeSet<ResourceName>,
}

#[derive(Debug)]
struct One {
    version: Version,
    /// With a time to live: the version of the response that spoke of it last. A SotW heartbeat may name that one.
    life: Option<Life>,
}

#[derive(Debug)]
struct Life {
    response: Version,
    deadline: Instant,
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.resources.len()
    }

    pub(super) fn contains(&self, name: &ResourceName) -> bool {
        self.resources.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &ResourceName> {
        self.resources.keys()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ResourceName, &Version)> {
        self.resources.iter().map(|(name, one)| (name, &one.version))
    }

    pub(super) fn version(&self, name: &ResourceName) -> Option<&Version> {
        self.resources.get(name).map(|one| &one.version)
    }

    pub(super) fn is_mortal(&self, name: &ResourceName) -> bool {
        self.resources.get(name).is_some_and(|one| one.life.is_some())
    }

    /// Holds a resource, until `deadline` if there is one.
    pub(super) fn insert(
        &mut self,
        name: ResourceName,
        version: Version,
        response: &Version,
        deadline: Option<Instant>,
    ) {
        self.remove(&name);
        self.resources.insert(name.clone(), One { version, life: None });
        self.extend(&name, response, deadline);
    }

    pub(super) fn remove(&mut self, name: &ResourceName) {
        self.extend(name, &Version::from(""), None);
        self.resources.remove(name);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&ResourceName) -> bool) {
        let gone: Vec<ResourceName> = self.resources.keys().filter(|n| !keep(n)).cloned().collect();
        gone.iter().for_each(|name| self.remove(name));
    }

    /// A resource was heard of: its time to live starts anew, or has no end any more.
    pub(super) fn extend(&mut self, name: &ResourceName, response: &Version, deadline: Option<Instant>) {
        let Some(one) = self.resources.get_mut(name) else { return };
        self.lapsed.remove(name);
        if let Some(before) = one.life.take() {
            self.deadlines.remove(&(before.deadline, name.clone()));
        }
        if let Some(deadline) = deadline {
            one.life = Some(Life { response: response.clone(), deadline });
            self.deadlines.insert((deadline, name.clone()));
        }
    }

    /// Whether a heartbeat speaks of what is held. `accepted` is the version last accepted of the type, `response` that of
    /// the response it came with.
    pub(super) fn is_meant(&self, heartbeat: &Heartbeat, response: &Version, accepted: Option<&Version>) -> bool {
        let Some(one) = self.resources.get(&heartbeat.name) else { return false };
        let said = if heartbeat.version.as_str().is_empty() { response } else { &heartbeat.version };
        let heard_with = one.life.as_ref().map(|life| &life.response);
        *said == one.version || Some(said) == heard_with || Some(said) == accepted
    }

    /// Another server is asked from now on: no version says anything to it.
    pub(super) fn blank(&mut self) {
        self.resources.values_mut().for_each(|one| one.version = Version::from(""));
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Notes whose time has ended.
    pub(super) fn lapse(&mut self, now: Instant) {
        while let Some((deadline, name)) = self.deadlines.pop_first() {
            if deadline > now {
                self.deadlines.insert((deadline, name));
                return;
            }
            self.lapsed.insert(name);
        }
    }

    /// Takes the names whose time has ended.
    pub(super) fn take_lapsed(&mut self) -> Vec<ResourceName> {
        std::mem::take(&mut self.lapsed).into_iter().collect()
    }
}
