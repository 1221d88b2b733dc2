//! What is in force and what is to come: the state machine. Events and the time go in; answers, names wanted and
//! snapshots come out.

mod clusters;
mod listeners;
mod names;
mod needs;
mod shown;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use mesh_xds_api::{TypeUrl, any::Any};

use self::{
    clusters::Clusters,
    listeners::Listeners,
    needs::{Arrived, Needs},
};
use crate::{
    admin::ResourceError,
    cluster::{ClusterDeps, ClusterHandle},
    config::{Bootstrap, FieldError, Rejection, StaticResource, Translator},
    model::{ConfigSource, Secret, SecretRef},
    route::Routes,
    state::Snapshot,
    stats::{Counter, Gauge, Stats},
};

/// The time, by both clocks: one for deadlines, one to show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) wall: SystemTime,
}

impl Now {
    pub(crate) fn read() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }
}

/// A resource as a source told it.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) any: Any,
}

/// A change of the resources of one type at one source.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) source: ConfigSource,
    pub(crate) type_url: TypeUrl,
    pub(crate) added: Vec<Raw>,
    pub(crate) removed: Vec<String>,
}

/// What the driver has to ask for, or no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Everything of a type.
    All(TypeUrl, ConfigSource),
    /// One resource.
    Name(TypeUrl, ConfigSource, String),
    /// One resource no longer.
    Forget(TypeUrl, ConfigSource, String),
}

/// See the module.
pub(crate) struct Core {
    translator: Translator,
    deps: ClusterDeps,
    bootstrap: Bootstrap,
    clusters: Clusters,
    listeners: Listeners,
    needs: Needs,
    /// First answers of the wildcard types, and until when they are waited for.
    cds: Collection,
    lds: Collection,
    wants: Vec<Want>,
    /// Clusters that need tending by the driver.
    started: Vec<Arc<ClusterHandle>>,
    /// The first clusters are warm: listeners may start.
    open: bool,
    ready: bool,
    snapshot: Arc<Snapshot>,
    dirty: bool,
    connected: Gauge,
    settled_at: Instant,
    started_at: SystemTime,
}

/// A type of which everything is wanted.
struct Collection {
    source: Option<ConfigSource>,
    answered: bool,
    asked: bool,
    timeout: Option<std::time::Duration>,
    deadline: Option<Instant>,
    success: Counter,
    rejected: Counter,
    attempts: Counter,
}

impl Collection {
    fn new(configured: Option<&(ConfigSource, std::time::Duration)>, stats: &Stats, prefix: &str) -> Self {
        Self {
            source: configured.map(|(source, _)| source.clone()),
            answered: configured.is_none(),
            asked: false,
            timeout: configured.map(|(_, timeout)| *timeout).filter(|timeout| !timeout.is_zero()),
            deadline: None,
            success: stats.counter(&format!("{prefix}.update_success")),
            rejected: stats.counter(&format!("{prefix}.update_rejected")),
            attempts: stats.counter(&format!("{prefix}.update_attempt")),
        }
    }

    /// Starts asking, once.
    fn ask(&mut self, type_url: TypeUrl, now: Instant) -> Option<Want> {
        let source = self.source.clone().filter(|_| !self.asked)?;
        self.asked = true;
        self.deadline = self.timeout.and_then(|timeout| now.checked_add(timeout));
        Some(Want::All(type_url, source))
    }

    /// Answered, or no longer waited for.
    fn is_settled(&self, now: Instant) -> bool {
        self.answered || self.deadline.is_some_and(|deadline| now >= deadline)
    }

    fn pending_deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.answered)
    }

    fn count(&mut self, rejections: &[Rejection]) {
        self.attempts.inc();
        self.answered = true;
        if rejections.is_empty() { self.success.inc() } else { self.rejected.inc() }
    }
}

impl Core {
    /// Starts from a bootstrap whose static resources were proved right. `translator` must be the bootstrap's own.
    ///
    /// # Errors
    /// A static resource does not fit the others: an address occurs twice, a route names a cluster that is not there.
    pub(crate) fn new(
        bootstrap: Bootstrap,
        translator: Translator,
        deps: ClusterDeps,
        now: Now,
    ) -> Result<Self, Rejection> {
        let stats = deps.stats.clone();
        let mut core = Self {
            cds: Collection::new(bootstrap.cds.as_ref(), &stats, "cluster_manager.cds"),
            lds: Collection::new(bootstrap.lds.as_ref(), &stats, "listener_manager.lds"),
            translator,
            clusters: Clusters::new(&stats),
            listeners: Listeners::new(&stats),
            needs: Needs::default(),
            wants: Vec::new(),
            started: Vec::new(),
            open: false,
            ready: false,
            snapshot: Arc::default(),
            dirty: true,
            connected: stats.gauge("control_plane.connected_state"),
            settled_at: now.instant,
            started_at: now.wall,
            deps,
            bootstrap,
        };
        core.load_static(now)?;
        core.wants.extend(core.cds.ask(TypeUrl::CLUSTER, now.instant));
        core.settle(now);
        Ok(core)
    }

