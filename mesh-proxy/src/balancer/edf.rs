use std::{cmp::Ordering, collections::BinaryHeap};

use super::Rng;

/// Earliest-deadline-first scheduler: entries come in proportion to their weights, spread evenly.
#[derive(Debug, Default)]
pub(super) struct Edf {
    heap: BinaryHeap<Entry>,
    order: u64,
}

#[derive(Debug)]
struct Entry {
    deadline: f64,
    /// Ties are served in the order of entry.
    order: u64,
    index: usize,
}

impl Edf {
    /// A schedule of `weights`. Entries start somewhere in their first period, so that workers do not march in step.
    pub(super) fn new(weights: impl Iterator<Item = f64>, rng: &mut Rng) -> Self {
        let mut edf = Self::default();
        for (index, weight) in weights.enumerate() {
            let deadline = rng.unit() / weight.max(f64::MIN_POSITIVE);
            edf.heap.push(Entry { deadline, order: index as u64, index });
        }
        edf.order = edf.heap.len() as u64;
        edf
    }

    /// The next entry, scheduled again with the weight that it has now.
    pub(super) fn next(&mut self, weight: impl FnOnce(usize) -> f64) -> Option<usize> {
        let mut top = self.heap.peek_mut()?;
        let index = top.index;
        self.order += 1;
        // Written in place: the heap sifts once instead of a pop and a push.
        let deadline = top.deadline + 1.0 / weight(index).max(f64::MIN_POSITIVE);
        *top = Entry { deadline, order: self.order, index };
        Some(index)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest deadline is the greatest entry.
    fn cmp(&self, other: &Self) -> Ordering {
        other.deadline.total_cmp(&self.deadline).then(other.order.cmp(&self.order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_weights_smoothly() {
        let weights = [1.0, 2.0, 5.0];
        let mut edf = Edf::new(weights.into_iter(), &mut Rng::new(1));
        let picks: Vec<usize> = (0..80).map(|_| edf.next(|i| weights[i]).unwrap()).collect();
        for (i, weight) in weights.into_iter().enumerate() {
            for window in picks.chunks(8) {
                let seen = window.iter().filter(|p| **p == i).count() as f64;
                assert!((seen - weight).abs() <= 1.0, "entry {i} has {seen} of 8 picks");
            }
        }
    }
}
