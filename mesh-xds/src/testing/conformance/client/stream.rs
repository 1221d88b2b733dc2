//! One stream of the client under test.

use std::collections::{BTreeMap, BTreeSet};

use tokio::{sync::mpsc, time::timeout};
use tonic::Status;

use super::{Patience, World, bench::response, listen::Accepted};
use crate::{
    TypeUrl,
    protocol::Variant,
    testing::conformance::{
        case::{Outcome, broken, ensure},
        wire::{Ask, Told, short},
    },
};

/// One stream. Keeps what the client is subscribed to, as the protocol page says it is to be understood.
pub(super) struct Stream {
    pub(super) variant: Variant,
    requests: mpsc::Receiver<Ask>,
    responses: mpsc::Sender<Result<Told, Status>>,
    types: BTreeMap<TypeUrl, Kept>,
    sent: u32,
    assist: Option<Assist>,
    patience: Patience,
}

/// What is told by the way, so that a client that waits for it gets on: Envoy accepts a cluster when it is warm.
struct Assist {
    world: World,
    /// The type the case is about: it is told by the case alone.
    about: TypeUrl,
    told: BTreeSet<TypeUrl>,
}

#[derive(Default)]
struct Kept {
    /// With `*`.
    names: BTreeSet<String>,
    asked: bool,
    /// Names were given once, so that none no longer means everything.
    listed: bool,
    /// Read while another type was waited for.
    inbox: std::collections::VecDeque<Ask>,
}

impl Stream {
    pub(super) fn new(accepted: Accepted, patience: Patience) -> Self {
        let Accepted { variant, requests, responses } = accepted;
        Self { variant, requests, responses, types: BTreeMap::new(), sent: 0, assist: None, patience }
    }

    /// Gives the client what it asks for of `world` from now on, but for the type the case is about.
    pub(super) fn assist(&mut self, world: &World, about: &TypeUrl) {
        self.assist = Some(Assist { world: world.clone(), about: about.clone(), told: BTreeSet::new() });
    }

    /// The next request, of whatever type.
    pub(super) async fn next(&mut self, expected: &str) -> Outcome<Ask> {
        match timeout(self.patience.due, self.requests.recv()).await {
            Err(_) => broken(expected, format!("nothing within {:?}", self.patience.due)),
            Ok(None) => broken(expected, "the end of the stream"),
            Ok(Some(ask)) => {
                self.note(&ask);
                self.give(&ask.type_url).await;
                Ok(ask)
            }
        }
    }

    fn note(&mut self, ask: &Ask) {
        let variant = self.variant;
        let kept = self.types.entry(ask.type_url.clone()).or_default();
        let first = !std::mem::replace(&mut kept.asked, true);
        kept.listed |= !ask.subscribe.is_empty();
        match variant {
            Variant::Sotw => kept.names = ask.subscribe.iter().cloned().collect(),
            Variant::Delta => {
                kept.names.extend(ask.subscribe.iter().cloned());
                ask.unsubscribe.iter().for_each(|name| {
                    kept.names.remove(name);
                });
            }
        }
        // The legacy wildcard.
        let silent = match variant {
            Variant::Sotw => !kept.listed,
            Variant::Delta => first && ask.subscribe.is_empty() && ask.unsubscribe.is_empty(),
        };
        if silent && super::super::wire::is_whole(&ask.type_url) {
            kept.names.insert("*".into());
        }
    }

    /// The next request of a type. Those of others are kept.
    pub(super) async fn next_of(&mut self, type_url: &TypeUrl, expected: &str) -> Outcome<Ask> {
        if let Some(ask) = self.types.get_mut(type_url).and_then(|kept| kept.inbox.pop_front()) {
            return Ok(ask);
        }
        loop {
            let ask = self.next(expected).await?;
            if ask.type_url == *type_url {
                return Ok(ask);
            }
            self.types.entry(ask.type_url.clone()).or_default().inbox.push_back(ask);
        }
    }

    /// What the client is subscribed to.
    pub(super) fn names(&self, type_url: &TypeUrl) -> BTreeSet<String> {
        self.types.get(type_url).map(|kept| kept.names.clone()).unwrap_or_default()
    }

    /// Whether the client asked for anything of the type.
    pub(super) fn asked(&self, type_url: &TypeUrl) -> bool {
        self.types.get(type_url).is_some_and(|kept| kept.asked)
    }

