//! This crate's client, in hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use mesh_xds_api::envoy::config::core::v3::Node;
use parking_lot::Mutex;

use super::{ClientUnderTest, Hands, Running, StartError, World};
use crate::{
    TypeUrl,
    client::{BackoffConfig, Client, Rejection, TcpConnect, Update, WatchEvent},
    protocol::{Subscription, Variant},
};

/// This crate's [`Client`], with a consumer that keeps what it is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct MeshClient;

#[async_trait]
impl ClientUnderTest for MeshClient {
    async fn start(&self, server: SocketAddr, variant: Variant) -> Result<Running, StartError> {
        let node = Node { id: "conformance".into(), cluster: "conformance".into(), ..Default::default() };
        let backoff = BackoffConfig { base: Duration::from_millis(10), max: Duration::from_millis(50) };
        let connect = TcpConnect::new(server.to_string());
        let client = Client::builder(node, connect).variant(variant).backoff(backoff).spawn();
        Ok(Running::InHand(Box::new(InHand { client, types: Mutex::default() })))
    }

    fn world(&self) -> World {
        World::proxy("conformance")
    }
}

struct InHand {
    client: Client,
    types: Mutex<BTreeMap<TypeUrl, Watched>>,
}

/// A type that is watched, by a task of its own.
struct Watched {
    commands: tokio::sync::mpsc::UnboundedSender<Command>,
    consumer: Arc<Mutex<Consumer>>,
}

enum Command {
    Watch(Vec<String>),
    Unwatch(Vec<String>),
}

/// What a user of the client would keep.
#[derive(Default)]
struct Consumer {
    held: BTreeMap<String, Bytes>,
    refused: BTreeSet<String>,
    names: BTreeSet<String>,
}

impl InHand {
    fn with<T>(&self, type_url: &TypeUrl, f: impl FnOnce(&Watched) -> T) -> T {
        let mut types = self.types.lock();
        let watched = types.entry(type_url.clone()).or_insert_with(|| self.start(type_url));
        f(watched)
    }

    fn start(&self, type_url: &TypeUrl) -> Watched {
        let (commands, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let consumer: Arc<Mutex<Consumer>> = Arc::default();
        let kept = consumer.clone();
        let mut watch = self.client.watch(type_url.clone(), Subscription::Named(Vec::new()));
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    command = receiver.recv() => match command {
                        Some(Command::Watch(names)) => watch.subscribe(names),
                        Some(Command::Unwatch(names)) => watch.unsubscribe(names),
                        None => return,
                    },
                    event = watch.next() => match event {
                        Some(WatchEvent::Update(update)) => kept.lock().take(update),
                        Some(WatchEvent::Overdue { .. }) => {}
                        None => return,
                    },
                }
            }
        });
        Watched { commands, consumer }
    }
}

impl Hands for InHand {
    fn watch(&self, type_url: &TypeUrl, names: &[&str]) {
        self.with(type_url, |watched| {
            watched.consumer.lock().names.extend(names.iter().map(|n| (*n).to_owned()));
            let _ = watched.commands.send(Command::Watch(owned(names)));
        });
    }

    fn unwatch(&self, type_url: &TypeUrl, names: &[&str]) {
        self.with(type_url, |watched| {
            watched.consumer.lock().drop_names(names);
            let _ = watched.commands.send(Command::Unwatch(owned(names)));
        });
    }

    fn refuse(&self, type_url: &TypeUrl, name: &str) {
        self.with(type_url, |watched| watched.consumer.lock().refused.insert(name.to_owned()));
    }

    fn held(&self, type_url: &TypeUrl) -> BTreeMap<String, Bytes> {
        self.with(type_url, |watched| watched.consumer.lock().held.clone())
    }
}

impl Consumer {
    fn take(&mut self, update: Update) {
        let bad = update.added().iter().find(|resource| {
            self.refused.contains(resource.name().as_str()) || !is_readable(resource.type_url(), resource.bytes())
        });
        if let Some(bad) = bad {
            let rejection = Rejection::new(format!("{} is refused", bad.name()));
            return update.reject(rejection);
        }
        for name in update.removed() {
            self.held.remove(name.as_str());
        }
        for resource in update.added() {
            self.held.insert(resource.name().to_string(), resource.bytes().clone());
        }
        update.accept();
    }

    /// The client says nothing more of names that were dropped.
    fn drop_names(&mut self, names: &[&str]) {
        names.iter().for_each(|name| {
            self.names.remove(*name);
        });
        let kept = &self.names;
        self.held.retain(|name, _| kept.contains("*") || kept.contains(name));
    }
}

fn is_readable(type_url: &TypeUrl, bytes: &Bytes) -> bool {
    super::super::wire::is_readable(type_url, bytes)
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}
