//! Finding out what a client refuses that does not say it.
//!
//! A client refuses a response as a whole, and some take none of it, although most of it may be good. Where its message names
//! no resource of the push, the push is halved, and each half is sent alone, until what is refused stands alone: the rest is
//! accepted. (There is no partial acknowledgement in the protocol.) Nothing is concluded from what a client accepts: Envoy
//! accepts a secret that it has refused before, without using it.

use std::collections::VecDeque;

use super::{
    ledger::Ledger,
    state::{Odd, TypeState},
};
use crate::{
    ResourceName,
    protocol::{Content, Variant},
};

/// Pushes that are spent on one refusal.
const MAX_PROBES: u16 = 64;

/// Resources one of which was refused, in the groups to be tried.
#[derive(Debug, Default)]
pub(super) struct Suspects(Option<Box<Groups>>);

#[derive(Debug, Default)]
struct Groups {
    groups: VecDeque<Vec<ResourceName>>,
    /// Pushes that may be spent yet.
    left: u16,
}

impl Suspects {
    /// A push of `names` was refused, and it is not known why. `again` is whether it was a probe itself.
    pub(super) fn add(&mut self, mut names: Vec<ResourceName>, again: bool) {
        let suspects = self.0.get_or_insert_default();
        if !again {
            **suspects = Groups { groups: VecDeque::new(), left: MAX_PROBES };
        }
        let second = names.split_off(names.len() / 2);
        suspects.groups.push_front(second);
        suspects.groups.push_front(names);
    }

    /// It is known of `name` that it is refused.
    pub(super) fn convicted(&mut self, name: &ResourceName) {
        for group in self.0.iter_mut().flat_map(|suspects| &mut suspects.groups) {
            group.retain(|other| other != name);
        }
    }

    /// The next to be tried. `None` when all were, or enough.
    fn next(&mut self) -> Option<Vec<ResourceName>> {
        let suspects = self.0.as_mut()?;
        let next = suspects.left.checked_sub(1).and_then(|left| {
            suspects.left = left;
            suspects.groups.pop_front()
        });
        if next.is_none() {
            self.0 = None;
        }
        next
    }
}

impl TypeState {
    /// The next group to be tried: what of it was refused and has not changed since.
    pub(super) fn probe(&mut self, ledger: &Ledger, variant: Variant, ttl: bool) -> Option<Content> {
        while let Some(group) = self.suspects.next() {
            let refused = group.iter().filter_map(|name| {
                let Odd::Refused { version, .. } = self.odd.get(name)? else { return None };
                ledger.get(&self.type_url, name.as_str()).filter(|resource| resource.version() == version)
            });
            let resources: Vec<_> = refused.cloned().collect();
            if !resources.is_empty() {
                return Some(Content::new(self.type_url.clone(), variant, ttl, resources, Vec::new()));
            }
        }
        None
    }
}
