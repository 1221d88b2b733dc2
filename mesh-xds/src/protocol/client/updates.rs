//! Responses into updates, verdicts into answers.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{
    ClientState, Place, Restored, Source, Update, UpdateId, Verdict,
    state::{Answer, Awaited, Offered, Outstanding, Queued, TypeState},
};
use crate::{
    Nonce, Resource, ResourceName, TypeUrl, Version,
    protocol::{Heartbeat, Response, Variant},
};

/// What a response means for the consumer.
#[derive(Default)]
struct Difference {
    added: Vec<Resource>,
    removed: Vec<ResourceName>,
}

/// What an update comes from.
struct Provenance {
    source: Source,
    /// The response's nonce and version, if it is one.
    answers: Option<(Nonce, Version)>,
    /// When it came: times to live start then.
    at: Option<Instant>,
}

/// What the types of a client share.
struct Common<'a> {
    variant: Variant,
    now_at: Place,
    next_id: &'a mut u64,
}

impl ClientState {
    /// The next update for the consumer, by order of types; none of a type whose last update is not answered yet.
    pub fn poll_update(&mut self) -> Option<Update> {
        let Self { variant, types, now_at, next_id, .. } = self;
        let mut common = Common { variant: *variant, now_at: *now_at, next_id };
        types.iter_mut().find_map(|t| t.next_update(&mut common))
    }

    /// Takes the consumer's verdict. One on an update that is not in its hands (any more) has no effect, and `false` is
    /// given back.
    pub fn answer(&mut self, type_url: &TypeUrl, id: UpdateId, verdict: Verdict) -> bool {
        let (variant, now_at) = (self.variant, self.now_at);
        let Some(state) = self.state_mut(type_url) else { return false };
        let Some(outstanding) = state.outstanding.take_if(|o| o.id == id) else { return false };
        state.judge(outstanding, verdict, variant, now_at);
        true
    }
}

impl TypeState {
    fn next_update(&mut self, common: &mut Common<'_>) -> Option<Update> {
        if self.outstanding.is_some() {
            return None;
        }
        while let Some(queued) = self.queue.pop_front() {
            let (response, at) = match queued {
                Queued::Response { response, at } => (response, at),
                Queued::Unreadable { nonce, message } => {
                    self.refuse(nonce, message, true);
                    continue;
                }
                Queued::Restored(restored) => match self.next_restored(restored, common) {
                    Some(update) => return Some(update),
                    None => continue,
                },
            };
            if let Some(name) = said_twice(&response) {
                let message = format!("resource {name} is in the response more than once");
                self.refuse(response.nonce, message, true);
                continue;
            }
            if let Some(update) = self.next_response(response, at, common) {
                return Some(update);
            }
        }
        self.next_expiry(common)
    }

    /// The update that a response makes, if the consumer is to know of it.
    fn next_response(&mut self, response: Response, at: Instant, common: &mut Common<'_>) -> Option<Update> {
        self.heard_from(common.now_at.server, common.variant);
        // The wildcard's first answer is told even if it is empty.
        let news = self.wildcard.is_some_and(|w| !w.answered);
        let answers = Some((response.nonce.clone(), response.version.clone()));
        let difference = self.difference(response, common.variant, at);
        let is_empty = difference.added.is_empty() && difference.removed.is_empty();
        let update = self.hand_out(difference, Provenance { source: Source::Server, answers, at: Some(at) }, common);
        if news || !is_empty {
            return Some(update);
        }
        if let Some(outstanding) = self.outstanding.take() {
            self.judge(outstanding, Verdict::Accepted, common.variant, common.now_at);
        }
        None
    }

