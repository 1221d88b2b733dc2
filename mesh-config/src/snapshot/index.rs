//! The index of a snapshot: objects by their facets, shared between snapshots as far as they agree.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, LazyLock},
};

use super::facet::{Facet, facets};
use crate::{hosts::host_covers, model::Object};

/// How many parts the index is shared in: a change copies the few parts that it touches.
const SHARDS: usize = 1024;

type Entry = (Facet, Arc<str>);
type Shard = HashMap<Entry, Vec<Arc<Object>>>;

/// One for all indexes, so that equal entries are in equal parts.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Objects by their facets. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    /// Empty until there is an object.
    shards: Arc<Vec<Arc<Shard>>>,
    /// Hosts with a wildcard, and how many objects have them.
    wildcards: Arc<BTreeMap<Entry, usize>>,
}

fn shard_of(facet: Facet, text: &str) -> usize {
    // The remainder is below the number of parts.
    usize::try_from(HASHER.hash_one((facet, text)) % SHARDS as u64).unwrap_or_default()
}

fn is_wildcard(facet: Facet, text: &str) -> bool {
    matches!(facet, Facet::Host | Facet::GatewayHost | Facet::Destination) && text.contains('*')
}

impl Index {
    pub(super) fn insert(&mut self, object: &Arc<Object>) {
        for (facet, text) in facets(object) {
            let entry = (facet, Arc::from(text));
            if is_wildcard(facet, &entry.1) {
                *Arc::make_mut(&mut self.wildcards).entry(entry.clone()).or_default() += 1;
            }
            let found = self.shard(&entry).entry(entry).or_default();
            let at = found.partition_point(|other| other.key() < object.key());
            found.insert(at, Arc::clone(object));
        }
    }

    pub(super) fn remove(&mut self, object: &Arc<Object>) {
        for (facet, text) in facets(object) {
            let entry = (facet, Arc::from(text));
            if is_wildcard(facet, &entry.1) {
                let wildcards = Arc::make_mut(&mut self.wildcards);
                if let Some(count) = wildcards.get_mut(&entry) {
                    *count -= 1;
                    if *count == 0 {
                        wildcards.remove(&entry);
                    }
                }
            }
            let shard = self.shard(&entry);
            if let Some(found) = shard.get_mut(&entry) {
                found.retain(|other| other.key() != object.key());
                if found.is_empty() {
                    shard.remove(&entry);
                }
            }
        }
    }

    fn shard(&mut self, entry: &Entry) -> &mut Shard {
        let shards = Arc::make_mut(&mut self.shards);
        if shards.is_empty() {
            shards.resize_with(SHARDS, Arc::default);
        }
        Arc::make_mut(&mut shards[shard_of(entry.0, &entry.1)])
    }

    /// The objects with a facet, in the order of their keys.
    pub(crate) fn get(&self, facet: Facet, text: &str) -> &[Arc<Object>] {
        let shard = self.shards.get(shard_of(facet, text));
        shard.and_then(|shard| shard.get(&(facet, Arc::from(text)))).map_or(&[], Vec::as_slice)
    }

    /// Calls back with the objects whose host is the same as `host`, covers it, or is covered by it; an object may come
    /// several times.
    pub(crate) fn overlapping(&self, facet: Facet, host: &str, visit: &mut dyn FnMut(&Arc<Object>)) {
        if host.contains('*') {
            // Whatever the wildcard covers may be anywhere.
            let entries = self.shards.iter().flat_map(|shard| shard.iter()).filter(|((kind, _), _)| *kind == facet);
            let meets = |other: &str| host_covers(host, other) || host_covers(other, host);
            entries.filter(|((_, other), _)| meets(other)).for_each(|(_, found)| found.iter().for_each(&mut *visit));
            return;
        }
        self.get(facet, host).iter().for_each(&mut *visit);
        let first = (facet, Arc::from(""));
        let wildcards = self.wildcards.range(first..).take_while(|((kind, _), _)| *kind == facet);
        for ((_, pattern), _) in wildcards.filter(|((_, pattern), _)| host_covers(pattern, host)) {
            self.get(facet, pattern).iter().for_each(&mut *visit);
        }
    }
}
