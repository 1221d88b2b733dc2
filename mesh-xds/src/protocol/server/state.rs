//! What a stream knows of one type.
//!
//! A client holds what the ledger held at the revision [`TypeState::told`], as far as it is subscribed to it. Only where
//! that is not so a name is noted, in [`TypeState::odd`]: for a client that is up to date nothing is kept but a number.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use super::{
    interest::Interest,
    ledger::{Entry, Revision, TypeLedger},
    news::News,
    probe::Suspects,
    warming::Warming,
};
use crate::{
    Nonce, Resource, ResourceName, TypeUrl, Version,
    protocol::{Content, TypeRules, Variant},
};

/// How a name stands that does not stand as the ledger did at the revision told.
#[derive(Debug, Clone)]
pub(super) enum Odd {
    /// The client holds this version.
    Holds(Version),
    /// The client has nothing of that name.
    Lacks,
    /// The client was sent this version and refused it; what it held before may still be in force.
    Refused {
        version: Version,
        message: Arc<str>,
        /// It has all that changed up to here.
        since: Revision,
        /// SotW of whole sets: what is in the set in the place of one that was refused by name: what was accepted before, if
        /// anything was. Where nothing was named, it may be any of them, and there is no place to leave empty.
        instead: Option<Option<Arc<Resource>>>,
    },
    /// The client was sent the resource along with others that it refused, so that it may have it or not.
    Unsure {
        /// It has all that changed up to here.
        since: Revision,
    },
    /// The resource is gone, and the client has not been told yet.
    Leaving(Arc<Resource>),
}

impl Odd {
    /// The version that need not be sent.
    pub(super) fn version(&self) -> Option<&Version> {
        match self {
            Self::Holds(version) | Self::Refused { version, .. } => Some(version),
            Self::Leaving(resource) => Some(resource.version()),
            Self::Lacks | Self::Unsure { .. } => None,
        }
    }

    /// Whether the client may have something of that name.
    pub(super) fn may_hold(&self) -> bool {
        !matches!(self, Self::Lacks)
    }

    /// Up to where the client has all that changed, if it was sent more and refused it.
    pub(super) fn refused_since(&self) -> Option<Revision> {
        match self {
            Self::Refused { since, .. } | Self::Unsure { since } => Some(*since),
            _ => None,
        }
    }
}

/// What is to be told of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    /// New or changed content.
    Change,
    /// It does not exist any more.
    Removal,
}

/// A push that waits for its answer.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) nonce: Nonce,
    pub(super) sent_at: Instant,
    pub(super) content: Arc<Content>,
    /// What was told before.
    pub(super) from: Revision,
    /// The client had nothing before.
    pub(super) cold: bool,
    /// It only serves to find out what was refused.
    pub(super) probe: bool,
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
    /// Up to where the client was told what it is subscribed to.
    pub(super) told: Revision,
    pub(super) odd: BTreeMap<ResourceName, Odd>,
    /// Removals were forgotten that the client should have been told.
    pub(super) lost_track: bool,
    /// What there is to tell, as of the ledger's last change of the type; `None` if it must be worked out again.
    pub(super) news: Option<News>,
    /// Names that must be answered, changed or not.
    pub(super) owed: BTreeSet<ResourceName>,
    /// Names that the client has and is to be told again, for it is warming what refers to them. Those that have changed wait
    /// like other changes.
    pub(super) repeats: BTreeSet<ResourceName>,
    /// SotW of whole sets: what the client accepted last.
    pub(super) accepted: Option<Arc<[Arc<Resource>]>>,
    /// Removals that were refused along with their push: told again with the next one.
    pub(super) refused_removals: BTreeSet<ResourceName>,
    pub(super) suspects: Suspects,
    /// A response is due even if it is empty.
    pub(super) answer_due: bool,
    /// The client came with state from an earlier stream, so that it is not waiting for its first answer.
    pub(super) resumed: bool,
    pub(super) warming: Warming,
    pub(super) in_flight: Option<Box<InFlight>>,
    /// The nonce of the last push, answered or not.
    pub(super) last_nonce: Option<Nonce>,
    pub(super) held_back_since: Option<Instant>,
    /// When times to live are to start anew, if any resource has one.
    pub(super) heartbeat_at: Option<Instant>,
    pub(super) counts: Counts,
    pub(super) last_error: Option<Arc<str>>,
}

impl TypeState {
    pub(super) fn new(type_url: TypeUrl) -> Self {
        Self {
            rules: TypeRules::of(&type_url),
            type_url,
            interest: Interest::default(),
            told: Revision::NONE,
            odd: BTreeMap::new(),
            lost_track: false,
            news: None,
            owed: BTreeSet::new(),
            repeats: BTreeSet::new(),
            accepted: None,
            refused_removals: BTreeSet::new(),
            suspects: Suspects::default(),
            answer_due: false,
            resumed: false,
            warming: Warming::default(),
            in_flight: None,
            last_nonce: None,
            held_back_since: None,
            heartbeat_at: None,
            counts: Counts::default(),
            last_error: None,
        }
    }

    /// Nothing is known of the client but what it is subscribed to: every name is to be answered.
    pub(super) fn is_unsent(&self) -> bool {
        self.counts.pushes == 0 && self.told == Revision::NONE
    }

    /// Whether what does not exist can be told: SotW has no way to say it of types that are not whole sets.
    pub(super) fn tells_removals(&self, variant: Variant) -> bool {
        variant == Variant::Delta || self.rules.whole_set
    }

    /// What the client is to be told of a name it is subscribed to and that the ledger knows.
    pub(super) fn difference(&self, entry: &Entry, variant: Variant) -> Option<Difference> {
        let odd = self.odd.get(entry.resource.name());
        if let Some(resource) = entry.present() {
            let holds = match odd {
                None => entry.revision <= self.told,
                Some(odd) => odd.version() == Some(resource.version()),
            };
            return (!holds).then_some(Difference::Change);
        }
        let holds = match odd {
            None => entry.revision > self.told && entry.known_since <= self.told,
            Some(odd) => odd.may_hold(),
        };
        (holds && self.tells_removals(variant)).then_some(Difference::Removal)
    }

    /// What the client is to be told of a name that is noted as odd, and the revision of that.
    pub(super) fn odd_difference(
        &self,
        kind: Option<&TypeLedger>,
        (name, odd): (&ResourceName, &Odd),
        variant: Variant,
    ) -> Option<(Difference, Revision)> {
        match kind.and_then(|kind| kind.entry(name.as_str())) {
            Some(entry) => self.difference(entry, variant).map(|difference| (difference, entry.revision)),
            None if self.tells_removals(variant) => odd.may_hold().then_some((Difference::Removal, Revision::NONE)),
            None => None,
        }
    }

    /// Whether the client refused something, so that it may hold what was before.
    pub(super) fn refuses(&self) -> bool {
        self.odd.values().any(|odd| odd.refused_since().is_some())
    }

    pub(super) fn is_whole_set(&self, variant: Variant) -> bool {
        variant == Variant::Sotw && self.rules.whole_set
    }

    pub(super) fn is_refused(&self, name: &str) -> bool {
        matches!(self.odd.get(name), Some(Odd::Refused { .. }))
    }

    /// Forgets names that are no longer subscribed.
    pub(super) fn forget_uncovered(&mut self) {
        let interest = &self.interest;
        self.odd.retain(|name, _| interest.covers(name.as_str()));
        self.owed.retain(|name| interest.covers(name.as_str()));
        self.repeats.retain(|name| interest.covers(name.as_str()));
        self.refused_removals.retain(|name| interest.covers(name.as_str()));
        self.news = None;
    }
}
