//! What a client knows of one type.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::{Overdue, TypeStatus, UpdateId};
use crate::{
    Nonce, ResourceName, TypeUrl, Version,
    protocol::{Response, TypeRules, WILDCARD},
};

/// How often a name is asked for again in SotW before its answer is left to time.
const ASK_AGAIN: u8 = 3;

/// A response that waits for its turn.
#[derive(Debug)]
pub(super) enum Queued {
    Response(Response),
    Unreadable { nonce: Nonce, message: String },
}

/// The update the consumer has in hand.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) id: UpdateId,
    pub(super) epoch: u64,
    pub(super) nonce: Nonce,
    pub(super) version: Version,
    pub(super) added: Vec<(ResourceName, Version)>,
    pub(super) removed: Vec<ResourceName>,
}

/// An answer to be sent.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) nonce: Nonce,
    pub(super) error: Option<String>,
    /// SotW: the version last accepted when the answer was given.
    pub(super) version: Option<Version>,
}

/// Whether what was subscribed was ever answered, and until when it should be.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Awaited {
    pub(super) answered: bool,
    pub(super) deadline: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct TypeState {
    pub(super) type_url: TypeUrl,
    pub(super) rules: TypeRules,
    pub(super) fetch_timeout: Option<Duration>,
    pub(super) wildcard: Option<Awaited>,
    pub(super) names: BTreeMap<ResourceName, Awaited>,
    pub(super) held: HashMap<ResourceName, Version>,
    /// A request of the type was sent on this stream.
    pub(super) started: bool,
    /// Delta: to be said with the next request. SotW: not empty means that the list changed.
    pub(super) to_subscribe: BTreeSet<ResourceName>,
    pub(super) to_unsubscribe: BTreeSet<ResourceName>,
    /// SotW: names the server has listed that must be answered again. A list cannot say so, but two lists can: one
    /// without them, then one with them.
    pub(super) asked_again: BTreeMap<ResourceName, u8>,
    /// Those said so and not answered yet. The two lists may have met a response on its way, and were then dropped as
    /// stale: they are said again with its answer, as often as is noted here.
    pub(super) unsure: BTreeMap<ResourceName, u8>,
    pub(super) answers: VecDeque<Answer>,
    pub(super) queue: VecDeque<Queued>,
    pub(super) outstanding: Option<Outstanding>,
    /// SotW: nonce of the last response answered on this stream.
    pub(super) nonce: Option<Nonce>,
    /// SotW: version last accepted, on any stream.
    pub(super) version: Option<Version>,
    pub(super) accepted: u64,
    pub(super) rejected: u64,
    pub(super) last_error: Option<String>,
}

impl TypeState {
    pub(super) fn new(type_url: TypeUrl) -> Self {
        Self {
            rules: TypeRules::of(&type_url),
            type_url,
            fetch_timeout: None,
            wildcard: None,
            names: BTreeMap::new(),
            held: HashMap::new(),
            started: false,
            to_subscribe: BTreeSet::new(),
            to_unsubscribe: BTreeSet::new(),
            asked_again: BTreeMap::new(),
            unsure: BTreeMap::new(),
            answers: VecDeque::new(),
            queue: VecDeque::new(),
            outstanding: None,
            nonce: None,
            version: None,
            accepted: 0,
            rejected: 0,
            last_error: None,
        }
    }

    pub(super) fn covers(&self, name: &str) -> bool {
        self.wildcard.is_some() || self.names.contains_key(name)
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.wildcard.is_some() || !self.names.is_empty()
    }

    fn awaited(&self, now: Instant) -> Awaited {
        Awaited { answered: false, deadline: self.fetch_timeout.and_then(|t| now.checked_add(t)) }
    }

    pub(super) fn subscribe(&mut self, name: ResourceName, now: Instant) {
        if name == WILDCARD {
            return self.subscribe_wildcard(now);
        }
        let awaited = self.awaited(now);
        let dropped = self.to_unsubscribe.remove(&name);
        self.to_subscribe.insert(name.clone());
        let known = self.names.insert(name.clone(), awaited).is_some();
        if known || dropped {
            self.asked_again.insert(name, ASK_AGAIN);
        }
    }

    pub(super) fn subscribe_wildcard(&mut self, now: Instant) {
        if self.wildcard.is_none() {
            self.wildcard = Some(self.awaited(now));
            self.to_unsubscribe.remove(WILDCARD);
            self.to_subscribe.insert(ResourceName::from(WILDCARD));
        }
    }

    pub(super) fn unsubscribe(&mut self, name: &ResourceName) {
        if *name == WILDCARD {
            if self.wildcard.take().is_none() {
                return;
            }
        } else if self.names.remove(name).is_none() {
            return;
        }
        self.to_subscribe.remove(name);
        self.asked_again.remove(name);
        self.unsure.remove(name);
        self.to_unsubscribe.insert(name.clone());
        let (wildcard, names) = (self.wildcard.is_some(), &self.names);
        self.held.retain(|held, _| wildcard || names.contains_key(held));
    }

    pub(super) fn unsubscribe_all(&mut self) {
        let names: Vec<ResourceName> = self.names.keys().cloned().collect();
        names.iter().for_each(|name| self.unsubscribe(name));
        self.unsubscribe(&ResourceName::from(WILDCARD));
    }

    pub(super) fn reset_stream(&mut self) {
        self.started = false;
        self.to_subscribe.clear();
        self.to_unsubscribe.clear();
        self.asked_again.clear();
        self.unsure.clear();
        self.answers.clear();
        self.queue.clear();
        self.nonce = None;
    }

    /// Marks as answered what a response speaks of.
    pub(super) fn note_answered<'a>(&mut self, names: impl Iterator<Item = &'a ResourceName>) {
        if let Some(wildcard) = &mut self.wildcard {
            *wildcard = Awaited { answered: true, deadline: None };
        }
        for name in names {
            self.unsure.remove(name);
            if let Some(awaited) = self.names.get_mut(name) {
                *awaited = Awaited { answered: true, deadline: None };
            }
        }
    }

    /// SotW: a response was answered that did not speak of what was asked for again.
    pub(super) fn ask_unsure_again(&mut self) {
        for (name, left) in std::mem::take(&mut self.unsure) {
            if left > 0 {
                self.to_subscribe.insert(name.clone());
                self.asked_again.insert(name, left - 1);
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.names.values().chain(&self.wildcard).filter_map(|a| a.deadline).min()
    }

    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<Overdue> {
        let late = |a: &mut Awaited| a.deadline.take_if(|d| *d <= now).is_some();
        let wildcard = self.wildcard.as_mut().is_some_and(late);
        let names: Vec<ResourceName> = self.names.iter_mut().filter_map(|(n, a)| late(a).then(|| n.clone())).collect();
        (wildcard || !names.is_empty()).then(|| Overdue { type_url: self.type_url.clone(), wildcard, names })
    }

    pub(super) fn status(&self) -> TypeStatus {
        TypeStatus {
            resources: self.held.len(),
            accepted: self.accepted,
            rejected: self.rejected,
            version: self.version.clone(),
            last_error: self.last_error.clone(),
        }
    }
}
