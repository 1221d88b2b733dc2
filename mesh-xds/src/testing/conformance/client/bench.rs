//! What a case has in hand: a client, and the server it talks to.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{ClientUnderTest, Hands, Patience, Running, World, listen::Listener, stream::Stream};
use crate::{
    Resource, TypeUrl,
    protocol::Variant,
    testing::conformance::{
        case::{Outcome, broken, not_applicable},
        wire::{Ask, Item, Told},
    },
};

/// One case's bench.
pub(in crate::testing::conformance) struct Bench {
    client: Arc<dyn ClientUnderTest>,
    patience: Patience,
}

/// A started client, and the server it was pointed at.
pub(super) struct Play {
    pub(super) world: World,
    running: Running,
    listener: Listener,
    variant: Variant,
    patience: Patience,
}

impl Bench {
    pub(super) fn new(client: Arc<dyn ClientUnderTest>, patience: Patience) -> Self {
        Self { client, patience }
    }

    /// Starts a client.
    pub(super) async fn start(&self, variant: Variant) -> Outcome<Play> {
        let listener = match Listener::start().await {
            Ok(listener) => listener,
            Err(error) => return not_applicable(format!("no port to listen on: {error}")),
        };
        match self.client.start(listener.address, variant).await {
            Err(error) => not_applicable(error.to_string()),
            Ok(running) => {
                let (world, patience) = (self.client.world(), self.patience.clone());
                Ok(Play { world, running, listener, variant, patience })
            }
        }
    }

    /// Starts a client and takes its first request: of its own choice, or for clusters. What it asks for besides, it is
    /// given.
    pub(super) async fn begin(&self, variant: Variant) -> Outcome<(Play, Stream, Ask)> {
        let (play, mut stream, first) = self.begin_alone(variant).await?;
        stream.assist(&play.world, &first.type_url);
        Ok((play, stream, first))
    }

    /// As [`Bench::begin`], but the client is given nothing by itself.
    pub(super) async fn begin_alone(&self, variant: Variant) -> Outcome<(Play, Stream, Ask)> {
        let mut play = self.start(variant).await?;
        if let Running::InHand(hands) = &play.running {
            hands.watch(&TypeUrl::CLUSTER, &["*"]);
        }
        let mut stream = play.accept().await?;
        let first = stream.next("a first request").await?;
        Ok((play, stream, first))
    }

    /// Starts a client that is in hand, and has it watch `names`.
    pub(super) async fn watching(
        &self,
        variant: Variant,
        type_url: &TypeUrl,
        names: &[&str],
    ) -> Outcome<(Play, Stream)> {
        let mut play = self.start(variant).await?;
        play.hands()?.watch(type_url, names);
        let mut stream = play.accept().await?;
        stream.asks_for(type_url, names).await?;
        Ok((play, stream))
    }
}

impl Play {
    /// The next stream that the client opens.
    pub(super) async fn accept(&mut self) -> Outcome<Stream> {
        match timeout(self.patience.due, self.listener.streams.recv()).await {
            Ok(Some(accepted)) if accepted.variant == self.variant => Ok(Stream::new(accepted, self.patience.clone())),
            Ok(Some(accepted)) => broken(format!("a stream of {}", self.variant.as_str()), accepted.variant.as_str()),
            Ok(None) | Err(_) => broken("a stream", format!("none within {:?}", self.patience.due)),
        }
    }

    /// The hooks.
    pub(super) fn hands(&self) -> Outcome<&dyn Hands> {
        match &self.running {
            Running::InHand(hands) => Ok(&**hands),
            Running::ByItself(_) => not_applicable("the client decides for itself"),
        }
    }

    /// A response with the world's resource of a type.
    pub(super) fn told(&self, type_url: &TypeUrl, revision: u32) -> Outcome<Told> {
        match self.world.resource(type_url, revision) {
            Some(resource) => Ok(response(type_url, &[&resource])),
            None => not_applicable(format!("the world has no {type_url}")),
        }
    }

    /// A response that cannot be accepted: its resource cannot be decoded.
    pub(super) fn unreadable(&self, type_url: &TypeUrl) -> Outcome<Told> {
        let mut told = self.told(type_url, 1)?;
        for item in &mut told.items {
            item.version = "unreadable".into();
            if let Some(any) = &mut item.any {
                // The length of field 1, cut off.
                any.value = bytes::Bytes::from_static(&[0x0a, 0xff]);
            }
        }
        Ok(told)
    }

    /// Waits until the client holds exactly `expected`.
    pub(super) async fn holds(&self, type_url: &TypeUrl, expected: &[&Resource]) -> Outcome {
        let hands = self.hands()?;
        let is_held = || {
            let held = hands.held(type_url);
            let one = |r: &&Resource| held.get(r.name().as_str()).is_some_and(|bytes| bytes == r.bytes());
            held.len() == expected.len() && expected.iter().all(one)
        };
        let waiting = async {
            while !is_held() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if timeout(self.patience.due, waiting).await.is_ok() {
            return Ok(());
        }
        let names = expected.iter().map(|r| r.name().as_str()).collect::<Vec<_>>();
        let held: Vec<String> = hands.held(type_url).into_keys().collect();
        broken(format!("{} held with their content", names.join(" ")), format!("held: {}", held.join(" ")))
    }
}

/// A response with `resources`. Its nonce is set when it is sent.
pub(super) fn response(type_url: &TypeUrl, resources: &[&Resource]) -> Told {
    let mut told = Told::new(type_url, "");
    told.items = resources.iter().map(|r| Item::from(*r)).collect();
    told
}

/// A response with removals.
pub(super) fn removal(type_url: &TypeUrl, names: &[&str]) -> Told {
    let mut told = Told::new(type_url, "");
    told.removed = names.iter().map(|n| (*n).to_owned()).collect();
    told
}
