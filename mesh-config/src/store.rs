//! The configuration in force: source events in, snapshots out.

mod hold;
mod ledger;
mod options;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::ledger::Ledger;
pub use self::{ledger::FindingList, options::StoreOptions};
use crate::{
    analyze::{Analyzers, IncrementalAnalysis},
    diagnostic::Diagnostic,
    model::{Object, ObjectKey},
    snapshot::{Change, Snapshot},
    source::{Event, ObjectChange},
    status::{Quarantine, QuarantineReason, Quarantined},
};

/// The configuration in force.
///
/// It takes the events of a source and keeps, of every object, the last good version in force:
///
/// - a version that cannot be read, or that a validator finds an error in, is set aside with its findings;
/// - a version that does not fit the other objects, or that lacks what unchanged objects refer to, is held back until
///   it does fit (see [`StoreOptions::hold_back`]);
/// - an object that the source deletes is gone.
///
/// A change is validated and analysed only as far as it reaches (see [`IncrementalAnalysis`]).
///
/// Synchronous and without input or output; [`watch`](crate::watch()) drives it from a source.
#[derive(Debug)]
pub struct Store {
    options: StoreOptions,
    /// The newest version of every object that is good by itself.
    wanted: Snapshot,
    /// What is in force.
    active: Snapshot,
    /// Findings of single objects, of their newest version.
    by_object: BTreeMap<ObjectKey, Vec<Arc<Diagnostic>>>,
    /// Objects whose newest version was refused.
    refused: BTreeSet<ObjectKey>,
    /// Objects in force that do not fit the others in force.
    unfit: BTreeSet<ObjectKey>,
    by_part: BTreeMap<Arc<str>, Vec<Arc<Diagnostic>>>,
    trouble: Vec<Arc<Diagnostic>>,
    /// Findings about versions that are not in force.
    held: Vec<Arc<Diagnostic>>,
    /// All of the findings above, and those of the analysis.
    ledger: Ledger,
    /// Of what is wanted.
    analysis: IncrementalAnalysis,
    /// Of what is in force, by blocking analyzers, while that is not what is wanted.
    fit: Option<IncrementalAnalysis>,
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
    pub diagnostics: FindingList,
    /// The objects whose newest version is not in force, and why.
    pub quarantine: Arc<Quarantine>,
    /// Whether the source has told its whole set.
    pub ready: bool,
    /// Whether the source can be read at present.
    pub source_failed: bool,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(options: StoreOptions) -> Self {
        let analysis = analysis(&options, options.analyzers.clone());
        Self {
            options,
            wanted: Snapshot::default(),
            active: Snapshot::default(),
            by_object: BTreeMap::new(),
            refused: BTreeSet::new(),
            unfit: BTreeSet::new(),
            by_part: BTreeMap::new(),
            trouble: Vec::new(),
            held: Vec::new(),
            ledger: Ledger::default(),
            analysis,
            fit: None,
            version: 0,
            ready: false,
        }
    }

    /// Takes an event and gives what is known after it.
    pub fn apply(&mut self, event: Event) -> State {
        let before = self.active.clone();
        match event {
            Event::Failed(diagnostics) => self.ledger.replace(&mut self.trouble, diagnostics),
            Event::Snapshot(changes) => {
                self.ledger.replace(&mut self.trouble, []);
                self.ready = true;
                self.forget_absent(&changes);
                self.take(changes);
            }
            Event::Changes(changes) => {
                self.ledger.replace(&mut self.trouble, []);
                self.take(changes);
            }
        }
        let quarantine = self.settle();
        let change = before.diff(&self.active);
        if !change.is_empty() {
            self.version += 1;
        }
        self.active.set_version(self.version);
        State {
            snapshot: self.active.clone(),
            change: Arc::new(change),
            diagnostics: self.ledger.list(),
            quarantine: Arc::new(quarantine),
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
        let parts = std::mem::take(&mut self.by_part);
        parts.into_values().for_each(|mut found| self.ledger.replace(&mut found, []));
    }

    fn take(&mut self, changes: Vec<ObjectChange>) {
        for change in changes {
            match change {
                ObjectChange::Applied(object) => self.propose(object),
                ObjectChange::Deleted(key) => self.delete(&key),
                ObjectChange::Refused { key, diagnostics } => {
                    self.refuse(&key);
                    self.set_findings(&key, diagnostics);
                }
                ObjectChange::Findings { part, diagnostics } => {
                    let mut found = self.by_part.remove(&part).unwrap_or_default();
                    self.ledger.replace(&mut found, diagnostics);
                    if !found.is_empty() {
                        self.by_part.insert(part, found);
                    }
                }
            }
        }
    }

    fn set_findings(&mut self, key: &ObjectKey, diagnostics: Vec<Diagnostic>) {
        let mut found = self.by_object.remove(key).unwrap_or_default();
        self.ledger.replace(&mut found, diagnostics);
        // One that is refused is known, whatever is found.
        if !found.is_empty() || self.refused.contains(key) {
            self.by_object.insert(key.clone(), found);
        }
    }

    fn delete(&mut self, key: &ObjectKey) {
        self.wanted.remove(key);
        self.refused.remove(key);
        self.set_findings(key, Vec::new());
    }

    fn refuse(&mut self, key: &ObjectKey) {
        self.refused.insert(key.clone());
        if !self.options.keep_last_good {
            self.wanted.remove(key);
        }
    }

    /// Takes a new version if it is good by itself.
    fn propose(&mut self, object: Arc<Object>) {
        let key = object.key().clone();
        let found = self.options.validators.validate(&object);
        if found.iter().any(Diagnostic::is_error) {
            self.refuse(&key);
        } else {
            self.refused.remove(&key);
            self.wanted.insert(object);
        }
        self.set_findings(&key, found);
    }

    /// Decides what is in force and brings the findings up to date; gives what is not in force.
    fn settle(&mut self) -> Quarantine {
        let update = self.analysis.update(&self.wanted);
        update.removed.iter().for_each(|finding| self.ledger.remove(finding));
        update.added.into_iter().for_each(|finding| self.ledger.add(finding));
        let mut quarantine = Quarantine::new();
        if self.options.hold_back {
            self.hold_back(&mut quarantine);
        } else {
            self.active = self.wanted.clone();
        }
        for key in &self.refused {
            let refused = Quarantined::new(QuarantineReason::Refused, None, self.active.object(key).cloned());
            quarantine.insert(key.clone(), refused);
        }
        let held: Vec<_> = quarantine.values().filter_map(Quarantined::diagnostic).collect();
        self.ledger.replace(&mut self.held, held);
        quarantine
    }
}

fn analysis(options: &StoreOptions, analyzers: Analyzers) -> IncrementalAnalysis {
    match &options.mesh {
        Some(mesh) => IncrementalAnalysis::with_mesh(analyzers, mesh.clone()),
        None => IncrementalAnalysis::new(analyzers),
    }
}
