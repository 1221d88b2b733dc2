//! Handing out the next push.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Event, ServerStream,
    compose::Draft,
    ledger::{Entry, Ledger, Revision, TypeLedger},
    news::each_change,
    state::{InFlight, Odd, TypeState},
};
use crate::{
    Resource, ResourceName, TypeUrl,
    protocol::{Content, Push, Variant},
};

/// How the client stood before a push.
struct Before {
    /// What it was told.
    from: Revision,
    /// It had nothing.
    cold: bool,
    /// The push only serves to find out what it refuses.
    probe: bool,
}

impl ServerStream {
    /// The next push, if one may be sent now. Call again until it gives none.
    ///
    /// `released` is the revision up to which every stream that matters has accepted what changed: what was removed later is
    /// not told yet. [`Revision::MAX`] if no other stream matters.
    pub fn poll(&mut self, ledger: &Ledger, released: Revision, now: Instant) -> Option<Push> {
        self.resumes_until = self.resumes_until.filter(|until| now < *until);
        for state in &mut self.types {
            state.look(ledger, self.variant);
        }
        for index in 0..self.types.len() {
            if self.types[index].in_flight.is_some() {
                continue;
            }
            let open = self.gate(index, released, now);
            let state = &mut self.types[index];
            let from = if state.resumed { Revision::NONE } else { state.told };
            if !state.known_news().is_empty() {
                state.interest.share(&self.sharing);
            }
            if let Some(draft) = state.draft(ledger, &self.sharing, self.variant, self.ttl, open) {
                let cold = state.counts.pushes == 0 && !state.resumed;
                state.mark_told(&draft, ledger, self.variant);
                return Some(self.push(index, draft.content, Before { from, cold, probe: false }, ledger, now));
            }
            if let Some(content) = state.probe(ledger, self.variant, self.ttl) {
                let before = Before { from, cold: false, probe: true };
                return Some(self.push(index, Arc::new(content), before, ledger, now));
            }
            if self.ttl
                && let Some(content) = state.heartbeat(ledger, self.variant, now)
            {
                let before = Before { from, cold: false, probe: false };
                return Some(self.push(index, Arc::new(content), before, ledger, now));
            }
        }
        None
    }

    fn push(&mut self, index: usize, content: Arc<Content>, before: Before, ledger: &Ledger, now: Instant) -> Push {
        let nonce = self.nonce();
        let state = &mut self.types[index];
        state.counts.pushes += 1;
        state.news = None;
        state.last_nonce = Some(nonce.clone());
        let Before { from, cold, probe } = before;
        let flight = InFlight { nonce: nonce.clone(), sent_at: now, content: content.clone(), from, cold, probe };
        state.in_flight = Some(Box::new(flight));
        let type_url = state.type_url.clone();
        self.events.push_back(Event::Pushed {
            type_url: type_url.clone(),
            nonce: nonce.clone(),
            resources: content.resources.len(),
            removed: content.removed.len(),
            bytes: content.bytes,
        });
        match self.variant {
            Variant::Sotw => self.warm(index, &content),
            Variant::Delta if type_url == TypeUrl::CLUSTER => self.owe_endpoints(&content, ledger),
            Variant::Delta => {}
        }
        Push { nonce, content }
    }

    /// A changed cluster warms again, and is warm only when its endpoints have been supplied anew, changed or not ("Resource
    /// warming" in the protocol's text). A delta client does not ask for them a second time: it is subscribed already.
    pub(super) fn owe_endpoints(&mut self, clusters: &Content, ledger: &Ledger) {
        let Some(endpoints) = self.types.iter_mut().find(|t| t.type_url == TypeUrl::ENDPOINT) else { return };
        if endpoints.is_unsent() {
            return;
        }
        for name in clusters.endpoints() {
            let exists = ledger.get(&TypeUrl::ENDPOINT, name.as_str()).is_some();
            if exists && endpoints.interest.covers(name.as_str()) && !endpoints.is_refused(name.as_str()) {
                endpoints.owed.insert(name.clone());
            }
        }
    }
}

