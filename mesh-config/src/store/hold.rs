//! Versions that are held back, since they or others would not work.

use std::{collections::BTreeSet, sync::Arc};

use super::{Store, analysis};
use crate::{
    model::{Kind, Object, ObjectKey},
    snapshot::Snapshot,
    status::{Quarantine, QuarantineReason, Quarantined},
};

impl Store {
    /// Puts the wanted configuration in force, less what would not work: new versions that do not fit, and new versions
    /// that take from others, which did not change, what they refer to.
    pub(super) fn hold_back(&mut self, quarantine: &mut Quarantine) {
        let mut active = self.wanted.clone();
        for key in self.analysis.blocked() {
            let (Some(old), Some(new)) = (self.active.object(key), self.wanted.object(key)) else { continue };
            if !Arc::ptr_eq(old, new) && !old.same_content(new) {
                quarantine.insert(key.clone(), held_back(QuarantineReason::DoesNotFit, old, new));
                active.insert(Arc::clone(old));
            }
        }
        let mut unfit =
            if quarantine.is_empty() { self.analysis.blocked().cloned().collect() } else { self.unfit_of(&active) };
        for (culprit, new) in self.culprits(&active, &unfit) {
            let mut trial = active.clone();
            trial.insert(Arc::clone(&culprit));
            let remaining = self.unfit_of(&trial);
            if self.victims(&trial, &remaining) < self.victims(&active, &unfit) {
                let reason = QuarantineReason::OthersDepend;
                quarantine.insert(culprit.key().clone(), held_back(reason, &culprit, &new));
                (active, unfit) = (trial, remaining);
            }
        }
        if quarantine.is_empty() {
            self.fit = None;
        }
        (self.active, self.unfit) = (active, unfit);
    }

    /// What of a configuration that is not the wanted one would not work.
    fn unfit_of(&mut self, snapshot: &Snapshot) -> BTreeSet<ObjectKey> {
        let options = &self.options;
        let fit = self.fit.get_or_insert_with(|| analysis(options, options.analyzers.blocking()));
        fit.update(snapshot);
        fit.blocked().cloned().collect()
    }

    /// How many objects did work, did not change, and would not work any more.
    fn victims(&self, active: &Snapshot, unfit: &BTreeSet<ObjectKey>) -> usize {
        let is_victim = |key: &&ObjectKey| {
            let versions = self.active.object(key).zip(active.object(key));
            !self.unfit.contains(*key) && versions.is_some_and(|(old, new)| old.same_content(new))
        };
        unfit.iter().filter(is_victim).count()
    }

    /// The versions in force, and the new ones, of changed objects that others refer to, when some of these would not
    /// work any more.
    fn culprits(&self, active: &Snapshot, unfit: &BTreeSet<ObjectKey>) -> Vec<(Arc<Object>, Arc<Object>)> {
        /// Trying out costs an analysis each; with more changes at once they are taken as they are.
        const MOST: usize = 16;
        if self.victims(active, unfit) == 0 {
            return Vec::new();
        }
        let mut changed = Vec::new();
        self.active.compare(active, |old, new| {
            if let (Some(old), Some(new)) = (old, new)
                && matches!(old.kind(), Kind::DestinationRule | Kind::Service | Kind::ServiceEntry)
                && !old.same_content(new)
            {
                changed.push((Arc::clone(old), Arc::clone(new)));
            }
        });
        if changed.len() > MOST { Vec::new() } else { changed }
    }
}

fn held_back(reason: QuarantineReason, old: &Arc<Object>, new: &Arc<Object>) -> Quarantined {
    Quarantined::new(reason, Some(Arc::clone(new)), Some(Arc::clone(old)))
}
