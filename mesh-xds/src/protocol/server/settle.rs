//! Answers to pushes.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{
    Event, Sent, ServerStream,
    culprits::Culprits,
    ledger::{Ledger, Revision},
    sharing::Sharing,
    state::{InFlight, Odd, TypeState},
};
use crate::{Resource, ResourceName, protocol::Variant};

impl ServerStream {
    /// Up to where the client has accepted all that changed: it holds nothing older any more. Removals that it has not been
    /// told do not count, and neither does what it was sent first: before that it held nothing.
    ///
    /// What other streams are told to wait for: see [`ServerStream::poll`].
    pub fn accepted(&mut self, ledger: &Ledger) -> Revision {
        let variant = self.variant;
        self.types.iter_mut().map(|t| t.accepted(ledger, variant)).min().unwrap_or(Revision::MAX).min(ledger.revision())
    }
}

impl TypeState {
    fn accepted(&mut self, ledger: &Ledger, variant: Variant) -> Revision {
        let news = self.look(ledger, variant);
        if self.resumed {
            // It may hold anything, until it has been told what differs.
            let nothing_to_tell = !self.is_unsent() && news.is_empty() && !self.answer_due && self.owed.is_empty();
            return if nothing_to_tell { Revision::MAX } else { Revision::NONE };
        }
        if self.is_unsent() {
            return Revision::MAX;
        }
        let unsent = if news.changes { self.told } else { Revision::MAX };
        let in_flight = self.in_flight.as_ref().filter(|flight| !flight.cold && !flight.content.resources.is_empty());
        let unanswered = in_flight.map_or(Revision::MAX, |flight| flight.from);
        let refused = self.odd.values().filter_map(Odd::refused_since);
        refused.fold(unsent.min(unanswered), Revision::min)
    }

    /// The push in flight was answered.
    pub(super) fn settle(
        &mut self,
        error: Option<&str>,
        ledger: &Ledger,
        sharing: &Sharing,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) {
        let Some(flight) = self.in_flight.take() else { return };
        self.news = None;
        self.interest.share(sharing);
        match error {
            Some(message) => self.refused(*flight, Arc::from(message), ledger, events),
            None => {
                self.counts.acks += 1;
                if flight.probe {
                    self.told_in_part(ledger.of(&self.type_url), &flight.content);
                }
                if !self.refuses() {
                    self.last_error = None;
                }
                if self.is_whole_set(flight.content.variant) {
                    self.accepted = Some(flight.content.resources.clone());
                }
                let after = now.saturating_duration_since(flight.sent_at);
                events.push_back(Event::Acked { type_url: self.type_url.clone(), nonce: flight.nonce, after });
            }
        }
    }

    fn refused(&mut self, flight: InFlight, message: Arc<str>, ledger: &Ledger, events: &mut VecDeque<Event>) {
        let InFlight { nonce, content, from, probe, .. } = flight;
        self.counts.nacks += 1;
        self.last_error = Some(message.clone());
        // What stands in a whole set as it was accepted before cannot be meant.
        let is_news =
            |r: &&Arc<Resource>| self.accepted_before(r.name()).is_none_or(|old| old.version() != r.version());
        let news: Vec<bool> = content.resources.iter().map(|r| is_news(&r)).collect();
        let names = content.resources.iter().map(|r| r.name());
        let culprits = Culprits::of(&message, names.zip(news.iter().copied()));
        for (index, resource) in content.resources.iter().enumerate() {
            if self.interest.covers(resource.name().as_str()) {
                let odd = match self.stood_instead(resource) {
                    Some(odd) => odd,
                    None if !news[index] => continue,
                    None if culprits.has(index) => self.refused_one(resource, &message, culprits.is_named(index), from),
                    // It may have been taken or not: it is sent again, without the others.
                    None => Odd::Unsure { since: from },
                };
                self.odd.insert(resource.name().clone(), odd);
            }
        }
        let alone = content.resources.len() == 1;
        for (index, resource) in content.resources.iter().enumerate() {
            if culprits.is_named(index) || alone {
                self.suspects.convicted(resource.name());
            }
        }
        if !alone && !self.is_whole_set(content.variant) && !culprits.any_named() {
            self.suspects.add(content.resources.iter().map(|r| r.name().clone()).collect(), probe);
        }
        // A refused removal is neither lost nor said again alone: it goes with the next push, unless the name is back.
        for name in &content.removed {
            if self.interest.covers(name.as_str()) && ledger.get(&self.type_url, name.as_str()).is_none() {
                self.refused_removals.insert(name.clone());
            }
        }
        let sent = content.resources.iter().enumerate().map(|(index, r)| Sent {
            name: r.name().clone(),
            version: Some(r.version().clone()),
            named: culprits.is_named(index),
        });
        let gone = content.removed.iter().map(|name| Sent { name: name.clone(), version: None, named: false });
        let resources = sent.chain(gone).collect();
        events.push_back(Event::Nacked { type_url: self.type_url.clone(), nonce, message, resources });
    }

    fn refused_one(&self, resource: &Resource, message: &Arc<str>, named: bool, since: Revision) -> Odd {
        let instead = named.then(|| self.accepted_before(resource.name()).cloned());
        Odd::Refused { version: resource.version().clone(), message: message.clone(), since, instead }
    }

    /// What was refused earlier, if the resource stood in its place.
    fn stood_instead(&self, resource: &Resource) -> Option<Odd> {
        let odd = self.odd.get(resource.name())?;
        let Odd::Refused { instead: Some(Some(instead)), .. } = odd else { return None };
        (instead.version() == resource.version()).then(|| odd.clone())
    }

    /// SotW of whole sets, which are in the order of names.
    fn accepted_before(&self, name: &ResourceName) -> Option<&Arc<Resource>> {
        let accepted = self.accepted.as_ref()?;
        let index = accepted.binary_search_by(|r| r.name().cmp(name)).ok()?;
        accepted.get(index)
    }
}
