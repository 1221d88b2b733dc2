//! What streams that see the same resources have in common.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use super::ledger::Revision;
use crate::{
    ResourceName, TypeUrl,
    protocol::{Content, Variant},
};

/// The names of a subscription.
pub(super) type Names = HashSet<ResourceName>;

/// Contents of pushes that are kept for other streams.
const MAX_CONTENTS: usize = 8;
/// Encoded bytes of the resources in them. At least the newest content is kept.
const MAX_BYTES: usize = 32 << 20;
/// Sets of names that are too large to be compared each time they change.
const MAX_SHARED_NAMES: usize = 4096;

/// Lets streams over one [`super::Ledger`] share what is equal: the sets of names they are subscribed to, and what they
/// are told when they stand at the same revision. Such a push is composed and encoded once, whoever it goes to.
///
/// Give clones of one to all streams of a ledger. A stream without one shares with nobody.
#[derive(Clone, Default)]
pub struct Sharing(Arc<Shared>);

#[derive(Default)]
struct Shared {
    names: Mutex<HashMap<u64, Weak<Names>>>,
    contents: Mutex<VecDeque<(Recipe, Arc<Content>)>>,
}

/// All that a push's content depends on, besides the ledger and what is particular to one stream.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) type_url: TypeUrl,
    pub(super) variant: Variant,
    /// The client knows of times to live.
    pub(super) ttl: bool,
    pub(super) wildcard: bool,
    pub(super) names: Arc<Names>,
    /// What changed after this ...
    pub(super) from: Revision,
    /// ... up to now.
    pub(super) to: Revision,
    /// Every name is answered, changed or not.
    pub(super) every: bool,
    /// Removals up to here are told; none if there is no revision.
    pub(super) removals_to: Option<Revision>,
}

impl PartialEq for Recipe {
    fn eq(&self, other: &Self) -> bool {
        let same_names = Arc::ptr_eq(&self.names, &other.names) || (self.names.is_empty() && other.names.is_empty());
        same_names
            && (self.from, self.to, self.removals_to) == (other.from, other.to, other.removals_to)
            && (self.variant, self.ttl) == (other.variant, other.ttl)
            && (self.wildcard, self.every) == (other.wildcard, other.every)
            && self.type_url == other.type_url
    }
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharing").field("contents", &self.0.contents.lock().len()).finish_non_exhaustive()
    }
}

impl Sharing {
    /// The set that others have too, if `names` is equal to it. Gives whether others with the same names will find it.
    pub(super) fn names(&self, names: &mut Arc<Names>) -> bool {
        if names.is_empty() || names.len() > MAX_SHARED_NAMES || !self.has_others() {
            return false;
        }
        // The order of a set is no property of it: neither may be that of its hash.
        let hash = |name: &ResourceName| xxhash_rust::xxh3::xxh3_64(name.as_str().as_bytes());
        let key = names.iter().map(hash).fold(0, u64::wrapping_add);
        let mut known = self.0.names.lock();
        match known.get(&key).and_then(Weak::upgrade) {
            Some(same) if Arc::ptr_eq(&same, names) => {}
            Some(same) if *same == **names => *names = same,
            _ => {
                known.retain(|_, names| names.strong_count() > 0);
                known.insert(key, Arc::downgrade(names));
            }
        }
        true
    }

    /// The content by `recipe`, made by `compose` if no other stream did.
    pub(super) fn content(&self, recipe: Recipe, compose: impl FnOnce(&Recipe) -> Content) -> Arc<Content> {
        if !self.has_others() {
            self.0.contents.lock().clear();
            return Arc::new(compose(&recipe));
        }
        let mut contents = self.0.contents.lock();
        if let Some((_, content)) = contents.iter().find(|(known, _)| *known == recipe) {
            return content.clone();
        }
        // Under the lock: whoever wants the same waits for it rather than making it again.
        let content = Arc::new(compose(&recipe));
        contents.push_back((recipe, content.clone()));
        let size = |contents: &VecDeque<(Recipe, Arc<Content>)>| contents.iter().map(|(_, c)| c.bytes).sum::<usize>();
        while contents.len() > MAX_CONTENTS || (contents.len() > 1 && size(&contents) > MAX_BYTES) {
            contents.pop_front();
        }
        content
    }

    /// One handle is the stream's own, one that of whoever opens streams.
    fn has_others(&self) -> bool {
        Arc::strong_count(&self.0) > 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Arc<Names> {
        Arc::new(names.iter().map(|n| (*n).into()).collect())
    }

    #[test]
    fn equal_sets_become_one() {
        let sharing = Sharing::default();
        let _others = (sharing.clone(), sharing.clone());
        let (mut a, mut b, mut c) = (names(&["x", "y"]), names(&["y", "x"]), names(&["x"]));
        for set in [&mut a, &mut b, &mut c] {
            sharing.names(set);
        }
        assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
        drop((a, b));
        sharing.names(&mut names(&["z"]));
        assert!(sharing.0.names.lock().len() <= 2, "sets that nobody has are forgotten");
    }
}
