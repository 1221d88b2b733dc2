//! Both halves of the protocol against each other, in random order and with a second server: they agree in the end, and
//! nothing refused is sent twice.
#![allow(clippy::unwrap_used)] // helpers of a test

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use mesh_xds::{
    Resource, ResourceName, TypeUrl, Version,
    protocol::{
        Push, Request, Response, Subscription, Variant,
        client::{ClientState, Update, Verdict},
        server::{Ledger, Revision, ServerStream, StreamLimits},
    },
};
use mesh_xds_api::{envoy::service::discovery::v3 as wire, google::protobuf::Any};
use proptest::prelude::*;
use prost::Message;

const TYPES: [TypeUrl; 4] = [TypeUrl::CLUSTER, TypeUrl::ENDPOINT, TypeUrl::LISTENER, TypeUrl::ROUTE];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Debug, Clone)]
enum Step {
    Put(usize, usize, u8),
    Remove(usize, usize),
    /// Several changes at once.
    Together(Vec<(usize, usize, Option<u8>)>),
    Subscribe(usize, usize),
    Unsubscribe(usize, usize),
    /// Take one message from one of the two directions.
    ToServer,
    ToClient,
    /// Answer what the client has in hand of a type.
    Judge(usize),
    Pass(u8),
    Reconnect,
    /// To the other server, which has what it had when it was last in use.
    Move,
}

fn step() -> impl Strategy<Value = Step> {
    let (t, n) = (0..TYPES.len(), 0..NAMES.len());
    prop_oneof![
        3 => (t.clone(), n.clone(), 0..6u8).prop_map(|(t, n, c)| Step::Put(t, n, c)),
        2 => (t.clone(), n.clone()).prop_map(|(t, n)| Step::Remove(t, n)),
        2 => prop::collection::vec((t.clone(), n.clone(), prop::option::of(0..6u8)), 1..6).prop_map(Step::Together),
        2 => (t.clone(), n.clone()).prop_map(|(t, n)| Step::Subscribe(t, n)),
        2 => (t.clone(), n).prop_map(|(t, n)| Step::Unsubscribe(t, n)),
        6 => Just(Step::ToServer),
        6 => Just(Step::ToClient),
        6 => t.prop_map(Step::Judge),
        1 => (0..20u8).prop_map(Step::Pass),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Move),
    ]
}

/// Content 5 is what clients refuse. The two servers give versions of their own, and what is a version of one content to the
/// one is that of another content to the other.
fn resource(type_url: &TypeUrl, name: &str, content: u8, server: u64) -> Arc<Resource> {
    // Field 1 is the name, as in every resource type; another field is the content.
    let mut value = vec![0x0a, name.len() as u8];
    value.extend(name.as_bytes());
    value.extend([0xf8, 0x3f, content]);
    let version = Version::from(format!("{}", (u64::from(content) + server) % 6));
    let any = Any { type_url: type_url.as_str().into(), value: value.into() };
    Arc::new(Resource::with_version(name, version, any))
}

fn is_bad(resource: &Resource) -> bool {
    resource.bytes().last() == Some(&5)
}

struct World {
    variant: Variant,
    now: Instant,
    ledger: Ledger,
    /// The other server's.
    other: Ledger,
    at: u64,
    server: ServerStream,
    seed: u64,
    client: ClientState,
    to_server: VecDeque<Vec<u8>>,
    to_client: VecDeque<Vec<u8>>,
    in_hand: HashMap<TypeUrl, Update>,
    /// What the consumer has in force, as versions made from the content.
    applied: BTreeMap<(String, String), Version>,
    subscribed: HashSet<(usize, usize)>,
    /// On this stream: versions refused since they were last asked for by name.
    refused: HashSet<(String, String, Version)>,
    /// Asked for by name since it was last told.
    asked: HashSet<(String, String)>,
}

