//! Requests: subscription changes and answers to pushes.

use std::{collections::VecDeque, time::Instant};

use super::{
    Event, ServerStream, StreamLimits, Violation,
    gate::RESUMING,
    interest::InterestChange,
    ledger::Ledger,
    state::{Odd, TypeState},
    warming::Warming,
};
use crate::{
    ResourceName, TypeUrl,
    protocol::{Request, Variant},
};

impl ServerStream {
    /// Takes a request.
    ///
    /// # Errors
    /// [`Violation`]: the stream must end.
    pub fn handle(&mut self, request: &Request, ledger: &Ledger, now: Instant) -> Result<(), Violation> {
        self.check_names(request)?;
        let (index, first) = self.state_of(request)?;
        let Self { variant, types, events, limits, sharing, .. } = self;
        let state = &mut types[index];
        if !first && let Some(nonce) = &request.nonce {
            if state.last_nonce.as_ref() != Some(nonce) {
                state.counts.stale_nonces += 1;
                events.push_back(Event::StaleNonce { type_url: request.type_url.clone(), nonce: nonce.clone() });
                // A SotW request states everything, so the client will say it again. A delta one says it only once.
                if *variant == Variant::Sotw {
                    return Ok(());
                }
            } else if state.in_flight.is_some() {
                let error = request.error.as_deref().map(|m| clip(m, limits.max_message_bytes));
                state.settle(error, ledger, sharing, now, events);
            }
        }
        state.subscribe(request, ledger, *variant, first, limits, events)?;
        let resumed = first && state.resumed;
        if first {
            state.interest.share(sharing);
        }
        let opened_at = *self.opened_at.get_or_insert(now);
        if resumed && now < opened_at + RESUMING {
            self.resumes_until = Some(opened_at + RESUMING);
        }
        if first && self.variant == Variant::Delta && request.type_url == TypeUrl::ENDPOINT {
            self.owe_endpoints_of_warming(ledger);
        }
        Ok(())
    }

    /// A client that resumes asks for its clusters before it asks for their endpoints: what it was sent in between is warming,
    /// and it will not ask for endpoints that it holds.
    fn owe_endpoints_of_warming(&mut self, ledger: &Ledger) {
        let clusters = self.types.iter().find(|t| t.type_url == TypeUrl::CLUSTER);
        if let Some(content) = clusters.and_then(|t| t.in_flight.as_ref()).map(|flight| flight.content.clone()) {
            self.owe_endpoints(&content, ledger);
        }
    }

    fn check_names(&self, request: &Request) -> Result<(), Violation> {
        let limit = self.limits.max_name_bytes;
        let mut names = request.names.iter().chain(&request.unsubscribe).chain(request.initial_versions.keys());
        if request.type_url.as_str().len() > limit || names.any(|n| n.as_str().len() > limit) {
            let type_url = clip(request.type_url.as_str(), 256).into();
            return Err(Violation::NameTooLong { type_url, limit });
        }
        Ok(())
    }

    fn state_of(&mut self, request: &Request) -> Result<(usize, bool), Violation> {
        if request.type_url.as_str().is_empty() {
            return Err(Violation::NoType);
        }
        if let Some(index) = self.types.iter().position(|t| t.type_url == request.type_url) {
            return Ok((index, false));
        }
        if self.types.len() >= self.limits.max_types {
            return Err(Violation::TooManyTypes(self.limits.max_types));
        }
        let state = TypeState::new(request.type_url.clone());
        let index = self.types.partition_point(|t| t.rules.order <= state.rules.order);
        // Streams have few types, and there are many streams.
        self.types.reserve_exact(1);
        self.types.insert(index, state);
        Ok((index, true))
    }
}

