//! Requests: subscription changes and answers to pushes.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{
    Event, ResourceSet, Sent, ServerStream, StreamLimits, Violation,
    state::{Held, Standing, TypeState},
};
use crate::protocol::{Request, Variant, server::interest::InterestChange};

impl ServerStream {
    /// Takes a request.
    ///
    /// # Errors
    /// [`Violation`]: the stream must end.
    pub fn handle(&mut self, request: &Request, set: &dyn ResourceSet, now: Instant) -> Result<(), Violation> {
        self.check_names(request)?;
        let (index, first) = self.state_of(request)?;
        let Self { variant, types, events, limits, .. } = self;
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
                state.settle(error, set, *variant, now, events);
            }
        }
        state.subscribe(request, set, *variant, first, limits, events)
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
        self.types.insert(index, state);
        Ok((index, true))
    }
}

/// At most `limit` bytes of `text`, cut between characters.
fn clip(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

impl TypeState {
    /// The push in flight was answered.
    fn settle(
        &mut self,
        error: Option<&str>,
        set: &dyn ResourceSet,
        variant: Variant,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) {
        let Some(flight) = self.in_flight.take() else { return };
        let type_url = self.type_url.clone();
        let standing = match error {
            None => Standing::Accepted,
            Some(message) => Standing::Refused(Arc::from(message)),
        };
        for (name, version) in &flight.resources {
            if let Some(held) = self.held.get_mut(name).filter(|h| h.version == *version) {
                held.standing = standing.clone();
            }
        }
        let Standing::Refused(message) = standing else {
            self.counts.acks += 1;
            self.last_error = None;
            let after = now.saturating_duration_since(flight.sent_at);
            events.push_back(Event::Acked { type_url, nonce: flight.nonce, after });
            return;
        };
        self.counts.nacks += 1;
        self.last_error = Some(message.clone());
        // A refused removal is neither lost nor said again alone: it goes with the next push, unless the name is back.
        for name in &flight.removed {
            if self.interest.covers(name.as_str()) && set.get(&self.type_url, name.as_str()).is_none() {
                self.refused_removals.insert(name.clone());
            }
        }
        let mut resources: Vec<Sent> =
            flight.resources.into_iter().map(|(name, v)| Sent { name, version: Some(v) }).collect();
        resources.extend(flight.removed.into_iter().map(|name| Sent { name, version: None }));
        let names: Vec<_> = resources.iter().map(|s| s.name.clone()).collect();
        events.push_back(Event::Nacked { type_url, nonce: flight.nonce, message, resources });
        for name in &names {
            self.note(set, name, variant);
        }
    }

    fn subscribe(
        &mut self,
        request: &Request,
        set: &dyn ResourceSet,
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
            self.resume(request, set);
        }
        self.owe(&change, set, variant, first);
        if first || !change.is_empty() {
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
        let starts_over = request.nonce.is_none() && self.in_flight.is_none();
        let warms = self.warming && request.error.is_none();
        if starts_over {
            self.answer_due = true;
        } else if !warms {
            return;
        }
        self.warming = false;
        let held = &self.held;
        let refused =
            |n: &&crate::ResourceName| held.get(*n).is_some_and(|h| matches!(h.standing, Standing::Refused(_)));
        let names = self.interest.names.iter().filter(|n| starts_over || !refused(n));
        self.owed.extend(names.cloned());
    }

    /// `initial_resource_versions`: what the client says it holds. What has vanished since is then removed like
    /// anything else.
    fn resume(&mut self, request: &Request, set: &dyn ResourceSet) {
        self.resumed = request.version.is_some() || !request.initial_versions.is_empty();
        for (name, version) in &request.initial_versions {
            if !self.interest.covers(name.as_str()) {
                continue;
            }
            // The store's own name and version where they are equal: shared, not copied.
            let known = set.get(&self.type_url, name.as_str()).filter(|r| r.version() == version);
            let (name, version) =
                known.map_or_else(|| (name.clone(), version.clone()), |r| (r.name().clone(), r.version().clone()));
            self.held.insert(name, Held { version, resource: None, standing: Standing::Accepted });
        }
    }

    /// Works out what a changed subscription must be answered with.
    fn owe(&mut self, change: &InterestChange, set: &dyn ResourceSet, variant: Variant, first: bool) {
        for name in &change.asked {
            if first && self.held.contains_key(name) {
                // Held from an earlier stream: told only if it changed, and in order.
                self.note(set, name, variant);
            } else {
                self.owed.insert(name.clone());
            }
        }
        if change.wildcard_on || (first && self.interest.wildcard) {
            self.note_all(set, variant);
            self.answer_due = true;
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