    /// Reads until the client is subscribed to exactly `names`. Gives the requests of the type.
    pub(super) async fn asks_for(&mut self, type_url: &TypeUrl, names: &[&str]) -> Outcome<Vec<Ask>> {
        let wanted: BTreeSet<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let expected = format!("{} subscribed to [{}]", short(type_url), names.join(" "));
        let mut heard: Vec<Ask> =
            self.types.get_mut(type_url).map(|kept| kept.inbox.drain(..).collect()).unwrap_or_default();
        while !self.asked(type_url) || self.names(type_url) != wanted {
            match self.next_of(type_url, &expected).await {
                Ok(ask) => heard.push(ask),
                Err(crate::testing::conformance::case::Finding::Broken { expected, saw }) if !heard.is_empty() => {
                    let log: Vec<String> = heard.iter().map(ToString::to_string).collect();
                    return broken(expected, format!("{}, then {saw}", log.join(", ")));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(heard)
    }

    /// Tells the world's resource of a type that is asked for, once.
    async fn give(&mut self, type_url: &TypeUrl) {
        let names = self.names(type_url);
        let Some(assist) = self.assist.as_mut().filter(|a| a.about != *type_url) else { return };
        let wanted = names.contains("*") || names.contains(assist.world.name());
        if wanted
            && assist.told.insert(type_url.clone())
            && let Some(resource) = assist.world.resource(type_url, 1)
        {
            self.send(response(type_url, &[&resource])).await;
        }
    }

    /// Sends a response under a nonce and, in SotW, a version of its own. Gives it as it was sent.
    pub(super) async fn tell(&mut self, told: Told) -> Told {
        let told = self.send(told).await;
        // A cluster that is told anew waits for its endpoints anew ("Resource warming").
        let endpoints = TypeUrl::ENDPOINT;
        if told.type_url == TypeUrl::CLUSTER
            && self.assist.as_mut().is_some_and(|assist| assist.told.remove(&endpoints))
        {
            self.give(&endpoints).await;
        }
        told
    }

    async fn send(&mut self, mut told: Told) -> Told {
        self.sent += 1;
        told.nonce = format!("nonce-{}-{}", short(&told.type_url).to_lowercase(), self.sent);
        told.version = format!("version-{}", self.sent);
        // If the stream has ended, reading it will say so.
        let _ = self.responses.send(Ok(told.clone())).await;
        told
    }

    /// The answer to `told`. Requests of the type under other nonces are passed over.
    pub(super) async fn answer(&mut self, told: &Told) -> Outcome<Ask> {
        let expected = format!("an answer to {told}");
        loop {
            let ask = self.next_of(&told.type_url, &expected).await?;
            if ask.nonce == told.nonce {
                return Ok(ask);
            }
        }
    }

    /// Sends a response, and wants it accepted.
    pub(super) async fn accepted(&mut self, told: Told) -> Outcome<Ask> {
        let told = self.tell(told).await;
        let ask = self.answer(&told).await?;
        ensure(ask.error.is_none(), &format!("an acceptance of {told}"), || ask.to_string())?;
        if self.variant == Variant::Sotw {
            ensure(ask.version == told.version, &format!("the version {}", told.version), || ask.to_string())?;
        }
        Ok(ask)
    }

    /// Sends a response, and wants it refused with a reason.
    pub(super) async fn refused(&mut self, told: Told) -> Outcome<Ask> {
        let told = self.tell(told).await;
        let ask = self.answer(&told).await?;
        let reason = ask.error.as_ref().is_some_and(|e| !e.message.is_empty());
        ensure(reason, &format!("a refusal of {told}, with error_detail"), || ask.to_string())?;
        Ok(ask)
    }

    /// Waits for silence of a type.
    pub(super) async fn quiet_of(&mut self, type_url: &TypeUrl, expected: &str) -> Outcome {
        let end = tokio::time::Instant::now() + self.patience.quiet;
        while let Ok(Some(ask)) = tokio::time::timeout_at(end, self.requests.recv()).await {
            self.note(&ask);
            if ask.type_url == *type_url {
                return broken(expected, ask.to_string());
            }
            self.types.entry(ask.type_url.clone()).or_default().inbox.push_back(ask);
        }
        Ok(())
    }

    /// Ends the stream as a server that goes away does.
    pub(super) async fn close(self) {
        let _ = self.responses.send(Err(Status::unavailable("the server goes away"))).await;
    }
}