    /// What was in force before, as far as no server has answered it meanwhile.
    fn next_restored(&mut self, restored: Restored, common: &mut Common<'_>) -> Option<Update> {
        let Restored { resources: mut added, whole, server, age } = restored;
        let is_open = |awaited: Option<&Awaited>| awaited.is_some_and(|a| !a.answered);
        let everything = is_open(self.wildcard.as_ref());
        added.retain(|r| (everything || is_open(self.names.get(r.name()))) && !self.held.contains(r.name()));
        if added.is_empty() && !(whole && everything) {
            return None;
        }
        if self.held.len() == 0 {
            self.server = server;
        }
        let from = Provenance { source: Source::Snapshot { age }, answers: None, at: None };
        let heard_at = Place { server, ..common.now_at };
        let update = self.hand_out(Difference { added, removed: Vec::new() }, from, common);
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.heard_at = heard_at;
        }
        Some(update)
    }

    /// Another server answers: what is held stays, but its versions are another's.
    fn heard_from(&mut self, server: u64, variant: Variant) {
        if std::mem::replace(&mut self.server, server) == server {
            return;
        }
        self.version = None;
        // In SotW they are made here, from the content.
        if variant == Variant::Delta {
            self.held.blank();
        }
    }

    fn hand_out(&mut self, difference: Difference, from: Provenance, common: &mut Common<'_>) -> Update {
        let Difference { added, removed } = difference;
        let Provenance { source, answers, at } = from;
        *common.next_id += 1;
        let id = UpdateId(*common.next_id);
        let offered = |r: &Resource| Offered {
            name: r.name().clone(),
            version: r.version().clone(),
            deadline: at.and_then(|at| deadline(at, r.ttl())),
        };
        let offers = added.iter().map(offered).collect();
        self.outstanding =
            Some(Outstanding { id, heard_at: common.now_at, answers, added: offers, removed: removed.clone() });
        Update { id, type_url: self.type_url.clone(), source, added, removed }
    }

    /// Resources whose time to live has ended. What waits to be read may speak of them, and goes first.
    fn next_expiry(&mut self, common: &mut Common<'_>) -> Option<Update> {
        let removed = self.held.take_lapsed();
        if removed.is_empty() {
            return None;
        }
        let from = Provenance { source: Source::Expiry, answers: None, at: None };
        Some(self.hand_out(Difference { removed, ..Difference::default() }, from, common))
    }

    fn difference(&mut self, response: Response, variant: Variant, at: Instant) -> Difference {
        let Response { version, resources, heartbeats, removed, .. } = response;
        self.hear(&heartbeats, &version, at);
        if resources.is_empty() && removed.is_empty() && !heartbeats.is_empty() {
            // Not a set, and no answer to anything.
            return Difference::default();
        }
        let told: Vec<ResourceName> = resources.iter().map(|r| r.name().clone()).collect();
        let present: HashSet<ResourceName> =
            told.iter().cloned().chain(heartbeats.into_iter().map(|h| h.name)).collect();
        let mut removed: Vec<ResourceName> = match variant {
            Variant::Delta => removed.into_iter().filter(|n| self.covers(n.as_str())).collect(),
            Variant::Sotw if self.rules.whole_set => self.absent(&present),
            Variant::Sotw => Vec::new(),
        };
        removed.sort();
        let mut added = Vec::with_capacity(resources.len());
        for resource in resources {
            if !self.covers(resource.name().as_str()) {
                continue;
            }
            if self.is_news(&resource, variant) {
                added.push(resource);
            } else {
                self.held.extend(resource.name(), &version, deadline(at, resource.ttl()));
            }
        }
        self.note_answered(told.iter().chain(&removed));
        Difference { added, removed }
    }

    /// "TTL": a heartbeat is no update.
    fn hear(&mut self, heartbeats: &[Heartbeat], response: &Version, at: Instant) {
        for heartbeat in heartbeats {
            if self.held.is_meant(heartbeat, response, self.version.as_ref()) {
                self.held.extend(&heartbeat.name, response, deadline(at, heartbeat.ttl));
            }
        }
    }

    /// Whole sets: what is held or asked for by name, and is not there. A name that was added to the list later may be
    /// missing only because the response was on its way ("Knowing when a requested resource does not exist").
    fn absent(&self, present: &HashSet<ResourceName>) -> Vec<ResourceName> {
        let unanswered = self.names.iter().filter(|(n, a)| !a.answered && a.always_listed && !self.held.contains(n));
        let unanswered = unanswered.map(|(n, _)| n);
        self.held.names().chain(unanswered).filter(|n| !present.contains(*n)).cloned().collect()
    }

    /// In delta what is sent is new, unless it only serves to prolong a time to live.
    fn is_news(&self, resource: &Resource, variant: Variant) -> bool {
        let awaited = self.names.get(resource.name()).is_some_and(|a| !a.answered);
        let same = self.held.version(resource.name()) == Some(resource.version());
        let refreshed = || resource.ttl().is_some() && !resource.version().as_str().is_empty();
        awaited || !same || (variant == Variant::Delta && !refreshed())
    }

    fn judge(&mut self, update: Outstanding, verdict: Verdict, variant: Variant, now_at: Place) {
        let current = update.heard_at == now_at;
        if update.answers.is_some() {
            self.ask_unsure_again();
        }
        match verdict {
            Verdict::Accepted => {
                self.take_over(&update, &[], variant);
                self.accepted += 1;
                self.acknowledge(update, current);
            }
            Verdict::Rejected { message, resources } => {
                if !resources.is_empty() {
                    self.take_over(&update, &resources, variant);
                }
                if let Some((nonce, _)) = update.answers {
                    self.refuse(nonce, message, current);
                }
            }
        }
    }

    fn acknowledge(&mut self, update: Outstanding, current: bool) {
        let Some((nonce, version)) = update.answers else {
            // Nobody's version says so.
            self.incomplete |= !update.removed.is_empty();
            return;
        };
        if update.heard_at.server == self.server {
            self.version = Some(version).filter(|v| !v.as_str().is_empty());
            self.incomplete = false;
        }
        self.last_error = None;
        if current {
            self.answers.push_back(Answer { nonce, error: None, version: self.version.clone() });
        }
    }

    fn take_over(&mut self, update: &Outstanding, except: &[ResourceName], variant: Variant) {
        let response = update.answers.as_ref().map_or_else(|| Version::from(""), |(_, version)| version.clone());
        let is_foreign = variant == Variant::Delta && update.heard_at.server != self.server;
        for Offered { name, version, deadline } in &update.added {
            if self.covers(name.as_str()) && !except.contains(name) {
                let version = if is_foreign { Version::from("") } else { version.clone() };
                self.held.insert(name.clone(), version, &response, *deadline);
            }
        }
        for name in update.removed.iter().filter(|n| !except.contains(n)) {
            self.held.remove(name);
        }
    }

    fn refuse(&mut self, nonce: Nonce, message: String, current: bool) {
        self.rejected += 1;
        self.last_error = Some(message.clone());
        if current {
            self.answers.push_back(Answer { nonce, error: Some(message), version: self.version.clone() });
        }
    }
}

/// A name that a response speaks of more than once ("Duplicate resource names").
fn said_twice(response: &Response) -> Option<ResourceName> {
    let mut seen = HashSet::new();
    let resources = response.resources.iter().map(Resource::name);
    let mut names = resources.chain(response.heartbeats.iter().map(|h| &h.name)).chain(&response.removed);
    names.find(|name| !seen.insert(*name)).cloned()
}

fn deadline(at: Instant, ttl: Option<Duration>) -> Option<Instant> {
    ttl.and_then(|ttl| at.checked_add(ttl))
}
