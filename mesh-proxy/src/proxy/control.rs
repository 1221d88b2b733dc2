//! The control side as the assembly sees it: what makes snapshots.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use indexmap::IndexMap;
use tokio::sync::watch;

use super::ProxyError;
use crate::{
    admin::{ConfigDump, ResourceDump, ResourceVersion, TypeDump},
    cluster::{ClusterDeps, ClusterHandle},
    config::{Bootstrap, StaticResource, Translator},
    model::Secret,
    state::Snapshot,
    tls::SecretSource,
};

/// Longest wait for the names of static clusters before listeners start, as Envoy waits for its first clusters.
const WARMING: Duration = Duration::from_secs(5);

/// What the control side tells; cheap to clone.
#[derive(Clone)]
pub(super) struct Told {
    /// The configuration in force.
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The first configuration is complete.
    pub(super) ready: watch::Receiver<bool>,
    /// Resources as they came.
    pub(super) dump: Arc<dyn Fn() -> ConfigDump + Send + Sync>,
    /// Secrets in force.
    pub(super) secrets: Arc<dyn Fn() -> Vec<Arc<Secret>> + Send + Sync>,
}

/// The control side of a bootstrap whose resources are all static. The future runs on the control thread until it is
/// dropped.
///
/// # Errors
/// A resource is refused, or the bootstrap names dynamic resources.
pub(super) fn statics(
    bootstrap: &Bootstrap,
    translator: &Translator,
    deps: &ClusterDeps,
) -> Result<(Told, impl Future<Output = ()> + Send + 'static), ProxyError> {
    if bootstrap.lds.is_some() || bootstrap.cds.is_some() || bootstrap.ads.is_some() {
        return Err(ProxyError::Unsupported("dynamic_resources".into()));
    }
    let mut listeners = IndexMap::new();
    for resource in &bootstrap.listeners {
        let listener = translator.listener(&resource.raw)?.value;
        listeners.insert(Arc::from(resource.name.as_str()), Arc::new(listener));
    }
    let mut clusters = HashMap::new();
    for resource in &bootstrap.clusters {
        let cluster = translator.cluster(&resource.raw)?.value;
        clusters.insert(cluster.name.clone(), ClusterHandle::new(Arc::new(cluster), deps));
    }
    let snapshot =
        Snapshot { listeners: Arc::new(listeners), routes: Arc::default(), clusters: Arc::new(clusters), version: 1 };
    let (publish, snapshots) = watch::channel(Arc::<Snapshot>::default());
    let (tell_ready, ready) = watch::channel(false);
    let dump = static_dump(bootstrap, SystemTime::now());
    let secrets: Vec<_> = bootstrap.secrets.iter().cloned().map(Arc::new).collect();
    let told =
        Told { snapshots, ready, dump: Arc::new(move || dump.clone()), secrets: Arc::new(move || secrets.clone()) };
    let run = async move {
        let mut warm = Vec::new();
        for cluster in snapshot.clusters.values() {
            tokio::spawn(ClusterHandle::maintain(Arc::downgrade(cluster)));
            warm.push(cluster.ready());
        }
        let all = futures::future::join_all(warm.into_iter().map(|mut ready| async move {
            let _ = ready.wait_for(|ready| *ready).await.is_ok();
        }));
        // A name that does not resolve in time is resolved later; its cluster has no host until then.
        let _ = tokio::time::timeout(WARMING, all).await;
        publish.send_replace(Arc::new(snapshot));
        tell_ready.send_replace(true);
        std::future::pending::<()>().await;
    };
    Ok((told, run))
}

/// What runs on the control thread.
pub(super) type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The control side of `bootstrap`.
///
/// # Errors
/// See [`statics`].
pub(super) fn start(
    bootstrap: &Bootstrap,
    translator: Translator,
    deps: &ClusterDeps,
    secret_sources: HashMap<String, Arc<dyn SecretSource>>,
) -> Result<(Told, Run), ProxyError> {
    drop(secret_sources);
    let (told, run) = statics(bootstrap, &translator, deps)?;
    Ok((told, Box::pin(run)))
}

fn static_dump(bootstrap: &Bootstrap, now: SystemTime) -> ConfigDump {
    let of = |resources: &[StaticResource]| TypeDump {
        version: String::new(),
        resources: resources
            .iter()
            .map(|r| ResourceDump {
                name: r.name.clone(),
                is_static: true,
                active: Some(ResourceVersion { version: String::new(), config: r.raw.clone(), updated: now }),
                ..ResourceDump::default()
            })
            .collect(),
    };
    ConfigDump {
        bootstrap: Some((bootstrap.raw.clone(), now)),
        clusters: of(&bootstrap.clusters),
        listeners: of(&bootstrap.listeners),
        secrets: of(&bootstrap.raw_secrets),
        ..ConfigDump::default()
    }
}
