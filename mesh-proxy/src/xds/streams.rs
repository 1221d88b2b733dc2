//! Watches of xDS clients.

use std::{collections::HashMap, time::Duration};

use mesh_xds::{
    TypeUrl,
    client::{Client, ClientStatus, Update, Watch, WatchEvent},
    protocol::Subscription,
};
use tokio::sync::{mpsc, watch};

use super::{
    control::Event,
    core::{Raw, Told},
};
use crate::model::ConfigSource;

/// Names asked for. The number tells when: a name that was forgotten and is asked for again has another one.
pub(super) type Names = HashMap<String, u64>;

/// Hands on what a stream tells of a type: of all resources, or of `names`.
pub(super) async fn follow(
    client: Client,
    type_url: TypeUrl,
    source: ConfigSource,
    mut names: Option<watch::Receiver<Names>>,
    events: mpsc::Sender<Event>,
) {
    let mut asked = names.as_mut().map(|names| names.borrow_and_update().clone()).unwrap_or_default();
    let subscription = match &names {
        None => Subscription::Wildcard,
        Some(_) => Subscription::named(asked.keys().cloned()),
    };
    let mut watch = client.watch_with_timeout(type_url.clone(), subscription, Duration::ZERO);
    loop {
        tokio::select! {
            event = watch.next() => match event {
                None => return,
                Some(WatchEvent::Update(update)) => {
                    let told = told(&update, &type_url, &source);
                    if events.send(Event::Told(told, Some(update))).await.is_err() {
                        return;
                    }
                }
                // The core keeps the time itself.
                Some(_) => {}
            },
            changed = changed(&mut names) => match changed {
                Some(wanted) => resubscribe(&watch, &mut asked, wanted),
                None => return,
            },
        }
    }
}

/// The names, when they change; `None` when nobody changes them any more.
pub(super) async fn changed(names: &mut Option<watch::Receiver<Names>>) -> Option<Names> {
    match names {
        Some(names) => {
            names.changed().await.ok()?;
            Some(names.borrow_and_update().clone())
        }
        None => std::future::pending().await,
    }
}

fn resubscribe(watch: &Watch, asked: &mut Names, wanted: Names) {
    let gone: Vec<String> = asked.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
    let new: Vec<String> =
        wanted.iter().filter(|(name, at)| asked.get(*name) != Some(*at)).map(|(name, _)| name.clone()).collect();
    // Additions first, so that a server never sees an empty subscription between.
    if !new.is_empty() {
        watch.subscribe(new);
    }
    if !gone.is_empty() {
        watch.unsubscribe(gone);
    }
    *asked = wanted;
}

fn told(update: &Update, type_url: &TypeUrl, source: &ConfigSource) -> Told {
    let raw = |resource: &mesh_xds::Resource| Raw {
        name: resource.name().as_str().to_owned(),
        version: resource.version().as_str().to_owned(),
        any: resource.any().clone(),
    };
    Told {
        source: source.clone(),
        type_url: type_url.clone(),
        added: update.added().iter().map(raw).collect(),
        removed: update.removed().iter().map(|name| name.as_str().to_owned()).collect(),
    }
}

/// Tells whether the stream is up.
pub(super) async fn tell_connected(mut status: watch::Receiver<ClientStatus>, events: mpsc::Sender<Event>) {
    let mut told = false;
    loop {
        let connected = status.borrow_and_update().is_connected();
        if connected != told && events.send(Event::Connected(connected)).await.is_err() {
            return;
        }
        told = connected;
        if status.changed().await.is_err() {
            return;
        }
    }
}
