//! The server's half of the protocol, under any order of requests, changes and times.
//!
//! Held to: no panic; one unanswered push per type; refused bytes are not sent again unless they changed or are asked for
//! (delta); nothing is said twice in one push; what is remembered is bounded by what was asked for and what there is; in
//! the end it falls silent.
#![no_main]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;
use mesh_xds::{
    Nonce, TypeUrl, Version,
    protocol::{
        Push, Request, Variant,
        server::{Event, Ledger, Revision, ServerStream, StreamLimits},
    },
};
use mesh_xds_fuzz::{Choices, NAMES, TYPES, resource};

struct World {
    variant: Variant,
    now: Instant,
    ledger: Ledger,
    stream: ServerStream,
    /// The last push of each type, and whether it waits.
    flight: BTreeMap<TypeUrl, (Nonce, bool)>,
    /// Refused, and not asked for or told otherwise since.
    refused: BTreeSet<(TypeUrl, String, Version)>,
    /// Asked for by name, and not told since.
    asked: BTreeSet<(TypeUrl, String)>,
}

impl World {
    fn step(&mut self, choices: &mut Choices<'_>) -> Result<(), mesh_xds::protocol::server::Violation> {
        match choices.byte() % 8 {
            0 | 1 => {
                let (type_url, name, content) = (choices.type_url(), choices.name(), choices.byte() % 4);
                let ttl = choices.flag().then(|| Duration::from_secs(u64::from(choices.byte() % 8)));
                self.ledger.put(resource(&type_url, name, content).with_ttl(ttl));
                self.changed(&type_url, name);
            }
            2 => {
                let (type_url, name) = (choices.type_url(), choices.name());
                self.ledger.remove(&type_url, name);
                self.changed(&type_url, name);
            }
            3 => self.now += Duration::from_secs(u64::from(choices.byte() % 20)),
            4 => {
                let revision = Revision(self.ledger.revision().0.min(u64::from(choices.byte())));
                let told = self.stream.told(&self.ledger);
                self.ledger.forget_removals(revision.min(told));
            }
            _ => {
                let request = self.request(choices);
                self.asked_for(&request);
                self.answered(&request);
                self.stream.handle(&request, &self.ledger, self.now)?;
            }
        }
        Ok(())
    }

    fn request(&self, choices: &mut Choices<'_>) -> Request {
        let type_url = choices.type_url();
        let names = |choices: &mut Choices<'_>| choices.names().into_iter().map(Into::into).collect::<Vec<_>>();
        let delta = self.variant == Variant::Delta;
        let nonce = match choices.byte() % 4 {
            0 => None,
            1 => Some(Nonce::from("never-sent")),
            _ => self.flight.get(&type_url).map(|(nonce, _)| nonce.clone()),
        };
        Request {
            names: names(choices),
            unsubscribe: if delta { names(choices) } else { Vec::new() },
            initial_versions: match delta && choices.flag() {
                true => names(choices).into_iter().map(|n| (n, Version::of(&[choices.byte() % 4]))).collect(),
                false => BTreeMap::new(),
            },
            version: choices.flag().then(|| Version::of(b"x")).filter(|_| !delta),
            nonce,
            error: choices.flag().then(|| "no".to_owned()),
            type_url,
        }
    }

    /// What was refused may be sent again when it was something else, or nothing, in between.
    fn changed(&mut self, type_url: &TypeUrl, name: &str) {
        let now = self.ledger.get(type_url, name).map(|r| r.version().clone());
        self.refused.retain(|(t, n, v)| (t, n.as_str()) != (type_url, name) || Some(v) == now.as_ref());
    }

    fn asked_for(&mut self, request: &Request) {
        for name in request.names.iter().chain(&request.unsubscribe) {
            let key = (request.type_url.clone(), name.as_str().to_owned());
            self.refused.retain(|(t, n, _)| (t, n) != (&key.0, &key.1) && *name != "*");
            self.asked.insert(key);
        }
    }

