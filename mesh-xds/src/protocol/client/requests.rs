//! Composing the next request.

use std::collections::BTreeMap;

use super::{ClientState, state::TypeState};
use crate::{
    ResourceName,
    protocol::{Request, Variant, WILDCARD},
};

impl ClientState {
    /// The next request, if one is to be sent. Call again until it gives none.
    pub fn poll(&mut self) -> Option<Request> {
        if !self.connected {
            return None;
        }
        let variant = self.variant;
        self.types.iter_mut().find_map(|t| t.next_request(variant))
    }
}

impl TypeState {
    fn next_request(&mut self, variant: Variant) -> Option<Request> {
        if !self.started {
            // What is in the consumer's hand from an earlier stream is neither held nor not held: a delta server that is
            // told either could leave out a removal.
            let certain = variant == Variant::Sotw || self.outstanding.is_none();
            return (certain && self.is_subscribed()).then(|| self.first_request(variant));
        }
        let answer = self.answers.pop_front();
        // In SotW a new list under the nonce of a response not yet judged would accept that response.
        let may_change = variant == Variant::Delta || self.outstanding.is_none();
        let changes = !self.to_subscribe.is_empty() || !self.to_unsubscribe.is_empty();
        if answer.is_none() && !(changes && may_change) {
            return None;
        }
        let (nonce, error, version) =
            answer.map_or((None, None, self.version.clone()), |a| (Some(a.nonce), a.error, a.version));
        if let Some(nonce) = &nonce {
            self.nonce = Some(nonce.clone());
        }
        let to_subscribe = std::mem::take(&mut self.to_subscribe);
        let to_unsubscribe = std::mem::take(&mut self.to_unsubscribe);
        let asked_again = std::mem::take(&mut self.asked_again);
        Some(match variant {
            Variant::Delta => Request {
                names: to_subscribe.into_iter().collect(),
                unsubscribe: to_unsubscribe.into_iter().collect(),
                nonce,
                error,
                ..self.bare()
            },
            Variant::Sotw => {
                let mut names = self.list();
                names.retain(|n| !asked_again.contains_key(n));
                // With them in the next request.
                self.to_subscribe = asked_again.keys().cloned().collect();
                self.unsure.extend(asked_again);
                Request { names, version, nonce: self.nonce.clone(), error, ..self.bare() }
            }
        })
    }

    fn first_request(&mut self, variant: Variant) -> Request {
        self.started = true;
        self.to_subscribe.clear();
        self.to_unsubscribe.clear();
        self.asked_again.clear();
        let request = Request { names: self.list(), ..self.bare() };
        match variant {
            Variant::Sotw => Request { version: self.version.clone(), ..request },
            Variant::Delta => {
                Request { initial_versions: self.held.iter().map(|(n, v)| (n.clone(), v.clone())).collect(), ..request }
            }
        }
    }

    /// Every name. The wildcard alone is said by an empty list where that is the older, more widely understood way.
    fn list(&self) -> Vec<ResourceName> {
        let silent = self.names.is_empty() && self.rules.legacy_wildcard;
        let wildcard = (self.wildcard.is_some() && !silent).then(|| ResourceName::from(WILDCARD));
        wildcard.into_iter().chain(self.names.keys().cloned()).collect()
    }

    fn bare(&self) -> Request {
        Request {
            type_url: self.type_url.clone(),
            names: Vec::new(),
            unsubscribe: Vec::new(),
            initial_versions: BTreeMap::new(),
            version: None,
            nonce: None,
            error: None,
        }
    }
}
