//! Every finding at present, in order.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
    ops::Index,
    sync::Arc,
};

use crate::diagnostic::Diagnostic;

/// Findings in order of file and position. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct FindingList(Arc<[Arc<Diagnostic>]>);

impl FindingList {
    /// The findings, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Diagnostic> + ExactSizeIterator {
        self.0.iter().map(|finding| &**finding)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The findings, each shared.
    #[must_use]
    pub fn as_shared(&self) -> &[Arc<Diagnostic>] {
        &self.0
    }

    /// The findings as values of their own.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Diagnostic> {
        self.iter().cloned().collect()
    }
}

impl Index<usize> for FindingList {
    type Output = Diagnostic;

    fn index(&self, index: usize) -> &Diagnostic {
        &self.0[index]
    }
}

impl FromIterator<Diagnostic> for FindingList {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(findings: I) -> Self {
        let mut ledger = Ledger::default();
        findings.into_iter().for_each(|finding| ledger.add(Arc::new(finding)));
        ledger.list()
    }
}

/// Findings that come and go, kept in order.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<InOrder, usize>);

/// A finding by its place: file and position, the gravest first, then by all that it says.
#[derive(Debug)]
struct InOrder(Arc<Diagnostic>);

impl Ledger {
    pub(super) fn add(&mut self, finding: Arc<Diagnostic>) {
        *self.0.entry(InOrder(finding)).or_default() += 1;
    }

    pub(super) fn remove(&mut self, finding: &Arc<Diagnostic>) {
        let place = InOrder(Arc::clone(finding));
        if let Some(count) = self.0.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&place);
            }
        }
    }

    /// Puts `new` in the place of `old`, which it takes over.
    pub(super) fn replace(&mut self, old: &mut Vec<Arc<Diagnostic>>, new: impl IntoIterator<Item = Diagnostic>) {
        let new: Vec<_> = new.into_iter().map(Arc::new).collect();
        old.iter().for_each(|finding| self.remove(finding));
        new.iter().for_each(|finding| self.add(Arc::clone(finding)));
        *old = new;
    }

    pub(super) fn list(&self) -> FindingList {
        let each = self.0.iter().flat_map(|(place, count)| std::iter::repeat_n(&place.0, *count));
        FindingList(each.cloned().collect())
    }
}

impl Ord for InOrder {
    fn cmp(&self, other: &Self) -> Ordering {
        let place = |d: &Diagnostic| (d.position, Reverse(d.level), d.code);
        let (one, two) = (&*self.0, &*other.0);
        one.file
            .cmp(&two.file)
            .then_with(|| place(one).cmp(&place(two)))
            .then_with(|| one.message.cmp(&two.message))
            .then_with(|| one.path.cmp(&two.path))
            .then_with(|| one.key.cmp(&two.key))
            .then_with(|| one.resource.cmp(&two.resource))
            .then_with(|| one.help.cmp(&two.help))
    }
}

impl PartialOrd for InOrder {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for InOrder {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for InOrder {}

impl<'a> IntoIterator for &'a FindingList {
    type Item = &'a Diagnostic;
    type IntoIter = std::iter::Map<std::slice::Iter<'a, Arc<Diagnostic>>, fn(&'a Arc<Diagnostic>) -> &'a Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|finding| &**finding)
    }
}
