//! What of one type a client is subscribed to.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

use super::sharing::{Names, Sharing};
use crate::{
    ResourceName,
    protocol::{Request, TypeRules, Variant, WILDCARD},
};

/// Names, everything, or both.
#[derive(Debug)]
pub(super) struct Interest {
    pub(super) wildcard: bool,
    pub(super) names: Arc<Names>,
    /// Whether others with the same names have the same set.
    shared: bool,
    /// SotW: names were listed once, so that an empty list no longer means everything.
    listed: bool,
    /// SotW: of the names last listed.
    fingerprint: Option<u64>,
}

/// No names, as most streams have of most types.
static NO_NAMES: LazyLock<Arc<Names>> = LazyLock::new(Arc::default);

impl Default for Interest {
    fn default() -> Self {
        Self { wildcard: false, names: NO_NAMES.clone(), shared: false, listed: false, fingerprint: None }
    }
}

/// What a request changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct InterestChange {
    /// Names the client asks for now, known to it or not.
    pub(super) asked: Vec<ResourceName>,
    /// Names it no longer lists. A wildcard may still cover them.
    pub(super) dropped: Vec<ResourceName>,
    /// Everything is wanted from now on.
    pub(super) wildcard_on: bool,
    /// Everything is no longer wanted.
    pub(super) wildcard_off: bool,
}

impl InterestChange {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Interest {
    pub(super) fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Has the set that others have, if there is one. Costs the names once for each change of them.
    pub(super) fn share(&mut self, sharing: &Sharing) {
        if !self.shared {
            self.shared = sharing.names(&mut self.names);
        }
    }

    /// Takes over what `request` says. `first` is whether it is the first of its type on the stream.
    pub(super) fn apply(&mut self, variant: Variant, request: &Request, first: bool) -> InterestChange {
        let legacy = TypeRules::of(&request.type_url).legacy_wildcard;
        match variant {
            Variant::Delta => self.apply_delta(request, first && legacy),
            Variant::Sotw => self.apply_sotw(&request.names, legacy),
        }
    }

    /// "Unsubscribing from resources": names are added and taken away; `*` is a name like others.
    fn apply_delta(&mut self, request: &Request, legacy: bool) -> InterestChange {
        let before = self.wildcard;
        let mut change = InterestChange::default();
        if legacy && request.names.is_empty() && request.unsubscribe.is_empty() {
            self.wildcard = true;
        }
        for name in &request.names {
            if *name == WILDCARD {
                self.wildcard = true;
            } else {
                self.insert(name);
                change.asked.push(name.clone());
            }
        }
        for name in &request.unsubscribe {
            if *name == WILDCARD {
                self.wildcard = false;
            } else {
                self.remove(name);
                change.asked.retain(|n| n != name);
                change.dropped.push(name.clone());
            }
        }
        self.note_wildcard(before, &mut change);
        change
    }

    /// The list is what is wanted. An empty one means everything until a name was listed on this stream.
    fn apply_sotw(&mut self, names: &[ResourceName], legacy: bool) -> InterestChange {
        let before = self.wildcard;
        let mut change = InterestChange::default();
        let explicit = names.iter().any(|n| *n == WILDCARD);
        self.listed |= !names.is_empty();
        self.wildcard = explicit || (names.is_empty() && !self.listed && legacy);
        // Every acknowledgement repeats the list, which has mostly not changed.
        let fingerprint = Some(fingerprint(names));
        if self.fingerprint == fingerprint {
            self.note_wildcard(before, &mut change);
            return change;
        }
        self.fingerprint = fingerprint;
        let wanted: HashSet<&ResourceName> = names.iter().filter(|n| **n != WILDCARD).collect();
        change.dropped = self.names.iter().filter(|n| !wanted.contains(n)).cloned().collect();
        for name in &change.dropped {
            self.remove(name);
        }
        for name in wanted {
            if self.insert(name) {
                change.asked.push(name.clone());
            }
        }
        change.asked.sort();
        self.note_wildcard(before, &mut change);
        change
    }

    // The set may be shared with other streams: it is copied only for what really changes it.

    fn insert(&mut self, name: &ResourceName) -> bool {
        let new = !self.names.contains(name);
        if new {
            self.shared = false;
            Arc::make_mut(&mut self.names).insert(name.clone());
        }
        new
    }

    fn remove(&mut self, name: &ResourceName) {
        if self.names.contains(name) {
            self.shared = false;
            Arc::make_mut(&mut self.names).remove(name);
        }
    }

    fn note_wildcard(&self, before: bool, change: &mut InterestChange) {
        change.wildcard_on = self.wildcard && !before;
        change.wildcard_off = before && !self.wildcard;
    }
}

/// Equal for equal lists, in whichever order. A client that made two lists look equal would deceive itself only.
fn fingerprint(names: &[ResourceName]) -> u64 {
    let hash = |name: &ResourceName| xxhash_rust::xxh3::xxh3_64(name.as_str().as_bytes());
    names.iter().map(hash).fold(names.len() as u64, u64::wrapping_add)
}
