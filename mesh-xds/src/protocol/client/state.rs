//! What a client knows of one type.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use super::{Overdue, Place, Restored, TypeStatus, Unanswered, UpdateId, held::Held};
use crate::{
    Nonce, ResourceName, TypeUrl, Version,
    protocol::{Response, TypeRules, WILDCARD},
};

/// How often a name is asked for again in SotW before its answer is left to time.
const ASK_AGAIN: u8 = 3;

/// A response that waits for its turn.
#[derive(Debug)]
pub(super) enum Queued {
    Response {
        response: Response,
        at: Instant,
    },
    Unreadable {
        nonce: Nonce,
        message: String,
    },
    /// Not from a server.
    Restored(Restored),
}

/// The update the consumer has in hand.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) id: UpdateId,
    pub(super) heard_at: Place,
    /// The response it comes from. `None`: from none, and nobody is told the verdict.
    pub(super) answers: Option<(Nonce, Version)>,
    pub(super) added: Vec<Offered>,
    pub(super) removed: Vec<ResourceName>,
}

/// A resource in the consumer's hand.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) name: ResourceName,
    pub(super) version: Version,
    /// When its time to live ends.
    pub(super) deadline: Option<Instant>,
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
    /// SotW: every request of this stream listed it, so that no response can have left it out for not knowing of it.
    pub(super) always_listed: bool,
    /// It was given in [`TypeState::take_unanswered`].
    pub(super) given: bool,
}

/// SotW: how the wildcard stands in what was last said on this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Said {
    /// Not at all.
    #[default]
    Nothing,
    /// By an empty list. Can only be taken back by saying something else first.
    Silence,
    /// By its name.
    Star,
}

#[derive(Debug)]
pub(super) struct TypeState {
    pub(super) type_url: TypeUrl,
    pub(super) rules: TypeRules,
    pub(super) fetch_timeout: Option<Duration>,
    pub(super) wildcard: Option<Awaited>,
    pub(super) names: BTreeMap<ResourceName, Awaited>,
    pub(super) held: Held,
    /// The server that what is held, and `version`, come from.
    pub(super) server: u64,
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
    /// The wildcard was dropped and is wanted again, and the server knows of neither.
    pub(super) wildcard_again: bool,
    pub(super) said: Said,
    /// SotW: names were listed on this stream: silence no longer means everything.
    pub(super) listed: bool,
    pub(super) answers: VecDeque<Answer>,
    pub(super) queue: VecDeque<Queued>,
    pub(super) outstanding: Option<Outstanding>,
    /// SotW: nonce of the last response answered on this stream.
    pub(super) nonce: Option<Nonce>,
    /// SotW: version last accepted, on any stream.
    pub(super) version: Option<Version>,
    /// SotW: something of that version is not held any more, so that a new stream must not claim it.
    pub(super) incomplete: bool,
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
            held: Held::default(),
            server: 0,
            started: false,
            to_subscribe: BTreeSet::new(),
            to_unsubscribe: BTreeSet::new(),
            asked_again: BTreeMap::new(),
            unsure: BTreeMap::new(),
            wildcard_again: false,
            said: Said::default(),
            listed: false,
            answers: VecDeque::new(),
            queue: VecDeque::new(),
            outstanding: None,
            nonce: None,
            version: None,
            incomplete: false,
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

    pub(super) fn lacks_answers(&self) -> bool {
        self.names.values().chain(&self.wildcard).any(|awaited| !awaited.answered)
    }

    pub(super) fn take_unanswered(&mut self) -> Option<Unanswered> {
        let take = |a: &mut Awaited| !a.answered && !std::mem::replace(&mut a.given, true);
        let wildcard = self.wildcard.as_mut().is_some_and(take);
        let names: Vec<ResourceName> = self.names.iter_mut().filter_map(|(n, a)| take(a).then(|| n.clone())).collect();
        (wildcard || !names.is_empty()).then(|| Unanswered { type_url: self.type_url.clone(), wildcard, names })
    }

    fn awaited(&self, now: Instant) -> Awaited {
        let deadline = self.fetch_timeout.and_then(|t| now.checked_add(t));
        Awaited { answered: false, deadline, ..Awaited::default() }
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
            self.wildcard_again = self.to_unsubscribe.contains(WILDCARD);
            self.to_subscribe.insert(ResourceName::from(WILDCARD));
        }
    }

    pub(super) fn unsubscribe(&mut self, name: &ResourceName) {
        if *name == WILDCARD {
            if self.wildcard.take().is_none() {
                return;
            }
            self.wildcard_again = false;
        } else if self.names.remove(name).is_none() {
            return;
        }
        self.to_subscribe.remove(name);
        self.asked_again.remove(name);
        self.unsure.remove(name);
        self.to_unsubscribe.insert(name.clone());
        let (wildcard, names) = (self.wildcard.is_some(), &self.names);
        self.held.retain(|held| wildcard || names.contains_key(held));
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
        self.wildcard_again = false;
        self.said = Said::default();
        self.listed = false;
        self.answers.clear();
        self.queue.retain(|queued| matches!(queued, Queued::Restored(_)));
        self.nonce = None;
        self.names.values_mut().for_each(|awaited| awaited.always_listed = false);
    }

    /// Marks as answered what a response speaks of.
    pub(super) fn note_answered<'a>(&mut self, names: impl Iterator<Item = &'a ResourceName>) {
        if let Some(wildcard) = &mut self.wildcard {
            *wildcard = Awaited { answered: true, deadline: None, ..*wildcard };
        }
        for name in names {
            self.unsure.remove(name);
            if let Some(awaited) = self.names.get_mut(name) {
                *awaited = Awaited { answered: true, deadline: None, ..*awaited };
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
        let answers = self.names.values().chain(&self.wildcard).filter_map(|a| a.deadline);
        answers.chain(self.held.next_deadline()).min()
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
