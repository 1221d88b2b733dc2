//! Resources of which each name has one in force and perhaps one to come.

use std::{sync::Arc, time::Instant};

use indexmap::IndexMap;
use mesh_xds_api::any::Any;

use super::{Now, Raw, needs::Needs};
use crate::{
    admin::{ResourceDump, ResourceError, ResourceVersion, TypeDump},
    config::Dependency,
};

/// One version of a resource.
#[derive(Debug)]
pub(super) struct Held<T> {
    pub(super) value: T,
    pub(super) dependencies: Vec<Dependency>,
    raw: Any,
    version: String,
    updated: std::time::SystemTime,
}

#[derive(Debug)]
struct Slot<T> {
    active: Option<Held<T>>,
    warming: Option<Held<T>>,
    from_bootstrap: bool,
    failure: Option<ResourceError>,
}

/// Resources by name, in the order they came.
#[derive(Debug)]
pub(super) struct Named<T> {
    slots: IndexMap<Arc<str>, Slot<T>>,
    warming: usize,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { slots: IndexMap::new(), warming: 0 }
    }
}

impl<T> Named<T> {
    /// The same bytes are held already, in force or to come.
    pub(super) fn is_current(&self, raw: &Raw) -> bool {
        let slot = self.slots.get(raw.name.as_str());
        let latest = slot.and_then(|slot| slot.warming.as_ref().or(slot.active.as_ref()));
        latest.is_some_and(|held| held.raw == raw.any)
    }

    /// Notes that the version told last is the one held, and none is refused.
    pub(super) fn confirm(&mut self, raw: &Raw) {
        if let Some(slot) = self.slots.get_mut(raw.name.as_str()) {
            slot.failure = None;
            if let Some(held) = slot.warming.as_mut().or(slot.active.as_mut()) {
                held.version.clone_from(&raw.version);
            }
        }
    }

    pub(super) fn is_static(&self, name: &str) -> bool {
        self.slots.get(name).is_some_and(|slot| slot.from_bootstrap)
    }

    /// Adds a version that has to warm. Gives whether the name is new.
    pub(super) fn put(
        &mut self,
        raw: Raw,
        from_bootstrap: bool,
        (value, dependencies): (T, Vec<Dependency>),
        needs: &mut Needs,
        now: Now,
    ) -> bool {
        needs.hold(&dependencies, now);
        let Raw { name, version, any } = raw;
        let held = Held { value, dependencies, raw: any, version, updated: now.wall };
        let name: Arc<str> = name.into();
        let slot = self.slots.entry(name);
        let is_new = matches!(slot, indexmap::map::Entry::Vacant(_));
        let slot = slot.or_insert(Slot { active: None, warming: None, from_bootstrap, failure: None });
        slot.failure = None;
        match slot.warming.replace(held) {
            Some(older) => needs.release(&older.dependencies),
            None => self.warming += 1,
        }
        is_new
    }

    /// Notes a refused version.
    pub(super) fn refuse(&mut self, name: &str, failure: ResourceError) {
        let empty = Slot { active: None, warming: None, from_bootstrap: false, failure: None };
        self.slots.entry(name.into()).or_insert(empty).failure = Some(failure);
    }

    /// Removes a name. Gives what was in force or else to come.
    pub(super) fn remove(&mut self, name: &str, needs: &mut Needs) -> Option<T> {
        let slot = self.slots.shift_remove(name)?;
        if let Some(warming) = &slot.warming {
            self.warming -= 1;
            needs.release(&warming.dependencies);
        }
        if let Some(active) = &slot.active {
            needs.release(&active.dependencies);
        }
        slot.active.or(slot.warming).map(|held| held.value)
    }

    /// Lets versions come into force whose needs are met and which are `fit`. Gives whether any did.
    pub(super) fn promote(&mut self, needs: &mut Needs, now: Instant, fit: impl Fn(&T) -> bool) -> bool {
        if self.warming == 0 {
            return false;
        }
        let before = self.warming;
        for slot in self.slots.values_mut() {
            let warm = slot.warming.take_if(|held| needs.are_met(&held.dependencies, now) && fit(&held.value));
            let Some(warm) = warm else { continue };
            self.warming -= 1;
            if let Some(older) = slot.active.replace(warm) {
                needs.release(&older.dependencies);
            }
        }
        self.warming != before
    }

    pub(super) fn warming_count(&self) -> usize {
        self.warming
    }

    pub(super) fn active(&self) -> impl Iterator<Item = (&Arc<str>, &T)> {
        self.slots.iter().filter_map(|(name, slot)| Some((name, &slot.active.as_ref()?.value)))
    }

    /// Both versions of a name: in force, to come.
    pub(super) fn versions(&self, name: &str) -> (Option<&T>, Option<&T>) {
        let Some(slot) = self.slots.get(name) else { return (None, None) };
        (slot.active.as_ref().map(|held| &held.value), slot.warming.as_ref().map(|held| &held.value))
    }

    /// Every version of every name.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Arc<str>, &T)> {
        self.slots
            .iter()
            .flat_map(|(name, slot)| slot.active.iter().chain(&slot.warming).map(move |held| (name, &held.value)))
    }

    /// When waiting ends for those to come.
    pub(super) fn deadlines<'a>(&'a self, needs: &'a Needs) -> impl Iterator<Item = Instant> + 'a {
        let waiting = self.slots.values().filter(|_| self.warming > 0).filter_map(|slot| slot.warming.as_ref());
        waiting.flat_map(|held| needs.deadlines(&held.dependencies))
    }

    pub(super) fn dump(&self) -> TypeDump {
        let version = |held: &Held<T>| ResourceVersion {
            version: held.version.clone(),
            config: held.raw.clone(),
            updated: held.updated,
        };
        let resources = self.slots.iter().map(|(name, slot)| ResourceDump {
            name: name.to_string(),
            is_static: slot.from_bootstrap,
            active: slot.active.as_ref().map(version),
            warming: slot.warming.as_ref().map(version),
            error: slot.failure.clone(),
        });
        TypeDump { version: String::new(), resources: resources.collect() }
    }
}
