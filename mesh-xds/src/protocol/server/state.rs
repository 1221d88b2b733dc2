//! What a stream knows of one type.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use indexmap::IndexSet;

use super::{ResourceSet, interest::Interest};
use crate::{
    Nonce, Resource, ResourceName, TypeUrl, Version,
    protocol::{TypeRules, Variant},
};

/// One name the client was told of.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) version: Version,
    /// SotW only: the resource is kept to be repeated in whole sets while its removal is held back.
    pub(super) resource: Option<Arc<Resource>>,
    pub(super) standing: Standing,
}

/// How the client answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Sent,
    Accepted,
    Refused(Arc<str>),
}

/// A push that waits for its answer.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) nonce: Nonce,
    pub(super) sent_at: Instant,
    /// Names and the version each was sent with.
    pub(super) resources: Vec<(ResourceName, Version)>,
    pub(super) removed: Vec<ResourceName>,
}

/// Counters of one type on one stream.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) pushes: u64,
    pub(super) acks: u64,
    pub(super) nacks: u64,
    pub(super) stale_nonces: u64,
}

/// The state of one type on one stream.
#[derive(Debug)]
pub(super) struct TypeState {
    pub(super) type_url: TypeUrl,
    pub(super) rules: TypeRules,
    pub(super) interest: Interest,
    pub(super) held: HashMap<ResourceName, Held>,
    /// Names whose content differs from what the client was told.
    pub(super) changed: IndexSet<ResourceName>,
    /// Names the client was told of that no longer exist.
    pub(super) gone: BTreeSet<ResourceName>,
    /// Names that must be answered, changed or not.
    pub(super) owed: IndexSet<ResourceName>,
    /// Removals that were refused along with their push: told again with the next one.
    pub(super) refused_removals: BTreeSet<ResourceName>,
    /// A response is due even if it is empty.
    pub(super) answer_due: bool,
    /// The client came with state from an earlier stream, so that it is not waiting for its first answer.
    pub(super) resumed: bool,
    /// SotW: what refers to this type was pushed, so that the next request may wait for an answer although nothing
    /// changed ("Resource warming").
    pub(super) warming: bool,
    pub(super) in_flight: Option<InFlight>,
    /// The nonce of the last push, answered or not.
    pub(super) last_nonce: Option<Nonce>,
    pub(super) held_back_since: Option<Instant>,
    pub(super) counts: Counts,
    pub(super) last_error: Option<Arc<str>>,
}

impl TypeState {
    pub(super) fn new(type_url: TypeUrl) -> Self {
        Self {
            rules: TypeRules::of(&type_url),
            type_url,
            interest: Interest::default(),
            held: HashMap::new(),
            changed: IndexSet::new(),
            gone: BTreeSet::new(),
            owed: IndexSet::new(),
            refused_removals: BTreeSet::new(),
            answer_due: false,
            resumed: false,
            warming: false,
            in_flight: None,
            last_nonce: None,
            held_back_since: None,
            counts: Counts::default(),
            last_error: None,
        }
    }

    /// Compares one name with what the client was told.
    pub(super) fn note(&mut self, set: &dyn ResourceSet, name: &ResourceName, variant: Variant) {
        if !self.interest.covers(name.as_str()) {
            return;
        }
        match set.get(&self.type_url, name.as_str()) {
            Some(resource) => self.note_present(resource),
            None => self.note_absent(name, variant),
        }
    }

    fn note_present(&mut self, resource: &Resource) {
        self.gone.remove(resource.name());
        if self.held.get(resource.name()).is_some_and(|h| h.version == *resource.version()) {
            self.changed.shift_remove(resource.name());
        } else {
            self.changed.insert(resource.name().clone());
        }
    }

    fn note_absent(&mut self, name: &ResourceName, variant: Variant) {
        self.changed.shift_remove(name);
        if variant == Variant::Sotw && !self.rules.whole_set {
            // Absence cannot be told: the client keeps what it has until it drops the name.
            self.held.remove(name);
        } else if self.held.contains_key(name) {
            self.gone.insert(name.clone());
        }
    }

    /// Compares every name.
    pub(super) fn note_all(&mut self, set: &dyn ResourceSet, variant: Variant) {
        if self.interest.wildcard {
            let type_url = self.type_url.clone();
            set.for_each(&type_url, &mut |resource| self.note_present(resource));
        } else {
            let names: Vec<ResourceName> = self.interest.names.iter().cloned().collect();
            for name in &names {
                self.note(set, name, variant);
            }
        }
        let absent = |n: &&ResourceName| set.get(&self.type_url, n.as_str()).is_none();
        let vanished: Vec<ResourceName> = self.held.keys().filter(absent).cloned().collect();
        for name in &vanished {
            self.note_absent(name, variant);
        }
    }

    /// Forgets names that are no longer subscribed.
    pub(super) fn forget_uncovered(&mut self) {
        let interest = &self.interest;
        self.held.retain(|name, _| interest.covers(name.as_str()));
        self.changed.retain(|name| interest.covers(name.as_str()));
        self.gone.retain(|name| interest.covers(name.as_str()));
        self.owed.retain(|name| interest.covers(name.as_str()));
        self.refused_removals.retain(|name| interest.covers(name.as_str()));
    }

    /// Whether anything waits to be sent or answered.
    pub(super) fn is_settled(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty() && self.in_flight.is_none()
    }
}