    fn load_static(&mut self, now: Now) -> Result<(), Rejection> {
        let raw = |resource: &StaticResource| Raw {
            name: resource.name.clone(),
            version: String::new(),
            any: resource.raw.clone(),
        };
        let clusters: Vec<Raw> = self.bootstrap.clusters.iter().map(raw).collect();
        let listeners: Vec<Raw> = self.bootstrap.listeners.iter().map(raw).collect();
        clusters.into_iter().try_for_each(|cluster| self.put_cluster(cluster, true, now))?;
        listeners.into_iter().try_for_each(|listener| self.put_listener(listener, true, now))
    }

    /// Takes over a change. What is refused is returned, and stays at its last good version; the rest is applied.
    pub(crate) fn told(&mut self, told: Told, now: Now) -> Vec<Rejection> {
        let mut rejections = Vec::new();
        match &told.type_url {
            url if *url == TypeUrl::CLUSTER => {
                self.told_clusters(told, now, &mut rejections);
                self.cds.count(&rejections);
            }
            url if *url == TypeUrl::LISTENER => {
                self.told_listeners(told, now, &mut rejections);
                self.lds.count(&rejections);
            }
            _ => self.told_needs(told, now, &mut rejections),
        }
        self.settle(now);
        rejections
    }

    /// Endpoints, routes and secrets: only those that something needs are looked at.
    fn told_needs(&mut self, told: Told, now: Now, rejections: &mut Vec<Rejection>) {
        for raw in told.added {
            if !self.needs.is_wanted(&told.type_url, &raw.name, &told.source) {
                continue;
            }
            match self.translate_need(&told.type_url, &told.source, &raw) {
                Ok(value) => self.arrived(&told.type_url, &told.source, raw, value, now),
                Err(mut rejection) => {
                    rejection.resource.clone_from(&raw.name);
                    let failure = failure(&rejection, &raw, now);
                    self.needs.refused(&told.type_url, &raw.name, &told.source, failure);
                    rejections.push(rejection);
                }
            }
        }
        for name in told.removed {
            // Endpoints that do not exist are known to be none. Routes and secrets keep what they were.
            self.needs.does_not_exist(&told.type_url, &name, &told.source);
            if told.type_url == TypeUrl::ENDPOINT {
                self.clusters.assign(&name, &told.source, &Arc::default());
            }
        }
    }

    fn translate_need(&self, type_url: &TypeUrl, source: &ConfigSource, raw: &Raw) -> Result<Arrived, Rejection> {
        if *type_url == TypeUrl::ENDPOINT {
            let assignment = self.translator.assignment(&raw.any)?;
            named(type_url, &raw.name, &assignment.name)?;
            return Ok(Arrived::Assignment(Arc::new(assignment)));
        }
        if *type_url == TypeUrl::ROUTE {
            let table = self.translator.routes(&raw.any)?;
            named(type_url, &raw.name, &table.name)?;
            if table.validate_clusters {
                self.clusters.all_known(&table).map_err(|error| reject(type_url, &raw.name, error))?;
            }
            return Ok(Arrived::Routes(Arc::new(Routes::compile(Arc::new(table)))));
        }
        if *type_url == TypeUrl::SECRET {
            let secret = self.translator.secret(&raw.any)?;
            named(type_url, &raw.name, &secret.name)?;
            let reference = SecretRef { name: raw.name.clone(), source: source.clone() };
            return Ok(Arrived::Secret(reference, Arc::new(secret)));
        }
        Err(reject(type_url, &raw.name, FieldError::new("", "this type is not carried")))
    }

    fn arrived(&mut self, type_url: &TypeUrl, source: &ConfigSource, raw: Raw, value: Arrived, now: Now) {
        match &value {
            Arrived::Assignment(assignment) => self.clusters.assign(&raw.name, source, assignment),
            Arrived::Routes(_) => self.dirty = true,
            Arrived::Secret(reference, secret) => self.deps.secrets.set(reference, secret.clone()),
        }
        self.needs.arrived(type_url, source, raw, value, now);
    }

