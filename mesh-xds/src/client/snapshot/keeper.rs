//! What is to be kept, when it is to be written, and what of it watches may be given. No IO; time is an argument.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant, SystemTime},
};

use super::{LastGood, Snapshot, SnapshotError, TypeSnapshot, file};
use crate::{
    Resource, ResourceName, TypeUrl,
    protocol::client::{ClientState, Restored, Source, Unanswered, Update, Verdict},
};

/// After a failure to write.
const RETRY: Duration = Duration::from_secs(30);

/// Keeps what one client has accepted.
#[derive(Debug)]
pub(in crate::client) struct Keeper {
    config: LastGood,
    node: String,
    types: HashMap<TypeUrl, Kept>,
    /// Something has changed, and is to be written then.
    change_due: Option<Instant>,
    /// Nothing may have changed; the file is to say then that it is still so.
    renewal_due: Option<Instant>,
    /// No server can be reached: watches are given what is kept.
    offering: bool,
}

/// What is kept of one type.
#[derive(Debug)]
struct Kept {
    resources: BTreeMap<ResourceName, Resource>,
    /// From a file, not confirmed by a server since.
    stored: Option<Stored>,
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    saved: SystemTime,
    server: u64,
    whole: bool,
}

/// What was read.
#[derive(Debug)]
pub(in crate::client) struct Loaded(Snapshot);

/// A write to be made.
#[derive(Debug)]
pub(in crate::client) struct Write {
    config: LastGood,
    snapshot: Snapshot,
}

impl Keeper {
    pub(in crate::client) fn new(config: LastGood, node: &str) -> Self {
        Self {
            config,
            node: node.to_owned(),
            types: HashMap::new(),
            change_due: None,
            renewal_due: None,
            offering: false,
        }
    }

    /// What reads the file. Blocking.
    pub(in crate::client) fn reader(&self) -> impl FnOnce(SystemTime) -> Result<Loaded, SnapshotError> + Send + use<> {
        let (config, node) = (self.config.clone(), self.node.clone());
        move |now| file::read(&config, &node, now).map(|found| Loaded(found.unwrap_or_default()))
    }

    /// Takes what was read. What a server has said already is newer.
    pub(in crate::client) fn loaded(&mut self, loaded: Loaded, now: Instant) {
        for TypeSnapshot { type_url, saved, server, whole, resources } in loaded.0.types {
            let resources = resources.into_iter().map(|r| (r.name().clone(), r)).collect();
            let stored = Some(Stored { saved, server, whole });
            self.types.entry(type_url).or_insert(Kept { resources, stored });
        }
        if !self.types.is_empty() {
            self.renewal_due = now.checked_add(self.renewal());
        }
    }

    fn renewal(&self) -> Duration {
        self.config.max_age / 8
    }

    /// No server can be reached.
    pub(in crate::client) fn out_of_reach(&mut self) {
        self.offering = true;
    }

    /// A server has answered.
    pub(in crate::client) fn in_reach(&mut self) {
        self.offering = false;
    }

    /// Gives to what is subscribed, and was never answered, what is kept for it, while no server can be reached.
    pub(in crate::client) fn offer(&self, state: &mut ClientState, clock: SystemTime) {
        if !self.offering {
            return;
        }
        for Unanswered { type_url, wildcard, names } in state.take_unanswered() {
            let Some(Kept { resources, stored: Some(stored) }) = self.types.get(&type_url) else { continue };
            let age = clock.duration_since(stored.saved).unwrap_or_default();
            if age > self.config.max_age {
                tracing::warn!(%type_url, ?age, limit = ?self.config.max_age, "the last good resources are too old");
                continue;
            }
            let whole = wildcard && stored.whole;
            let resources = match whole {
                true => resources.values().cloned().collect(),
                false => names.iter().filter_map(|name| resources.get(name).cloned()).collect(),
            };
            state.restore(&type_url, Restored { resources, whole, server: stored.server, age });
        }
    }

