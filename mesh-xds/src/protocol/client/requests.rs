//! Composing the next request.

use std::collections::BTreeMap;

use super::{
    ClientState,
    state::{Answer, Said, TypeState},
};
use crate::{
    ResourceName, Version,
    protocol::{Request, Variant, WILDCARD},
};

impl ClientState {
    /// The next request, if one is to be sent. Call again until it gives none.
    pub fn poll(&mut self) -> Option<Request> {
        if !self.connected {
            return None;
        }
        let (variant, server) = (self.variant, self.now_at.server);
        self.types.iter_mut().find_map(|t| t.next_request(variant, server))
    }
}

impl TypeState {
    fn next_request(&mut self, variant: Variant, server: u64) -> Option<Request> {
        if !self.started {
            return self.may_start(variant).then(|| self.first_request(variant, server));
        }
        let answer = self.answers.pop_front();
        // In SotW a new list under the nonce of a response not yet judged would accept that response.
        let may_change = variant == Variant::Delta || self.outstanding.is_none();
        let changes = !self.to_subscribe.is_empty() || !self.to_unsubscribe.is_empty();
        if answer.is_none() && !(changes && may_change) {
            return None;
        }
        Some(match variant {
            Variant::Delta => self.next_delta(answer),
            Variant::Sotw => self.next_sotw(answer),
        })
    }

    /// What is in the consumer's hand from an earlier stream is neither held nor not held: a delta server that is told
    /// either could leave out a removal.
    pub(super) fn may_start(&self, variant: Variant) -> bool {
        let certain = variant == Variant::Sotw || self.outstanding.is_none();
        certain && self.is_subscribed()
    }

    fn next_delta(&mut self, answer: Option<Answer>) -> Request {
        let mut to_subscribe = std::mem::take(&mut self.to_subscribe);
        let to_unsubscribe = std::mem::take(&mut self.to_unsubscribe);
        // One request that says both could be read in either order.
        if std::mem::take(&mut self.wildcard_again)
            && let Some(wildcard) = to_subscribe.take(WILDCARD)
        {
            self.to_subscribe.insert(wildcard);
        }
        let (nonce, error) = answer.map_or((None, None), |a| (Some(a.nonce), a.error));
        Request {
            names: to_subscribe.into_iter().collect(),
            unsubscribe: to_unsubscribe.into_iter().collect(),
            nonce,
            error,
            ..self.bare()
        }
    }

    fn next_sotw(&mut self, answer: Option<Answer>) -> Request {
        let (version, error) = match answer {
            Some(answer) => {
                self.nonce = Some(answer.nonce);
                (answer.version, answer.error)
            }
            None => (self.version.clone(), None),
        };
        self.to_subscribe.clear();
        self.to_unsubscribe.clear();
        let names = self.next_list();
        Request { names, version, nonce: self.nonce.clone(), error, ..self.bare() }
    }

    /// Every name, but for what must be left out once to be answered again. What is left out goes with the next request.
    fn next_list(&mut self) -> Vec<ResourceName> {
        let asked_again = std::mem::take(&mut self.asked_again);
        let mut names: Vec<ResourceName> =
            self.names.keys().filter(|n| !asked_again.contains_key(*n)).cloned().collect();
        self.to_subscribe = asked_again.keys().cloned().collect();
        self.unsure.extend(asked_again);

        let star = ResourceName::from(WILDCARD);
        let ends = self.wildcard.is_none() || self.wildcard_again;
        if ends && self.said == Said::Silence && names.is_empty() {
            // An empty list would go on to mean everything: "*" first, so that the next can take it back.
            self.said = Said::Star;
            self.to_unsubscribe.insert(star.clone());
            names.push(star);
        } else if ends {
            self.said = Said::Nothing;
            if std::mem::take(&mut self.wildcard_again) {
                self.to_subscribe.insert(star);
            }
        } else if self.is_silent() {
            self.said = Said::Silence;
        } else {
            self.said = Said::Star;
            names.insert(0, star);
        }
        self.listed |= !names.is_empty();
        names
    }

    fn first_request(&mut self, variant: Variant, server: u64) -> Request {
        self.started = true;
        self.to_subscribe.clear();
        self.to_unsubscribe.clear();
        self.asked_again.clear();
        let request = self.compose_first(variant, server);
        self.names.values_mut().for_each(|awaited| awaited.always_listed = true);
        self.listed = !request.names.is_empty();
        self.said = match self.wildcard {
            Some(_) if self.listed => Said::Star,
            Some(_) => Said::Silence,
            None => Said::Nothing,
        };
        request
    }

    /// The first request on a stream to `server`.
    pub(super) fn compose_first(&self, variant: Variant, server: u64) -> Request {
        let wildcard = (self.wildcard.is_some() && !self.is_silent()).then(|| ResourceName::from(WILDCARD));
        let request =
            Request { names: wildcard.into_iter().chain(self.names.keys().cloned()).collect(), ..self.bare() };
        let same_server = self.server == server;
        match variant {
            Variant::Sotw => {
                Request { version: self.version.clone().filter(|_| same_server && !self.incomplete), ..request }
            }
            Variant::Delta => {
                let unknown = Version::from("");
                let version = |version: &Version| if same_server { version.clone() } else { unknown.clone() };
                Request {
                    initial_versions: self.held.iter().map(|(n, v)| (n.clone(), version(v))).collect(),
                    ..request
                }
            }
        }
    }

    /// The wildcard alone is said by an empty list where that is the older, more widely understood way, and still
    /// understood on this stream ("How the client specifies what resources to return").
    fn is_silent(&self) -> bool {
        self.names.is_empty() && self.rules.legacy_wildcard && !self.listed
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
