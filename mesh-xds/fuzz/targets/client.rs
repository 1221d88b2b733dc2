//! The client's half of the protocol, under any order of subscriptions, responses, verdicts and times.
//!
//! Held to: no panic; one update per type in the consumer's hands; every answer is to a response of its own type on this
//! stream, given once; requests come to an end; nothing is queued without bound.
#![no_main]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;
use mesh_xds::{
    Nonce, TypeUrl,
    protocol::{
        Response, Subscription, Variant,
        client::{ClientState, Update, Verdict},
    },
};
use mesh_xds_api::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use mesh_xds_fuzz::{Choices, NAMES, TYPES, resource};

struct World {
    variant: Variant,
    now: Instant,
    client: ClientState,
    nonces: u32,
    /// Of this stream, not answered yet.
    unanswered: BTreeSet<(TypeUrl, String)>,
    /// SotW: the last nonce answered, which later requests repeat.
    answered: BTreeMap<TypeUrl, Nonce>,
    in_hand: BTreeMap<TypeUrl, Update>,
    /// Types asked for on this stream.
    asked: BTreeSet<TypeUrl>,
    connected: bool,
}

impl World {
    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.byte() % 10 {
            0 => {
                let wildcard = choices.flag();
                let subscription = if wildcard { Subscription::Wildcard } else { Subscription::named(choices.names()) };
                let timeout = choices.flag().then(|| Duration::from_secs(u64::from(choices.byte())));
                self.client.watch(&choices.type_url(), subscription, timeout, self.now);
            }
            1 => {
                let type_url = choices.type_url();
                self.client.subscribe(&type_url, choices.names().into_iter().map(Into::into), self.now);
            }
            2 => {
                let type_url = choices.type_url();
                self.client.unsubscribe(&type_url, choices.names().into_iter().map(Into::into));
            }
            3 => self.client.unwatch(&choices.type_url()),
            4 => self.reconnect(choices.flag()),
            5 => {
                self.now += Duration::from_secs(u64::from(choices.byte()));
                self.client.handle_timeout(self.now);
            }
            6 => self.judge(choices),
            _ if self.connected && !self.client.is_full() => self.respond(choices),
            _ => {}
        }
    }

    fn reconnect(&mut self, connected: bool) {
        self.connected = connected;
        self.unanswered.clear();
        self.answered.clear();
        self.asked.clear();
        if connected { self.client.connected() } else { self.client.disconnected() }
    }

    fn respond(&mut self, choices: &mut Choices<'_>) {
        let type_url = choices.type_url();
        self.nonces += 1;
        let nonce = Nonce::from(format!("{}", self.nonces));
        // Of a type that was never watched it is dropped; of one not asked for on this stream it may be answered.
        self.unanswered.insert((type_url.clone(), nonce.as_str().to_owned()));
        if choices.byte() % 8 == 0 {
            // A resource with neither name nor content.
            let message = DeltaDiscoveryResponse {
                type_url: type_url.as_str().to_owned(),
                nonce: nonce.into(),
                resources: vec![Default::default()],
                ..Default::default()
            };
            if let Err(error) = Response::from_delta(message) {
                self.client.handle_unreadable(error);
            }
            return;
        }
        let named: BTreeSet<&str> = choices.names().into_iter().collect();
        let removed = match self.variant {
            Variant::Delta => choices.names().into_iter().map(Into::into).collect(),
            Variant::Sotw => Vec::new(),
        };
        let one = |name: &&str| {
            let ttl = choices.flag().then(|| Duration::from_secs(u64::from(choices.byte())));
            resource(&type_url, name, choices.byte() % 4).with_ttl(ttl)
        };
        let resources = named.iter().map(one).collect();
        let version = format!("v{}", self.nonces).into();
        let response =
            Response { type_url: type_url.clone(), nonce, version, resources, heartbeats: Vec::new(), removed };
        self.client.handle(response, self.now);
    }

    fn judge(&mut self, choices: &mut Choices<'_>) {
        let type_url = choices.type_url();
        let Some(update) = self.in_hand.remove(&type_url) else { return };
        let verdict = match choices.byte() % 3 {
            0 => Verdict::Accepted,
            1 => Verdict::Rejected { message: "no".into(), resources: Vec::new() },
            _ => {
                let resources = update.added.iter().take(1).map(|r| r.name().clone()).collect();
                Verdict::Rejected { message: "in part".into(), resources }
            }
        };
        self.client.answer(&type_url, update.id, verdict);
    }

    fn pump(&mut self) {
        self.client.handle_timeout(self.now);
        while let Some(update) = self.client.poll_update() {
            let before = self.in_hand.insert(update.type_url.clone(), update);
            assert!(before.is_none(), "two updates of a type in hand: {before:?}");
        }
        let mut requests = 0;
        while let Some(request) = self.client.poll() {
            requests += 1;
            assert!(requests <= 64 * TYPES.len(), "requests without end");
            assert!(self.connected, "a request without a stream");
            assert!(request.names.len() + request.unsubscribe.len() <= 2 * NAMES.len() + 2, "{request:?}");
            let first = self.asked.insert(request.type_url.clone());
            let Some(nonce) = &request.nonce else {
                assert!(request.error.is_none(), "a refusal of nothing: {request:?}");
                continue;
            };
            assert!(!first, "an answer before a request: {request:?}");
            let key = (request.type_url.clone(), nonce.as_str().to_owned());
            let repeats = self.answered.get(&request.type_url) == Some(nonce) && self.variant == Variant::Sotw;
            assert!(self.unanswered.remove(&key) || repeats, "answered twice, or never asked: {request:?}");
            self.answered.insert(request.type_url.clone(), nonce.clone());
        }
        let mut overdue = 0;
        while self.client.poll_overdue(self.now).is_some() {
            overdue += 1;
            assert!(overdue <= TYPES.len(), "overdue without end");
        }
        // What is due now is dealt with now, so that nobody wakes up for it again and again.
        self.client.handle_timeout(self.now);
        assert!(self.client.poll_timeout().is_none_or(|at| at > self.now));
    }
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let variant = if choices.flag() { Variant::Delta } else { Variant::Sotw };
    let mut world = World {
        variant,
        now: Instant::now(),
        client: ClientState::new(variant),
        nonces: 0,
        unanswered: BTreeSet::new(),
        answered: BTreeMap::new(),
        in_hand: BTreeMap::new(),
        asked: BTreeSet::new(),
        connected: false,
    };
    while !choices.is_empty() {
        world.step(&mut choices);
        world.pump();
    }
});
