//! The driver of the core: sources, timers, and what is told to workers.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use mesh_xds::client;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    core::{Core, Now, Told},
    secret_files::SecretFiles,
    sources::Sources,
};
use crate::{
    admin::ConfigDump,
    cluster::{ClusterDeps, ClusterHandle},
    config::{Bootstrap, Rejection, Translator},
    model::{Secret, SecretRef},
    state::Snapshot,
    tls::SecretSource,
};

/// Events that wait for the driver.
const QUEUE: usize = 64;

/// What happens to the driver.
pub(super) enum Event {
    /// A source told something. An update wants an answer.
    Told(Told, Option<client::Update>),
    /// A secret of this process.
    Secret(SecretRef, Arc<Secret>),
    /// A cluster may be ready.
    Ready,
    /// The stream to the control plane is up, or not.
    Connected(bool),
}

/// What the control side tells. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ControlHandle {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    ready: watch::Receiver<bool>,
    core: Arc<Mutex<Core>>,
}

impl ControlHandle {
    /// The configuration in force.
    pub(crate) fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// True once the first configuration is in force: clusters and listeners answered, and warm.
    pub(crate) fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Every resource, as it came.
    pub(crate) fn config(&self) -> ConfigDump {
        self.core.lock().dump()
    }

    /// Secrets in force.
    pub(crate) fn secrets(&self) -> Vec<Arc<Secret>> {
        self.core.lock().secrets()
    }
}

/// How often the files that secrets name are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// The control side of a proxy. The future does the work, on a tokio runtime, until it is dropped; it never ends by
/// itself.
///
/// `translator` must be the bootstrap's own, and count in the statistics of `deps`. Secrets whose source is a stream to a
/// cluster in `secret_sources` come from there, and no stream is opened.
///
/// # Errors
/// A static resource does not fit the others.
pub(crate) fn start(
    bootstrap: Bootstrap,
    translator: Translator,
    deps: ClusterDeps,
    secret_sources: HashMap<String, Arc<dyn SecretSource>>,
) -> Result<(ControlHandle, impl Future<Output = ()> + Send + 'static), Rejection> {
    let (node, ads) = (bootstrap.node.clone(), bootstrap.ads.clone());
    let core = Arc::new(Mutex::new(Core::new(bootstrap, translator, deps, Now::read())?));
    let (publish, snapshots) = watch::channel(Arc::default());
    let (tell_ready, ready) = watch::channel(false);
    let (sender, events) = mpsc::channel(QUEUE);
    let sources = Sources::new(node, ads, core.clone(), secret_sources, sender.clone());
    let driver = Driver {
        core: core.clone(),
        sender,
        events,
        sources,
        secret_files: SecretFiles::default(),
        publish,
        tell_ready,
        tasks: JoinSet::new(),
    };
    Ok((ControlHandle { snapshots, ready, core }, driver.run()))
}

struct Driver {
    core: Arc<Mutex<Core>>,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    sources: Sources,
    secret_files: SecretFiles,
    publish: watch::Sender<Arc<Snapshot>>,
    tell_ready: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Driver {
    async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.follow_up();
            let deadline = self.core.lock().next_deadline();
            tokio::select! {
                Some(event) = self.events.recv() => self.handle(event),
                () = sleep_until(deadline) => self.core.lock().tick(Now::read()),
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
                _ = look.tick(), if !self.secret_files.is_empty() => self.look_at_files(),
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let now = Now::read();
        match event {
            Event::Told(told, update) => {
                let total = told.added.len();
                self.secret_files.note(&told);
                let rejections = self.core.lock().told(told, now);
                for rejection in &rejections {
                    tracing::warn!(%rejection, "configuration refused");
                }
                match update {
                    Some(update) if rejections.is_empty() => update.accept(),
                    Some(update) => update.reject(answer(&rejections, total)),
                    None => {}
                }
            }
            Event::Secret(reference, secret) => self.core.lock().secret(&reference, secret, now),
            Event::Ready => self.core.lock().tick(now),
            Event::Connected(connected) => self.core.lock().set_connected(connected),
        }
    }

    /// Reads secrets anew whose files changed.
    fn look_at_files(&mut self) {
        let mut core = self.core.lock();
        self.secret_files.retain(|source, name| core.wants_secret(source, name));
        for told in self.secret_files.changed() {
            for rejection in core.told(told, Now::read()) {
                tracing::warn!(%rejection, "files of a secret not taken; the last good ones stay");
            }
        }
    }

    /// Does what the core wants done.
    fn follow_up(&mut self) {
        let mut core = self.core.lock();
        let (started, wants) = (core.take_started(), core.take_wants());
        let (snapshot, ready) = (core.snapshot().clone(), core.is_ready());
        self.sources.tell_warm(&core);
        drop(core);
        for cluster in started {
            self.tend(&cluster);
        }
        for want in wants {
            self.sources.want(want);
        }
        self.publish.send_if_modified(|current| {
            let newer = snapshot.version != current.version;
            *current = snapshot;
            newer
        });
        self.tell_ready.send_if_modified(|current| std::mem::replace(current, ready) != ready);
    }

    fn tend(&mut self, cluster: &Arc<ClusterHandle>) {
        self.tasks.spawn(ClusterHandle::maintain(Arc::downgrade(cluster)));
        let mut ready = cluster.ready();
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            // An error: the cluster is gone.
            let is_ready = ready.wait_for(|ready| *ready).await.is_ok();
            drop(ready);
            if is_ready {
                let _ = sender.send(Event::Ready).await;
            }
        });
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// What the control plane is told of refused resources.
fn answer(rejections: &[Rejection], total: usize) -> client::Rejection {
    let head = format!("{} of {total} resources refused", rejections.len());
    rejections.iter().fold(client::Rejection::new(head), |answer, rejection| {
        let reasons: Vec<String> = rejection.fields.iter().map(ToString::to_string).collect();
        answer.resource(rejection.resource.as_str(), reasons.join("; "))
    })
}
