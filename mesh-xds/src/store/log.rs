//! Which names changed at which revision, as far back as a bound allows.

use std::collections::VecDeque;

use crate::ResourceKey;

/// A bounded log of changed names.
#[derive(Debug)]
pub(super) struct ChangeLog {
    entries: VecDeque<(u64, ResourceKey)>,
    /// Every change after this revision is in the log.
    complete_after: u64,
    limit: usize,
}

impl ChangeLog {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), complete_after: 0, limit }
    }

    pub(super) fn push(&mut self, revision: u64, key: ResourceKey) {
        self.entries.push_back((revision, key));
    }

    /// Forgets the oldest entries beyond the bound. Call it after a revision is complete.
    pub(super) fn trim(&mut self) {
        while self.entries.len() > self.limit {
            if let Some((revision, _)) = self.entries.pop_front() {
                self.complete_after = revision;
            }
        }
    }

    /// The names changed after `revision`, oldest first; `None` if the log does not reach back that far.
    pub(super) fn since(&self, revision: u64) -> Option<impl Iterator<Item = &ResourceKey>> {
        if revision < self.complete_after {
            return None;
        }
        let start = self.entries.partition_point(|(r, _)| *r <= revision);
        Some(self.entries.range(start..).map(|(_, key)| key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TypeUrl;

    fn key(name: &str) -> ResourceKey {
        ResourceKey { type_url: TypeUrl::CLUSTER, name: name.into() }
    }

    #[test]
    fn tells_what_it_still_knows() {
        let mut log = ChangeLog::new(2);
        for (revision, name) in [(1, "a"), (2, "b"), (3, "c")] {
            log.push(revision, key(name));
            log.trim();
        }
        let since = |r| log.since(r).map(|i| i.map(|k| k.name.to_string()).collect::<Vec<_>>());
        assert_eq!(since(0), None);
        assert_eq!(since(1), Some(vec!["b".into(), "c".into()]));
        assert_eq!(since(3), Some(vec![]));
    }
}