    /// A consumer has judged an update.
    pub(in crate::client) fn judged(&mut self, update: &Update, verdict: &Verdict, now: Instant) {
        let refused: &[ResourceName] = match verdict {
            Verdict::Accepted => &[],
            Verdict::Rejected { resources, .. } if !resources.is_empty() => resources,
            Verdict::Rejected { .. } => return,
        };
        let from_here = matches!(update.source, Source::Snapshot { .. });
        if from_here || !self.config.keeps(&update.type_url) {
            return;
        }
        let kept = self
            .types
            .entry(update.type_url.clone())
            .or_insert_with(|| Kept { resources: BTreeMap::new(), stored: None });
        kept.stored = None;
        for resource in update.added.iter().filter(|r| !refused.contains(r.name())) {
            kept.resources.insert(resource.name().clone(), resource.clone());
        }
        for name in update.removed.iter().filter(|n| !refused.contains(n)) {
            kept.resources.remove(name);
        }
        self.change_due.get_or_insert(now + self.config.delay);
    }

    /// When [`Keeper::write`] should be called.
    pub(in crate::client) fn poll_timeout(&self) -> Option<Instant> {
        self.change_due.into_iter().chain(self.renewal_due).min()
    }

    /// The write that is due at `now`.
    pub(in crate::client) fn write(&mut self, state: &ClientState, now: Instant, clock: SystemTime) -> Option<Write> {
        let changed = self.change_due.take_if(|due| *due <= now).is_some();
        let over = self.renewal_due.take_if(|due| *due <= now).is_some();
        if changed || over {
            self.renewal_due = now.checked_add(self.renewal());
        }
        // Without a server nobody knows whether it is still so.
        let renewed = over && state.is_connected();
        (changed || renewed).then(|| self.compose(state, renewed, clock))
    }

    /// A last write, if something has changed since the last one.
    pub(in crate::client) fn last_write(&mut self, state: &ClientState, clock: SystemTime) -> Option<Write> {
        self.change_due.take().map(|_| self.compose(state, false, clock))
    }

    /// The write has failed.
    pub(in crate::client) fn failed(&mut self, now: Instant) {
        self.change_due.get_or_insert(now + RETRY);
    }

    /// `renewed`: a server has had the time to say that something is different.
    fn compose(&mut self, state: &ClientState, renewed: bool, clock: SystemTime) -> Write {
        let mut snapshot = Snapshot { node: self.node.clone(), types: Vec::new() };
        self.types.retain(|type_url, kept| {
            if kept.stored.is_none() || (renewed && state.lasting(type_url).next().is_some()) {
                kept.stored = None;
                kept.bring_up_to_date(state, type_url);
            }
            let of_type = kept.snapshot(state, type_url, clock);
            let is_useful =
                (of_type.whole || !of_type.resources.is_empty()) && of_type.age(clock) <= self.config.max_age;
            if is_useful {
                snapshot.types.push(of_type);
            }
            is_useful
        });
        snapshot.types.sort_by(|a, b| a.type_url.as_str().cmp(b.type_url.as_str()));
        Write { config: self.config.clone(), snapshot }
    }
}

impl Kept {
    /// What is held counts: subscriptions may have ended, and another server's versions mean nothing.
    fn bring_up_to_date(&mut self, state: &ClientState, type_url: &TypeUrl) {
        let mut before = std::mem::take(&mut self.resources);
        for (name, version) in state.lasting(type_url) {
            let Some(resource) = before.remove(name) else { continue };
            let resource = match resource.version() == version {
                true => resource,
                false => Resource::with_version(name.clone(), version.clone(), resource.any().clone()),
            };
            self.resources.insert(name.clone(), resource);
        }
    }

    fn snapshot(&self, state: &ClientState, type_url: &TypeUrl, clock: SystemTime) -> TypeSnapshot {
        let Stored { saved, server, whole } = self.stored.unwrap_or_else(|| Stored {
            saved: clock,
            server: state.server_of(type_url),
            whole: state.is_whole(type_url),
        });
        let resources = self.resources.values().cloned().collect();
        TypeSnapshot { type_url: type_url.clone(), saved, server, whole, resources }
    }
}

impl Write {
    pub(in crate::client) fn resources(&self) -> usize {
        self.snapshot.resources()
    }

    /// Writes. Blocking.
    pub(in crate::client) fn run(&self) -> Result<(), SnapshotError> {
        file::write(&self.config, &self.snapshot)
    }
}

impl Loaded {
    pub(in crate::client) fn resources(&self) -> usize {
        self.0.resources()
    }
}

#[cfg(test)]
impl Loaded {
    pub(super) fn of(snapshot: Snapshot) -> Self {
        Self(snapshot)
    }
}

#[cfg(test)]
impl Write {
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}