    fn answered(&mut self, request: &Request) {
        if let Some((nonce, waits)) = self.flight.get_mut(&request.type_url)
            && request.nonce.as_ref() == Some(nonce)
        {
            *waits = false;
        }
    }

    fn pump(&mut self) {
        self.events();
        let mut pushes = 0;
        while let Some(push) = self.stream.poll(&self.ledger, Revision::MAX, self.now) {
            pushes += 1;
            assert!(pushes <= TYPES.len(), "more pushes than types");
            self.check(&push);
        }
        self.events();
        // What is kept is bounded by what was asked for and what there is.
        for report in self.stream.report(&self.ledger) {
            assert!(report.names <= NAMES.len());
            assert!(report.resources.len() <= NAMES.len(), "{report:?}");
        }
    }

    fn events(&mut self) {
        let mut events = 0;
        while let Some(event) = self.stream.poll_event() {
            events += 1;
            assert!(events <= 4 * TYPES.len(), "events without end");
            let Event::Nacked { type_url, resources, .. } = event else { continue };
            // Those that the refusal names, or all.
            let any_named = resources.iter().any(|sent| sent.named);
            for sent in resources.into_iter().filter(|sent| sent.named || !any_named) {
                let name = sent.name.as_str().to_owned();
                // A wildcard that is subscribed anew asks for everything.
                let asked = |name: &str| self.asked.contains(&(type_url.clone(), name.to_owned()));
                let current = self.ledger.get(&type_url, &name).map(|r| r.version().clone());
                if let Some(version) = sent.version
                    && Some(&version) == current.as_ref()
                    && !asked(&name)
                    && !asked("*")
                {
                    self.refused.insert((type_url.clone(), name, version));
                }
            }
        }
    }

    fn check(&mut self, push: &Push) {
        let type_url = &push.content.type_url;
        let before = self.flight.insert(type_url.clone(), (push.nonce.clone(), true));
        assert!(before.is_none_or(|(nonce, waits)| !waits && nonce != push.nonce), "two pushes wait: {push:?}");
        let mut told = BTreeSet::new();
        for resource in push.content.resources.iter() {
            let name = resource.name().as_str().to_owned();
            let key = (type_url.clone(), name.clone(), resource.version().clone());
            let again = self.variant == Variant::Delta && self.refused.contains(&key);
            assert!(!again, "refused bytes again: {push:?}");
            assert!(told.insert(name), "a name twice: {push:?}");
        }
        for name in push.content.removed.iter() {
            assert!(told.insert(name.as_str().to_owned()), "a name twice: {push:?}");
        }
        self.asked.remove(&(type_url.clone(), "*".to_owned()));
        for name in told {
            self.asked.remove(&(type_url.clone(), name.clone()));
            self.refused.retain(|(t, n, _)| (t, n) != (type_url, &name));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let variant = if choices.flag() { Variant::Delta } else { Variant::Sotw };
    let stream = ServerStream::new(variant, 7, StreamLimits::default()).with_ttl(choices.flag());
    let mut world = World {
        variant,
        now: Instant::now(),
        ledger: Ledger::new(),
        stream,
        flight: BTreeMap::new(),
        refused: BTreeSet::new(),
        asked: BTreeSet::new(),
    };
    while !choices.is_empty() {
        if world.step(&mut choices).is_err() {
            return;
        }
        world.pump();
    }
    // In the end everything is answered, and it falls silent but for heartbeats.
    for _ in 0..64 {
        let waiting: Vec<_> = world.flight.iter().filter(|(_, f)| f.1).map(|(t, f)| (t.clone(), f.0.clone())).collect();
        if waiting.is_empty() {
            break;
        }
        for (type_url, nonce) in waiting {
            let ack = Request {
                type_url,
                names: Vec::new(),
                unsubscribe: Vec::new(),
                initial_versions: BTreeMap::new(),
                version: None,
                nonce: Some(nonce),
                error: None,
            };
            world.answered(&ack);
            if world.stream.handle(&ack, &world.ledger, world.now).is_err() {
                return;
            }
        }
        world.pump();
    }
    assert!(world.flight.values().all(|(_, waits)| !waits), "it pushes for ever");
});
