//! Responses into updates, verdicts into answers.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{
    ClientState, Source, Update, UpdateId, Verdict,
    state::{Answer, Offered, Outstanding, Queued, TypeState},
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

impl ClientState {
    /// The next update for the consumer, by order of types; none of a type whose last update is not answered yet.
    pub fn poll_update(&mut self) -> Option<Update> {
        let Self { variant, types, epoch, next_id, .. } = self;
        types.iter_mut().find_map(|t| t.next_update(*variant, *epoch, next_id))
    }

    /// Takes the consumer's verdict. One on an update that is not in its hands (any more) has no effect, and `false` is
    /// given back.
    pub fn answer(&mut self, type_url: &TypeUrl, id: UpdateId, verdict: Verdict) -> bool {
        let epoch = self.epoch;
        let Some(state) = self.state_mut(type_url) else { return false };
        let Some(outstanding) = state.outstanding.take_if(|o| o.id == id) else { return false };
        state.judge(outstanding, verdict, epoch);
        true
    }
}

impl TypeState {
    fn next_update(&mut self, variant: Variant, epoch: u64, next_id: &mut u64) -> Option<Update> {
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
            };
            if let Some(name) = said_twice(&response) {
                let message = format!("resource {name} is in the response more than once");
                self.refuse(response.nonce, message, true);
                continue;
            }
            // The wildcard's first answer is told even if it is empty.
            let news = self.wildcard.is_some_and(|w| !w.answered);
            let answers = Some((response.nonce.clone(), response.version.clone()));
            let difference = self.difference(response, variant, at);
            let is_empty = difference.added.is_empty() && difference.removed.is_empty();
            let update = self.hand_out(difference, Source::Server, answers, Some(at), epoch, next_id);
            if news || !is_empty {
                return Some(update);
            }
            if let Some(outstanding) = self.outstanding.take() {
                self.judge(outstanding, Verdict::Accepted, epoch);
            }
        }
        self.next_expiry(epoch, next_id)
    }

    fn hand_out(
        &mut self,
        Difference { added, removed }: Difference,
        source: Source,
        answers: Option<(Nonce, Version)>,
        at: Option<Instant>,
        epoch: u64,
        next_id: &mut u64,
    ) -> Update {
        *next_id += 1;
        let id = UpdateId(*next_id);
        let offered = |r: &Resource| Offered {
            name: r.name().clone(),
            version: r.version().clone(),
            deadline: at.and_then(|at| deadline(at, r.ttl())),
        };
        let added_now = added.iter().map(offered).collect();
        self.outstanding = Some(Outstanding { id, epoch, answers, added: added_now, removed: removed.clone() });
        Update { id, type_url: self.type_url.clone(), source, added, removed }
    }

    /// Resources whose time to live has ended. What waits to be read may speak of them, and goes first.
    fn next_expiry(&mut self, epoch: u64, next_id: &mut u64) -> Option<Update> {
        let removed = self.held.take_lapsed();
        if removed.is_empty() {
            return None;
        }
        let difference = Difference { removed, ..Difference::default() };
        Some(self.hand_out(difference, Source::Expiry, None, None, epoch, next_id))
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

    fn judge(&mut self, update: Outstanding, verdict: Verdict, epoch: u64) {
        let current = update.epoch == epoch;
        if update.answers.is_some() {
            self.ask_unsure_again();
        }
        match verdict {
            Verdict::Accepted => {
                self.take_over(&update, &[]);
                self.accepted += 1;
                self.acknowledge(update, current);
            }
            Verdict::Rejected { message, resources } => {
                if !resources.is_empty() {
                    self.take_over(&update, &resources);
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
        self.version = Some(version).filter(|v| !v.as_str().is_empty());
        self.incomplete = false;
        self.last_error = None;
        if current {
            self.answers.push_back(Answer { nonce, error: None, version: self.version.clone() });
        }
    }

    fn take_over(&mut self, update: &Outstanding, except: &[ResourceName]) {
        let response = update.answers.as_ref().map_or_else(|| Version::from(""), |(_, version)| version.clone());
        for Offered { name, version, deadline } in &update.added {
            if self.covers(name.as_str()) && !except.contains(name) {
                self.held.insert(name.clone(), version.clone(), &response, *deadline);
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
