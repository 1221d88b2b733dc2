//! The configuration in force: source events in, snapshots out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    analyze::Analyzers,
    diagnostic::{Code, Diagnostic},
    model::{Kind, Object, ObjectKey},
    path::FieldPath,
    snapshot::{Change, Snapshot},
    source::{Event, ObjectChange},
    validate::Validators,
};

/// What a [`Store`] checks, and what it does about faults.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreOptions {
    /// The checks of single objects; all of this crate by default.
    pub validators: Validators,
    /// The checks across objects; all of this crate by default.
    pub analyzers: Analyzers,
    /// Whether a new version that does not fit the other objects (such as a route to a subset that does not exist) is
    /// held back while its last good version stays in force; true by default. An object without a good version goes in
    /// with its findings.
    pub hold_back: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { validators: Validators::standard(), analyzers: Analyzers::standard(), hold_back: true }
    }
}

/// The configuration in force.
///
/// It takes the events of a source and keeps, of every object, the last good version in force:
///
/// - a version that cannot be read, or that a validator finds an error in, is set aside with its findings;
/// - a version that does not fit the other objects, or that lacks what unchanged objects refer to, is held back until
///   it does fit (see [`StoreOptions::hold_back`]);
/// - an object that the source deletes is gone.
///
/// Synchronous and without input or output; [`watch`](crate::watch()) drives it from a source.
#[derive(Debug, Default)]
pub struct Store {
    options: StoreOptions,
    /// The newest version of every object that is good by itself.
    wanted: Snapshot,
    /// What is in force.
    active: Snapshot,
    /// Findings of single objects, of their newest version.
    by_object: BTreeMap<ObjectKey, Vec<Diagnostic>>,
    /// Objects whose newest version was refused.
    refused: BTreeSet<ObjectKey>,
    /// Objects in force that do not fit the others in force.
    unfit: BTreeSet<ObjectKey>,
    by_part: BTreeMap<Arc<str>, Vec<Diagnostic>>,
    trouble: Vec<Diagnostic>,
    version: u64,
    ready: bool,
}

