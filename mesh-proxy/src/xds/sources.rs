//! What is asked of whom.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    sync::Arc,
    time::Duration,
};

use mesh_xds::{
    TypeUrl,
    client::{Client, ClientConfig},
    protocol::Variant,
};
use mesh_xds_api::envoy::config::core::v3::Node;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use super::{
    control::Event,
    core::{Core, Want},
    files,
    streams::{self, Names},
};
use crate::{
    dial,
    model::{ConfigSource, SecretRef},
    tls::SecretSource,
};

/// Streams, files and secret sources in use.
pub(super) struct Sources {
    node: Node,
    ads: Option<ConfigSource>,
    core: Arc<Mutex<Core>>,
    secret_sources: HashMap<String, Arc<dyn SecretSource>>,
    events: mpsc::Sender<Event>,
    clients: HashMap<(ConfigSource, Option<TypeUrl>), Client>,
    /// Names asked for, by source and type.
    names: HashMap<(ConfigSource, TypeUrl), watch::Sender<Names>>,
    /// Secrets of this process that are followed.
    secrets: HashMap<SecretRef, AbortHandle>,
    /// Clusters that streams go to, and whether they are warm.
    warm: HashMap<String, watch::Sender<bool>>,
    tasks: tokio::task::JoinSet<()>,
    asked: u64,
}

impl Sources {
    pub(super) fn new(
        node: Node,
        ads: Option<ConfigSource>,
        core: Arc<Mutex<Core>>,
        secret_sources: HashMap<String, Arc<dyn SecretSource>>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            node,
            ads,
            core,
            secret_sources,
            events,
            clients: HashMap::new(),
            names: HashMap::new(),
            secrets: HashMap::new(),
            warm: HashMap::new(),
            tasks: tokio::task::JoinSet::new(),
            asked: 0,
        }
    }

    /// Connections wait for their cluster: without its secrets and addresses they could only fail.
    pub(super) fn tell_warm(&self, core: &Core) {
        for (name, warm) in &self.warm {
            let is = core.is_warm(name);
            warm.send_if_modified(|was| std::mem::replace(was, is) != is);
        }
    }

    pub(super) fn want(&mut self, want: Want) {
        while self.tasks.try_join_next().is_some() {}
        match want {
            Want::All(type_url, source) => self.follow(type_url, source, None),
            Want::Name(type_url, source, name) => self.want_name(type_url, source, name),
            Want::Forget(type_url, source, name) => self.forget(&type_url, &source, name),
        }
    }

    fn want_name(&mut self, type_url: TypeUrl, source: ConfigSource, name: String) {
        if type_url == TypeUrl::SECRET
            && let ConfigSource::Grpc { cluster, .. } = &source
            && let Some(secrets) = self.secret_sources.get(cluster)
        {
            let watch = secrets.watch(&name);
            let reference = SecretRef { name, source };
            let task = self.tasks.spawn(follow_secret(reference.clone(), watch, self.events.clone()));
            self.secrets.insert(reference, task);
            return;
        }
        self.asked += 1;
        let asked = self.asked;
        match self.names.entry((source.clone(), type_url.clone())) {
            Entry::Occupied(names) => names.get().send_modify(|names| _ = names.insert(name, asked)),
            Entry::Vacant(vacant) => {
                let (sender, names) = watch::channel(Names::from([(name, asked)]));
                vacant.insert(sender);
                self.follow(type_url, source, Some(names));
            }
        }
    }

    fn forget(&mut self, type_url: &TypeUrl, source: &ConfigSource, name: String) {
        if let Some(names) = self.names.get(&(source.clone(), type_url.clone())) {
            names.send_modify(|names| _ = names.remove(&name));
        }
        if let Some(task) = self.secrets.remove(&SecretRef { name, source: source.clone() }) {
            task.abort();
        }
    }

    /// Starts to follow a type at a source.
    fn follow(&mut self, type_url: TypeUrl, source: ConfigSource, names: Option<watch::Receiver<Names>>) {
        if let ConfigSource::File(path) = source {
            self.tasks.spawn(files::follow(path, type_url, names, self.events.clone()));
            return;
        }
        match self.client(&type_url, &source) {
            Some(client) => {
                self.tasks.spawn(streams::follow(client, type_url, source, names, self.events.clone()));
            }
            None => tracing::error!(%type_url, ?source, "there is no such source: its resources never come"),
        }
    }

    /// The stream for a source: one for all aggregated types, one for each type otherwise.
    fn client(&mut self, type_url: &TypeUrl, source: &ConfigSource) -> Option<Client> {
        let (stream, service) = match source {
            ConfigSource::Ads => (self.ads.clone()?, None),
            source => (source.clone(), Some(type_url.clone())),
        };
        let ConfigSource::Grpc { cluster, delta } = &stream else { return None };
        let key = (source.clone(), service.clone());
        if let Some(client) = self.clients.get(&key) {
            return Some(client.clone());
        }
        let config = ClientConfig {
            variant: if *delta { Variant::Delta } else { Variant::Sotw },
            service,
            authority: authority(cluster),
            // The core keeps the time itself.
            initial_fetch_timeout: Duration::ZERO,
            ..ClientConfig::default()
        };
        let (client, driver) = Client::builder(self.node.clone(), self.connector(cluster)).config(config).build();
        self.tasks.spawn(driver.run());
        if *source == ConfigSource::Ads {
            self.tasks.spawn(streams::tell_connected(client.status(), self.events.clone()));
        }
        self.clients.insert(key, client.clone());
        Some(client)
    }

    /// Opens connections to a cluster, once it is warm.
    fn connector(
        &mut self,
        cluster: &str,
    ) -> impl Fn() -> futures::future::BoxFuture<'static, io::Result<dial::UpstreamStream>> + Send + Sync + 'static
    {
        let is_warm = self.core.lock().is_warm(cluster);
        let warm = self.warm.entry(cluster.to_owned()).or_insert_with(|| watch::Sender::new(is_warm)).subscribe();
        let (core, name) = (self.core.clone(), cluster.to_owned());
        move || {
            let (core, name, mut warm) = (core.clone(), name.clone(), warm.clone());
            Box::pin(async move {
                // An error: the proxy is going away.
                warm.wait_for(|warm| *warm).await.map_err(io::Error::other)?;
                let cluster = core.lock().cluster(&name);
                let cluster = cluster.ok_or_else(|| io::Error::other(format!("cluster {name} is gone")))?;
                let (stream, _) = dial::connect(&cluster, true, rand::random()).await.map_err(io::Error::other)?;
                Ok(stream)
            })
        }
    }
}

/// The cluster's name, as Envoy does, if it can stand in a URL.
fn authority(cluster: &str) -> String {
    let fits = cluster.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if fits { cluster.to_owned() } else { "xds".to_owned() }
}

async fn follow_secret(
    reference: SecretRef,
    mut secrets: watch::Receiver<Option<Arc<crate::model::Secret>>>,
    events: mpsc::Sender<Event>,
) {
    loop {
        let secret = secrets.borrow_and_update().clone();
        if let Some(secret) = secret
            && events.send(Event::Secret(reference.clone(), secret)).await.is_err()
        {
            return;
        }
        // The source has ended: its last value stays in use.
        if secrets.changed().await.is_err() {
            return;
        }
    }
}