impl World {
    fn new(variant: Variant) -> Self {
        let now = Instant::now();
        let mut client = ClientState::new(variant);
        for type_url in [TypeUrl::CLUSTER, TypeUrl::LISTENER] {
            client.watch(&type_url, Subscription::Wildcard, None, now);
        }
        client.connected();
        Self {
            variant,
            now,
            ledger: Ledger::new(),
            other: Ledger::new(),
            at: 0,
            server: ServerStream::new(variant, 1, StreamLimits::default()),
            seed: 1,
            client,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            in_hand: HashMap::new(),
            applied: BTreeMap::new(),
            subscribed: HashSet::new(),
            refused: HashSet::new(),
            asked: HashSet::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Put(t, n, content) => self.change(&[(*t, *n, Some(*content))]),
            Step::Remove(t, n) => self.change(&[(*t, *n, None)]),
            Step::Together(changes) => self.change(changes),
            Step::Subscribe(t, n) => self.subscribe(*t, *n),
            Step::Unsubscribe(t, n) => self.unsubscribe(*t, *n),
            Step::ToServer => self.deliver_to_server(),
            Step::ToClient => self.deliver_to_client(),
            Step::Judge(t) => self.judge(&TYPES[*t]),
            Step::Pass(seconds) => self.now += Duration::from_secs(u64::from(*seconds)),
            Step::Reconnect => self.reconnect(),
            Step::Move => {
                std::mem::swap(&mut self.ledger, &mut self.other);
                self.at = 1 - self.at;
                self.reconnect();
            }
        }
        self.pump();
    }

    fn change(&mut self, changes: &[(usize, usize, Option<u8>)]) {
        for (t, n, content) in changes {
            match content {
                Some(content) => self.ledger.put(resource(&TYPES[*t], NAMES[*n], *content, self.at)),
                None => self.ledger.remove(&TYPES[*t], NAMES[*n]),
            };
        }
    }

    fn subscribe(&mut self, t: usize, n: usize) {
        if t % 2 == 1 {
            self.client.subscribe(&TYPES[t], [NAMES[n].into()], self.now);
            self.subscribed.insert((t, n));
        }
    }

    fn unsubscribe(&mut self, t: usize, n: usize) {
        if t % 2 == 1 {
            self.client.unsubscribe(&TYPES[t], [NAMES[n].into()]);
            self.subscribed.remove(&(t, n));
            self.applied.remove(&(TYPES[t].as_str().into(), NAMES[n].into()));
        }
    }

    fn deliver_to_server(&mut self) {
        let Some(bytes) = self.to_server.pop_front() else { return };
        let request: Request = match self.variant {
            Variant::Sotw => wire::DiscoveryRequest::decode(&*bytes).unwrap().into(),
            Variant::Delta => wire::DeltaDiscoveryRequest::decode(&*bytes).unwrap().into(),
        };
        for name in &request.names {
            let asked = (request.type_url.as_str(), name.as_str());
            self.refused.retain(|(t, n, _)| (t.as_str(), n.as_str()) != asked);
            self.asked.insert((asked.0.to_owned(), asked.1.to_owned()));
        }
        for name in &request.unsubscribe {
            self.refused.retain(|(t, n, _)| (t.as_str(), n.as_str()) != (request.type_url.as_str(), name.as_str()));
        }
        self.server.handle(&request, &self.ledger, self.now).unwrap();
    }

    fn deliver_to_client(&mut self) {
        let Some(bytes) = self.to_client.pop_front() else { return };
        let response = match self.variant {
            Variant::Sotw => Response::from_sotw(wire::DiscoveryResponse::decode(&*bytes).unwrap()),
            Variant::Delta => Response::from_delta(wire::DeltaDiscoveryResponse::decode(&*bytes).unwrap()),
        };
        self.client.handle(response.unwrap(), self.now);
    }

    fn judge(&mut self, type_url: &TypeUrl) {
        let Some(update) = self.in_hand.remove(type_url) else { return };
        let bad: Vec<ResourceName> = update.added.iter().filter(|r| is_bad(r)).map(|r| r.name().clone()).collect();
        for resource in update.added.iter().filter(|r| !is_bad(r)) {
            let index = |n: &str| NAMES.iter().position(|x| *x == n).unwrap();
            let t = TYPES.iter().position(|x| x == type_url).unwrap();
            if t % 2 == 0 || self.subscribed.contains(&(t, index(resource.name().as_str()))) {
                let key = (type_url.as_str().into(), resource.name().to_string());
                self.applied.insert(key, Version::of(resource.bytes()));
            }
        }
        for name in &update.removed {
            self.applied.remove(&(type_url.as_str().into(), name.to_string()));
        }
        let verdict = if bad.is_empty() {
            Verdict::Accepted
        } else {
            // Some clients name what they refuse, others do not.
            let names: Vec<&str> = bad.iter().map(|n| n.as_str()).filter(|_| self.seed.is_multiple_of(2)).collect();
            Verdict::Rejected { message: format!("bad: {}", names.join(", ")), resources: bad }
        };
        self.client.answer(type_url, update.id, verdict);
    }

