//! Responses into updates, verdicts into answers.

use std::collections::HashSet;

use super::{
    ClientState, Update, UpdateId, Verdict,
    state::{Answer, Outstanding, Queued, TypeState},
};
use crate::{
    Nonce, Resource, ResourceName, TypeUrl,
    protocol::{Response, Variant},
};

impl ClientState {
    /// The next update for the consumer, by order of types; none of a type whose last update is not answered yet.
    pub fn poll_update(&mut self) -> Option<Update> {
        let Self { variant, types, epoch, next_id, .. } = self;
        types.iter_mut().find_map(|t| t.next_update(*variant, *epoch, next_id))
    }

    /// Takes the consumer's verdict. One on an update that is not in its hands (any more) has no effect.
    pub fn answer(&mut self, type_url: &TypeUrl, id: UpdateId, verdict: Verdict) {
        let epoch = self.epoch;
        if let Some(state) = self.state_mut(type_url)
            && let Some(outstanding) = state.outstanding.take_if(|o| o.id == id)
        {
            state.judge(outstanding, verdict, epoch);
        }
    }
}

impl TypeState {
    fn next_update(&mut self, variant: Variant, epoch: u64, next_id: &mut u64) -> Option<Update> {
        if self.outstanding.is_some() {
            return None;
        }
        while let Some(queued) = self.queue.pop_front() {
            let response = match queued {
                Queued::Response(response) => response,
                Queued::Unreadable { nonce, message } => {
                    self.refuse(nonce, message, true);
                    continue;
                }
            };
            // The wildcard's first answer is told even if it is empty.
            let news = self.wildcard.is_some_and(|w| !w.answered);
            let (nonce, version) = (response.nonce.clone(), response.version.clone());
            let (added, removed) = self.difference(response, variant);
            *next_id += 1;
            let outstanding = Outstanding {
                id: UpdateId(*next_id),
                epoch,
                nonce,
                version,
                added: added.iter().map(|r| (r.name().clone(), r.version().clone())).collect(),
                removed: removed.clone(),
            };
            if !news && added.is_empty() && removed.is_empty() {
                self.judge(outstanding, Verdict::Accepted, epoch);
                continue;
            }
            let id = outstanding.id;
            self.outstanding = Some(outstanding);
            return Some(Update { id, type_url: self.type_url.clone(), added, removed });
        }
        None
    }

    /// What the response means for the consumer.
    fn difference(&mut self, response: Response, variant: Variant) -> (Vec<Resource>, Vec<ResourceName>) {
        let whole = variant == Variant::Sotw && self.rules.whole_set;
        let present: HashSet<ResourceName> = response.resources.iter().map(|r| r.name().clone()).collect();
        let mut removed: Vec<ResourceName> = match variant {
            Variant::Delta => response.removed.into_iter().filter(|n| self.covers(n.as_str())).collect(),
            Variant::Sotw if whole => self.absent(&present),
            Variant::Sotw => Vec::new(),
        };
        removed.sort();
        removed.dedup();
        let mut added: Vec<Resource> = response.resources;
        added.retain(|r| self.covers(r.name().as_str()) && (variant == Variant::Delta || self.differs(r)));
        let spoken_of: Vec<ResourceName> = present.into_iter().chain(removed.iter().cloned()).collect();
        self.note_answered(spoken_of.iter());
        (added, removed)
    }

    /// Whole sets: what is held or asked for by name, and is not there.
    fn absent(&self, present: &HashSet<ResourceName>) -> Vec<ResourceName> {
        let unanswered = self.names.iter().filter(|(_, a)| !a.answered).map(|(n, _)| n);
        self.held.keys().chain(unanswered).filter(|n| !present.contains(*n)).cloned().collect()
    }

    fn differs(&self, resource: &Resource) -> bool {
        let awaited = self.names.get(resource.name()).is_some_and(|a| !a.answered);
        awaited || self.held.get(resource.name()) != Some(resource.version())
    }

    fn judge(&mut self, update: Outstanding, verdict: Verdict, epoch: u64) {
        let current = update.epoch == epoch;
        self.ask_unsure_again();
        match verdict {
            Verdict::Accepted => {
                self.take_over(&update, &[]);
                self.version = Some(update.version).filter(|v| !v.as_str().is_empty());
                self.accepted += 1;
                self.last_error = None;
                if current {
                    self.answers.push_back(Answer { nonce: update.nonce, error: None, version: self.version.clone() });
                }
            }
            Verdict::Rejected { message, resources } => {
                if !resources.is_empty() {
                    self.take_over(&update, &resources);
                }
                self.refuse(update.nonce, message, current);
            }
        }
    }

    fn take_over(&mut self, update: &Outstanding, except: &[ResourceName]) {
        for (name, version) in &update.added {
            if self.covers(name.as_str()) && !except.contains(name) {
                self.held.insert(name.clone(), version.clone());
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