impl TypeState {
    /// Takes over that the client is told what is in the draft.
    fn mark_told(&mut self, draft: &Draft, ledger: &Ledger, variant: Variant) {
        let kind = ledger.of(&self.type_url);
        if draft.complete {
            let withheld = self.withheld(kind, draft.removals_to, variant);
            let withheld: Vec<_> = withheld.into_iter().map(|r| (r.name().clone(), Odd::Leaving(r.clone()))).collect();
            self.told_up_to_now(kind, draft, variant);
            self.odd.extend(withheld);
        } else {
            self.told_in_part(kind, &draft.content);
        }
        let content = &draft.content;
        if self.tells_removals(variant) {
            // What was told although it is gone leaves later.
            let gone = |r: &&Arc<Resource>| kind.and_then(|k| k.entry(r.name().as_str())?.present()).is_none();
            let told = content.resources.iter().filter(gone);
            self.odd.extend(told.map(|r| (r.name().clone(), Odd::Leaving(r.clone()))));
        }
        if !self.refused_removals.is_empty() {
            content.removed.iter().chain(content.resources.iter().map(|r| r.name())).for_each(|name| {
                self.refused_removals.remove(name);
            });
        }
        // An idle stream keeps no room for what it once owed.
        self.owed = BTreeSet::new();
        if draft.complete {
            self.repeats = BTreeSet::new();
        } else {
            content.resources.iter().map(|r| r.name()).chain(&content.removed).for_each(|name| {
                self.repeats.remove(name);
            });
        }
        self.answer_due = false;
        self.resumed = false;
        self.held_back_since = None;
    }

    fn told_up_to_now(&mut self, kind: Option<&TypeLedger>, draft: &Draft, variant: Variant) {
        let content = &draft.content;
        if self.is_whole_set(variant) {
            // What is not in the set is deleted; what is in it although it is gone leaves later.
            let told: HashSet<&ResourceName> = content.resources.iter().map(|r| r.name()).collect();
            self.odd.retain(|name, odd| {
                let present = kind.and_then(|k| k.entry(name.as_str())?.present());
                match odd {
                    // Something else stands in its place.
                    Odd::Refused { version, instead: Some(_), .. } => {
                        present.is_some_and(|resource| resource.version() == version)
                    }
                    _ => present.is_none() && told.contains(name),
                }
            });
        } else if !self.odd.is_empty() {
            for name in content.resources.iter().map(|r| r.name()).chain(&content.removed) {
                self.odd.remove(name);
            }
            let tells_removals = self.tells_removals(variant);
            self.odd.retain(|name, odd| {
                let entry = kind.and_then(|kind| kind.entry(name.as_str()));
                let present = entry.is_some_and(|entry| entry.present().is_some());
                match odd {
                    Odd::Refused { .. } => true,
                    Odd::Lacks | Odd::Unsure { .. } => false,
                    // Gone, and not told yet.
                    Odd::Holds(_) | Odd::Leaving(_) => !present && tells_removals,
                }
            });
        }
        self.told = self.told.max(kind.map_or(Revision::NONE, TypeLedger::last_change));
    }

    /// Changes have to wait, but for what the client asked for.
    pub(super) fn told_in_part(&mut self, kind: Option<&TypeLedger>, content: &Content) {
        let told = self.told;
        let later = |name: &ResourceName| kind.and_then(|k| k.entry(name.as_str())).is_some_and(|e| e.revision > told);
        let resources = content.resources.iter().map(|r| (r.name(), Odd::Holds(r.version().clone())));
        for (name, odd) in resources.chain(content.removed.iter().map(|name| (name, Odd::Lacks))) {
            if later(name) {
                self.odd.insert(name.clone(), odd);
            } else {
                self.odd.remove(name);
            }
        }
    }

    /// The resources whose time to live starts anew, when it is time. Half of the shortest is let pass.
    fn heartbeat(&mut self, ledger: &Ledger, variant: Variant, now: Instant) -> Option<Content> {
        let kind = ledger.of(&self.type_url)?;
        let Some(ttl) = kind.shortest_ttl().filter(|_| !self.is_unsent()) else {
            self.heartbeat_at = None;
            return None;
        };
        let at = *self.heartbeat_at.get_or_insert(now + ttl / 2);
        if now < at {
            return None;
        }
        self.heartbeat_at = Some(now + (ttl / 2).max(SHORTEST_HEARTBEAT));
        let mut beating = Vec::new();
        each_change(kind, &self.interest, Revision::NONE, |entry: &Entry| {
            let told = entry.revision <= self.told && !self.odd.contains_key(entry.resource.name());
            beating.extend(entry.present().filter(|r| told && r.ttl().is_some()).cloned());
            std::ops::ControlFlow::Continue(())
        });
        (!beating.is_empty()).then(|| Content::heartbeat(self.type_url.clone(), variant, beating))
    }
}

/// Heartbeats do not come faster than this, however short a time to live is.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(100);