/// At most `limit` bytes of `text`, cut between characters.
fn clip(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

impl TypeState {
    fn subscribe(
        &mut self,
        request: &Request,
        ledger: &Ledger,
        variant: Variant,
        first: bool,
        limits: &StreamLimits,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Violation> {
        let change = self.interest.apply(variant, request, first);
        if self.interest.names.len() > limits.max_names {
            return Err(Violation::TooManyNames { type_url: self.type_url.clone(), limit: limits.max_names });
        }
        if first {
            self.resume(request, ledger);
        }
        self.owe(&change, request, ledger, variant, first);
        if first || !change.is_empty() {
            self.news = None;
            events.push_back(Event::Subscribed {
                type_url: self.type_url.clone(),
                wildcard: self.interest.wildcard,
                names: self.interest.names.len(),
            });
        }
        if variant == Variant::Sotw && !first {
            self.repeat(request);
        }
        Ok(())
    }

    /// SotW: requests that look like others but wait for an answer although nothing changed.
    fn repeat(&mut self, request: &Request) {
        if request.nonce.is_none() && self.in_flight.is_none() {
            // The client starts over.
            self.warming = Warming::default();
            self.answer_due = true;
            self.owed.extend(self.interest.names.iter().cloned());
        } else if request.error.is_none() {
            let warms = std::mem::take(&mut self.warming);
            let names: Vec<ResourceName> =
                warms.among(&self.interest.names).filter(|n| !self.is_refused(n.as_str())).collect();
            self.repeats.extend(names);
        }
    }

    /// What the client says it holds from an earlier stream. In SotW that is a version of the whole, which tells nothing of
    /// single resources. In delta it is `initial_resource_versions`: what differs is noted, and what has vanished since is
    /// then removed like anything else.
    fn resume(&mut self, request: &Request, ledger: &Ledger) {
        self.resumed = request.version.is_some() || !request.initial_versions.is_empty();
        let held = &request.initial_versions;
        if held.is_empty() {
            return;
        }
        self.told = ledger.revision();
        let kind = ledger.of(&self.type_url);
        let present = |name: &ResourceName| kind.and_then(|kind| kind.entry(name.as_str())?.present());
        for (name, version) in held.iter().filter(|(name, _)| self.interest.covers(name.as_str())) {
            if present(name).is_none_or(|resource| resource.version() != version) {
                self.odd.insert(name.clone(), Odd::Holds(version.clone()));
            }
        }
        if self.interest.wildcard {
            let lacking = ledger.list(&self.type_url).filter(|resource| !held.contains_key(resource.name()));
            self.odd.extend(lacking.map(|resource| (resource.name().clone(), Odd::Lacks)));
        }
    }

    /// Works out what a changed subscription must be answered with.
    fn owe(&mut self, change: &InterestChange, request: &Request, ledger: &Ledger, variant: Variant, first: bool) {
        if self.is_unsent() {
            // The first push answers every name.
            self.answer_due = self.interest.wildcard || !self.interest.names.is_empty();
            return;
        }
        for name in &change.asked {
            // What is held from an earlier stream is told only if it changed, and in order.
            if !(first && request.initial_versions.contains_key(name)) {
                self.owed.insert(name.clone());
            }
        }
        if change.wildcard_on || (first && self.interest.wildcard) {
            self.answer_due = true;
        }
        if change.wildcard_on && !first && variant == Variant::Delta {
            let unasked = ledger.list(&self.type_url).map(|r| r.name());
            let unasked = unasked.filter(|name| !self.interest.names.contains(*name));
            self.owed.extend(unasked.cloned());
        }
        if change.wildcard_off || !change.dropped.is_empty() {
            self.forget_uncovered();
        }
        if self.interest.wildcard && variant == Variant::Delta {
            // The name may or may not be part of "everything": say which ("Unsubscribing from resources").
            self.owed.extend(change.dropped.iter().cloned());
        }
        if variant == Variant::Sotw && self.rules.whole_set {
            // A whole set is due whenever the set asked for changes.
            self.answer_due |= first || !change.asked.is_empty();
        }
    }
}