    fn reconnect(&mut self) {
        self.seed += 1;
        self.server = ServerStream::new(self.variant, self.seed, StreamLimits::default());
        self.to_server.clear();
        self.to_client.clear();
        self.refused.clear();
        self.asked.clear();
        self.client.disconnected();
        self.client.connected_to(self.at);
    }

    fn pump(&mut self) {
        while let Some(event) = self.server.poll_event() {
            if let mesh_xds::protocol::server::Event::Nacked { type_url, resources, .. } = event {
                // One of several without a name: they are sent again apart.
                let alone = resources.len() == 1;
                for sent in resources.into_iter().filter(|sent| sent.named || alone) {
                    let Some(version) = sent.version else { continue };
                    let key = (type_url.as_str().to_owned(), sent.name.to_string());
                    if !self.asked.contains(&key) {
                        self.refused.insert((key.0, key.1, version));
                    }
                }
            }
        }
        while let Some(push) = self.server.poll(&self.ledger, Revision::MAX, self.now) {
            self.check_not_refused(&push);
            self.to_client.push_back(match self.variant {
                Variant::Sotw => push.into_sotw().encode_to_vec(),
                Variant::Delta => push.into_delta().encode_to_vec(),
            });
        }
        while let Some(update) = self.client.poll_update() {
            let before = self.in_hand.insert(update.type_url.clone(), update);
            assert!(before.is_none(), "one update per type at a time");
        }
        while let Some(request) = self.client.poll() {
            self.to_server.push_back(match self.variant {
                Variant::Sotw => request.into_sotw().encode_to_vec(),
                Variant::Delta => request.into_delta().encode_to_vec(),
            });
        }
        // What is on its way is bounded by the number of types, whatever happens.
        assert!(self.to_client.len() <= TYPES.len());
    }

    /// A refused version is not sent again before something else was told of that name. (A whole set of SotW cannot
    /// leave it out.)
    fn check_not_refused(&mut self, push: &Push) {
        let refused = |r: &Arc<Resource>| {
            self.refused.contains(&(push.content.type_url.as_str().into(), r.name().to_string(), r.version().clone()))
        };
        if self.variant == Variant::Delta {
            assert!(!push.content.resources.iter().any(refused), "refused bytes sent again: {push:?}");
        }
        let told = push.content.resources.iter().map(|r| r.name()).chain(&push.content.removed);
        for name in told {
            self.asked.remove(&(push.content.type_url.as_str().to_owned(), name.to_string()));
            self.refused
                .retain(|(t, n, _)| (t.as_str(), n.as_str()) != (push.content.type_url.as_str(), name.as_str()));
        }
    }

    /// Lets everything arrive and be answered.
    fn settle(&mut self) {
        for _ in 0..2_000 {
            self.pump();
            let idle = self.to_server.is_empty() && self.to_client.is_empty() && self.in_hand.is_empty();
            if idle && self.server.poll_timeout().is_none() {
                return;
            }
            self.deliver_to_server();
            self.pump();
            self.deliver_to_client();
            self.pump();
            TYPES.iter().for_each(|t| self.judge(t));
            self.now += Duration::from_millis(100);
        }
        panic!("they talk for ever");
    }

    /// What the consumer should have in force, and has.
    fn check(&self) {
        for (t, type_url) in TYPES.iter().enumerate() {
            for (n, name) in NAMES.iter().enumerate() {
                let key = (type_url.as_str().to_owned(), (*name).to_owned());
                let wanted = t % 2 == 0 || self.subscribed.contains(&(t, n));
                let exists = self.ledger.get(type_url, name).filter(|_| wanted);
                let has = self.applied.get(&key);
                let place = format!("{:?} {type_url} {name}", self.variant);
                match exists {
                    // Refused content: the last good one may stay in force.
                    Some(resource) if is_bad(resource) => {}
                    Some(resource) => assert_eq!(has, Some(&Version::of(resource.bytes())), "{place}"),
                    // SotW cannot say that a named resource is gone.
                    None if wanted && t % 2 == 1 && self.variant == Variant::Sotw => {}
                    None => assert_eq!(has, None, "{place}"),
                }
            }
        }
    }
}

fn run(variant: Variant, steps: &[Step]) {
    let mut world = World::new(variant);
    world.pump();
    for step in steps {
        world.step(step);
    }
    world.settle();
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn delta_converges(steps in prop::collection::vec(step(), 0..120)) {
        run(Variant::Delta, &steps);
    }

    #[test]
    fn sotw_converges(steps in prop::collection::vec(step(), 0..120)) {
        run(Variant::Sotw, &steps);
    }
}