    /// Whether a secret of this source is in use.
    pub(crate) fn wants_secret(&self, source: &ConfigSource, name: &str) -> bool {
        self.needs.is_wanted(&TypeUrl::SECRET, name, source)
    }

    /// A secret of this process.
    pub(crate) fn secret(&mut self, reference: &SecretRef, secret: Arc<Secret>, now: Now) {
        let raw = Raw { name: reference.name.clone(), version: String::new(), any: shown::secret(&secret) };
        let value = Arrived::Secret(reference.clone(), secret);
        self.arrived(&TypeUrl::SECRET, &reference.source.clone(), raw, value, now);
        self.settle(now);
    }

    /// Time has passed, or a cluster may have become ready.
    pub(crate) fn tick(&mut self, now: Now) {
        self.settle(now);
    }

    /// When [`tick`](Self::tick) is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let collections = [self.cds.pending_deadline(), self.lds.pending_deadline()];
        let needs = self.clusters.deadlines(&self.needs).chain(self.listeners.deadlines(&self.needs));
        // What has passed was looked at; what still waits beside it waits for something else.
        collections.into_iter().flatten().chain(needs).filter(|deadline| *deadline > self.settled_at).min()
    }

    /// Lets what is warm come into force.
    fn settle(&mut self, now: Now) {
        self.settled_at = now.instant;
        self.dirty |= self.clusters.promote(&mut self.needs, now.instant);
        if !self.open && self.cds.is_settled(now.instant) && self.clusters.warming_count() == 0 {
            self.open = true;
            self.wants.extend(self.lds.ask(TypeUrl::LISTENER, now.instant));
        }
        if self.open {
            self.dirty |= self.listeners.promote(&mut self.needs, now.instant);
            self.ready |= self.lds.is_settled(now.instant) && self.listeners.warming_count() == 0;
        }
        self.needs.sweep(&mut self.wants, &self.deps.secrets, now.instant);
        self.publish();
    }

    fn publish(&mut self) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        self.snapshot = Arc::new(Snapshot {
            listeners: Arc::new(self.listeners.active()),
            routes: Arc::new(self.needs.routes()),
            clusters: Arc::new(self.clusters.active()),
            version: self.snapshot.version + 1,
        });
    }

    /// The configuration in force.
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The first configuration is in force.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    /// What to ask for since the last call.
    pub(crate) fn take_wants(&mut self) -> Vec<Want> {
        std::mem::take(&mut self.wants)
    }

    /// Clusters that came up since the last call: to be maintained, with a [`tick`](Self::tick) when they are ready.
    pub(crate) fn take_started(&mut self) -> Vec<Arc<ClusterHandle>> {
        std::mem::take(&mut self.started)
    }

    /// A cluster by name, warm or not.
    pub(crate) fn cluster(&self, name: &str) -> Option<Arc<ClusterHandle>> {
        self.clusters.any(name)
    }

    /// Secrets in force, static ones first.
    pub(crate) fn secrets(&self) -> Vec<Arc<Secret>> {
        let fixed = self.bootstrap.secrets.iter().cloned().map(Arc::new);
        fixed.chain(self.deps.secrets.all().into_iter().map(|(_, secret)| secret)).collect()
    }

    /// Whether a cluster has what it needs to be used.
    pub(crate) fn is_warm(&self, name: &str) -> bool {
        self.clusters.is_warm(name)
    }

    /// The stream to the control plane is up, or not.
    pub(crate) fn set_connected(&self, connected: bool) {
        self.connected.set(u64::from(connected));
    }
}

/// What is kept of a refused version.
fn failure(rejection: &Rejection, raw: &Raw, now: Now) -> ResourceError {
    let is_secret = rejection.type_url == TypeUrl::SECRET;
    ResourceError {
        // A secret that was refused is not kept.
        config: (!is_secret).then(|| raw.any.clone()),
        version: raw.version.clone(),
        at: now.wall,
        details: rejection.to_string(),
    }
}

fn reject(type_url: &TypeUrl, name: &str, error: FieldError) -> Rejection {
    Rejection { type_url: type_url.clone(), resource: name.to_owned(), fields: vec![error] }
}

/// A resource must be what it was asked for as.
fn named(type_url: &TypeUrl, asked: &str, found: &str) -> Result<(), Rejection> {
    if asked == found {
        return Ok(());
    }
    Err(reject(type_url, asked, FieldError::new("", format!("the resource is named {found:?}"))))
}