/// What is known after an event. Cheap to clone.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct State {
    /// The configuration in force. Its version grows by one with every change of it.
    pub snapshot: Snapshot,
    /// What the last change of the snapshot was. Who may have missed states compares snapshots ([`Snapshot::diff`]).
    pub change: Arc<Change>,
    /// Every finding at present, in order of file and position.
    pub diagnostics: Arc<[Diagnostic]>,
    /// Whether the source has told its whole set.
    pub ready: bool,
    /// Whether the source can be read at present.
    pub source_failed: bool,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(options: StoreOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Takes an event and gives what is known after it.
    pub fn apply(&mut self, event: Event) -> State {
        let before = self.active.clone();
        match event {
            Event::Failed(diagnostics) => self.trouble = diagnostics,
            Event::Snapshot(changes) => {
                self.trouble.clear();
                self.ready = true;
                self.forget_absent(&changes);
                self.take(changes);
            }
            Event::Changes(changes) => {
                self.trouble.clear();
                self.take(changes);
            }
        }
        let found = self.settle();
        let mut change = before.diff(&self.active);
        change.sort();
        if !change.is_empty() {
            self.version += 1;
        }
        self.active.set_version(self.version);
        State {
            snapshot: self.active.clone(),
            change: Arc::new(change),
            diagnostics: found.into(),
            ready: self.ready,
            source_failed: !self.trouble.is_empty(),
        }
    }

    /// Drops what a whole set does not hold.
    fn forget_absent(&mut self, changes: &[ObjectChange]) {
        let mut present = BTreeSet::new();
        for change in changes {
            match change {
                ObjectChange::Applied(object) => present.insert(object.key()),
                ObjectChange::Refused { key, .. } => present.insert(key),
                ObjectChange::Deleted(_) | ObjectChange::Findings { .. } => false,
            };
        }
        let known: BTreeSet<_> = self.wanted.iter().map(|object| object.key()).chain(self.by_object.keys()).collect();
        let gone: Vec<_> = known.difference(&present).map(|key| (*key).clone()).collect();
        for key in gone {
            self.delete(&key);
        }
        self.by_part.clear();
    }

    fn take(&mut self, changes: Vec<ObjectChange>) {
        for change in changes {
            match change {
                ObjectChange::Applied(object) => self.propose(object),
                ObjectChange::Deleted(key) => self.delete(&key),
                ObjectChange::Refused { key, diagnostics } => {
                    self.refused.insert(key.clone());
                    self.by_object.insert(key, diagnostics);
                }
                ObjectChange::Findings { part, diagnostics } if diagnostics.is_empty() => {
                    self.by_part.remove(&part);
                }
                ObjectChange::Findings { part, diagnostics } => {
                    self.by_part.insert(part, diagnostics);
                }
            }
        }
    }

    fn delete(&mut self, key: &ObjectKey) {
        self.wanted.remove(key);
        self.by_object.remove(key);
        self.refused.remove(key);
    }

    /// Takes a new version if it is good by itself.
    fn propose(&mut self, object: Arc<Object>) {
        let key = object.key().clone();
        let found = self.options.validators.validate(&object);
        if found.iter().any(Diagnostic::is_error) {
            self.refused.insert(key.clone());
        } else {
            self.refused.remove(&key);
            self.wanted.insert(object);
        }
        if found.is_empty() {
            self.by_object.remove(&key);
        } else {
            self.by_object.insert(key, found);
        }
    }

    /// Decides what is in force and gathers every finding.
    fn settle(&mut self) -> Vec<Diagnostic> {
        let analysis = self.options.analyzers.analyze(&self.wanted);
        let mut held = Vec::new();
        if self.options.hold_back {
            self.hold_back(&analysis.blocked, &mut held);
        } else {
            self.active = self.wanted.clone();
        }
        for key in &self.refused {
            if let Some(old) = self.active.object(key) {
                held.push(held_back(old, "its new version is faulty"));
            }
        }
        let mut found: Vec<_> = self.by_object.values().chain(self.by_part.values()).flatten().cloned().collect();
        found.extend(self.trouble.iter().cloned().chain(analysis.diagnostics).chain(held));
        crate::diagnostic::sort_diagnostics(&mut found);
        found
    }

    /// Puts the wanted configuration in force, less what would not work: new versions that do not fit, and new versions
    /// that take from others, which did not change, what they refer to. `blocked` are the misfits of what is wanted.
    fn hold_back(&mut self, blocked: &BTreeSet<ObjectKey>, held: &mut Vec<Diagnostic>) {
        let mut active = self.wanted.clone();
        for key in blocked {
            let (Some(old), Some(new)) = (self.active.object(key), self.wanted.object(key)) else { continue };
            if !old.same_content(new) {
                held.push(held_back(new, "its new version does not fit the other objects"));
                active.insert(Arc::clone(old));
            }
        }
        let mut unfit = if held.is_empty() { blocked.clone() } else { self.unfit_of(&active) };
        for culprit in self.culprits(&active, &unfit) {
            let mut trial = active.clone();
            trial.insert(Arc::clone(&culprit));
            let remaining = self.unfit_of(&trial);
            if self.victims(&trial, &remaining) < self.victims(&active, &unfit) {
                held.push(held_back(&culprit, "its new version lacks what other objects refer to"));
                (active, unfit) = (trial, remaining);
            }
        }
        (self.active, self.unfit) = (active, unfit);
    }

    fn unfit_of(&self, snapshot: &Snapshot) -> BTreeSet<ObjectKey> {
        self.options.analyzers.analyze(snapshot).blocked
    }

    /// How many objects did work, did not change, and would not work any more.
    fn victims(&self, active: &Snapshot, unfit: &BTreeSet<ObjectKey>) -> usize {
        let is_victim = |key: &&ObjectKey| {
            let versions = self.active.object(key).zip(active.object(key));
            !self.unfit.contains(*key) && versions.is_some_and(|(old, new)| old.same_content(new))
        };
        unfit.iter().filter(is_victim).count()
    }

    /// The versions in force of changed objects that others refer to, when some of these would not work any more.
    fn culprits(&self, active: &Snapshot, unfit: &BTreeSet<ObjectKey>) -> Vec<Arc<Object>> {
        /// Trying out costs an analysis each; with more changes at once they are taken as they are.
        const MOST: usize = 16;
        if self.victims(active, unfit) == 0 {
            return Vec::new();
        }
        let referred = [Kind::DestinationRule, Kind::Service, Kind::ServiceEntry];
        let objects = referred.into_iter().flat_map(|kind| self.active.of_kind(kind));
        let changed = objects.filter(|old| active.object(old.key()).is_some_and(|new| !old.same_content(new)));
        let changed: Vec<_> = changed.cloned().collect();
        if changed.len() > MOST { Vec::new() } else { changed }
    }
}

fn held_back(object: &Object, why: &str) -> Diagnostic {
    Diagnostic::on(Code::HeldBack, object, FieldPath::root(), &[&object.key(), &why])
}
