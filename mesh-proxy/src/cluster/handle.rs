use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    Breakers, ClusterStats, EjectionCause, Host, HostSet, Outcome, SocketIndex, dns, hosts::Resolved,
    outlier::room_for_ejection,
};
use crate::{
    model::{Address, Assignment, Cluster, ClusterKind, HealthStatus, UpstreamSocket},
    stats::Stats,
    tls::{ClientTlsHandle, SecretStore, TlsStats},
};

/// Most destinations remembered by an `ORIGINAL_DST` cluster.
const MAX_ORIGINAL_HOSTS: usize = 4096;

/// What clusters are built with.
#[derive(Clone, Debug, Default)]
pub struct ClusterDeps {
    /// Where statistics go.
    pub stats: Stats,
    /// Certificates and roots by SDS.
    pub secrets: SecretStore,
}

/// A cluster at run time, shared by all workers and the control thread.
///
/// The control thread feeds it ([`set_assignment`](Self::set_assignment), [`maintain`](Self::maintain)); workers read
/// [`hosts`](Self::hosts) and tell outcomes ([`report`](Self::report)).
#[derive(Debug)]
pub struct ClusterHandle {
    config: Arc<Cluster>,
    deps: ClusterDeps,
    stats: Arc<ClusterStats>,
    breakers: Arc<Breakers>,
    hosts: ArcSwap<HostSet>,
    generation: AtomicU64,
    control: Mutex<Control>,
    originals: Mutex<HashMap<SocketAddr, Arc<Host>>>,
    tls: Option<ClientTlsHandle>,
    match_tls: Vec<Option<ClientTlsHandle>>,
    tls_stats: Option<Arc<TlsStats>>,
    ready: watch::Sender<bool>,
}

/// What only the control side touches.
#[derive(Debug, Default)]
struct Control {
    assignment: Option<Arc<Assignment>>,
    resolved: Resolved,
}

impl ClusterHandle {
    /// A cluster without history. One with static endpoints has its hosts at once.
    #[must_use]
    pub fn new(config: Arc<Cluster>, deps: &ClusterDeps) -> Arc<Self> {
        Self::build(config, deps, Control::default(), None)
    }

    /// The successor of `old` under a changed configuration. Hosts with equal address and transport keep their state
    /// (ejection, counters); the last assignment and the resolved addresses are taken over.
    #[must_use]
    pub fn updated_from(old: &Arc<Self>, config: Arc<Cluster>) -> Arc<Self> {
        let (assignment, resolved) = {
            let control = old.control.lock();
            (control.assignment.clone(), control.resolved.clone())
        };
        let same_source = match (&old.config.kind, &config.kind) {
            (ClusterKind::Eds { service_name: a, .. }, ClusterKind::Eds { service_name: b, .. }) => a == b,
            _ => false,
        };
        let assignment = if same_source { assignment } else { None };
        Self::build(config, &old.deps, Control { assignment, resolved }, Some(&old.hosts()))
    }

    fn build(config: Arc<Cluster>, deps: &ClusterDeps, mut control: Control, old: Option<&HostSet>) -> Arc<Self> {
        let handle_of = |socket: &UpstreamSocket| socket.tls().map(|tls| ClientTlsHandle::new(tls, &deps.secrets));
        let tls = handle_of(&config.socket);
        let match_tls: Vec<_> = config.socket_matches.iter().map(|m| handle_of(&m.socket)).collect();
        let uses_tls = tls.is_some() || match_tls.iter().any(Option::is_some);
        let ssl = || Arc::new(TlsStats::new(&deps.stats, &format!("cluster.{}.ssl.", config.stat_name)));
        if let Some(endpoints) = static_endpoints(&config.kind) {
            control.assignment = Some(endpoints.clone());
        }
        let this = Arc::new(Self {
            stats: Arc::new(ClusterStats::new(&deps.stats, &config.stat_name)),
            breakers: Breakers::new(&config.circuit_breakers, &deps.stats, &config.stat_name),
            hosts: ArcSwap::from_pointee(HostSet::default()),
            generation: AtomicU64::new(0),
            originals: Mutex::default(),
            tls_stats: uses_tls.then(ssl),
            tls,
            match_tls,
            ready: watch::Sender::new(false),
            deps: deps.clone(),
            control: Mutex::default(),
            config,
        });
        let resolved_before = !control.resolved.is_empty();
        this.rebuild(&control, old);
        let ready = match &this.config.kind {
            ClusterKind::Static(_) | ClusterKind::OriginalDst { .. } => true,
            ClusterKind::Eds { .. } => control.assignment.is_some(),
            ClusterKind::StrictDns { endpoints, .. } | ClusterKind::LogicalDns { endpoints, .. } => {
                resolved_before || dns::names(endpoints).is_empty()
            }
        };
        *this.control.lock() = control;
        this.ready.send_replace(ready);
        this
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Arc<Cluster> {
        &self.config
    }

    /// Its hosts at this moment.
    #[must_use]
    pub fn hosts(&self) -> Arc<HostSet> {
        self.hosts.load_full()
    }

    /// Changes with every change of the hosts or of their health.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// Its statistics.
    #[must_use]
    pub fn stats(&self) -> &Arc<ClusterStats> {
        &self.stats
    }

    /// Its circuit breakers.
    #[must_use]
    pub fn breakers(&self) -> &Arc<Breakers> {
        &self.breakers
    }

    /// True once its hosts are known: static at once, by EDS after the first assignment, by DNS after the first answer
    /// (a failed one too, as in Envoy).
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// TLS toward hosts with this transport; `None` = plaintext.
    pub(crate) fn tls(&self, socket: SocketIndex) -> Option<&ClientTlsHandle> {
        match socket {
            SocketIndex::Default => self.tls.as_ref(),
            SocketIndex::Match(i) => self.match_tls.get(i).and_then(Option::as_ref),
        }
    }

    /// Where TLS outcomes are counted; `None` for a cluster that only speaks plaintext.
    pub(crate) fn tls_stats(&self) -> Option<&Arc<TlsStats>> {
        self.tls_stats.as_ref()
    }

    /// Takes over the endpoints that EDS told.
    pub fn set_assignment(&self, assignment: &Arc<Assignment>) {
        let mut control = self.control.lock();
        control.assignment = Some(assignment.clone());
        self.rebuild(&control, Some(&self.hosts()));
        drop(control);
        self.ready.send_replace(true);
    }

    /// Takes over what names were resolved to. Names that could not be resolved keep their last good addresses.
    pub(super) fn set_resolved(&self, answers: Vec<dns::Answer>) {
        let mut control = self.control.lock();
        if dns::merge(&mut control.resolved, answers) {
            self.rebuild(&control, Some(&self.hosts()));
        }
        drop(control);
        self.ready.send_replace(true);
    }

    /// Makes a new host set from the assignment and the resolved names.
    fn rebuild(&self, control: &Control, old: Option<&HostSet>) {
        let Some(assignment) = &control.assignment else {
            return self.publish_membership();
        };
        let resolved = match &self.config.kind {
            ClusterKind::LogicalDns { .. } => None,
            _ => Some(&control.resolved),
        };
        let hosts = HostSet::build(&self.config, assignment, old, resolved);
        for host in hosts.all() {
            if let Address::Name(name, port) = &host.address {
                let first = control.resolved.get(&(name.clone(), *port)).and_then(|found| found.first());
                host.state.resolved.store(first.copied().map(Arc::new));
            }
        }
        if self.config.outlier.is_none() {
            // Taken over from a configuration that ejected: nobody would let them return.
            for host in hosts.all().filter(|host| host.state.is_ejected()) {
                host.state.ejection.lock().release(Instant::now());
                host.state.ejected.store(false, Relaxed);
            }
        }
        self.stats.membership_change.inc();
        self.hosts.store(Arc::new(hosts));
        self.publish_membership();
    }

    /// Tells workers and gauges that hosts or their health changed.
    fn publish_membership(&self) {
        self.generation.fetch_add(1, Release);
        let hosts = self.hosts.load();
        let count = |health| hosts.count(health) as u64;
        self.stats.membership_total.set(hosts.len() as u64);
        self.stats.membership_healthy.set(count(HealthStatus::Healthy));
        self.stats.membership_degraded.set(count(HealthStatus::Degraded));
        self.stats.max_host_weight.set(hosts.all().map(|h| u64::from(h.weight)).max().unwrap_or(0));
        self.stats.ejections_active.set(hosts.all().filter(|h| h.state.is_ejected()).count() as u64);
    }

    /// Tells how a request or connection to `host` ended. May eject the host. `random` is for the jitter of the
    /// ejection time.
    pub fn report(&self, host: &Host, outcome: Outcome, now: Instant, random: u64) {
        self.count(host, outcome);
        self.observe(host, outcome, now, random);
    }

    /// Counts an outcome with the host.
    pub(crate) fn count(&self, host: &Host, outcome: Outcome) {
        let state = &host.state;
        match outcome {
            Outcome::Connected => return,
            Outcome::Status(status) if status < 500 => &state.rq_success,
            Outcome::Timeout => {
                state.rq_timeout.fetch_add(1, Relaxed);
                &state.rq_error
            }
            _ => &state.rq_error,
        }
        .fetch_add(1, Relaxed);
    }

    fn observe(&self, host: &Host, outcome: Outcome, now: Instant, random: u64) {
        let Some(config) = &self.config.outlier else { return };
        if let Some(cause) = host.state.monitor.observe(outcome, config)
            && !host.state.is_ejected()
        {
            self.eject(host, cause, now, random);
        }
    }

    fn eject(&self, host: &Host, cause: EjectionCause, now: Instant, random: u64) {
        let Some(config) = &self.config.outlier else { return };
        self.stats.detected(cause);
        // Ejections are decided one at a time, so that workers cannot pass the cap together.
        let control = self.control.lock();
        let hosts = self.hosts();
        let ejected = hosts.all().filter(|h| h.state.is_ejected()).count();
        if !room_for_ejection(ejected, hosts.len(), config) {
            self.stats.ejections_overflow.inc();
            return;
        }
        let jitter_ms = config.max_ejection_time_jitter.as_millis() as u64;
        let jitter = Duration::from_millis(if jitter_ms == 0 { 0 } else { random % (jitter_ms + 1) });
        if host.state.ejection.lock().eject(config, now, jitter) {
            host.state.ejected.store(true, Relaxed);
            self.stats.ejected(cause);
            self.publish_membership();
            tracing::info!(cluster = %self.config.name, host = %host.name, ?cause, "host ejected");
        }
        drop(control);
    }

    /// Lets ejected hosts return whose time is over, and forgets unused original destinations. To be called every
    /// [`OutlierDetection::interval`](crate::model::OutlierDetection); [`maintain`](Self::maintain) does.
    pub fn sweep(&self, now: Instant) {
        if let Some(config) = &self.config.outlier {
            let _one_at_a_time = self.control.lock();
            let mut changed = false;
            for host in self.hosts().all() {
                if host.state.ejection.lock().sweep(config, now) {
                    host.state.monitor.reset();
                    host.state.ejected.store(false, Relaxed);
                    changed = true;
                    tracing::info!(cluster = %self.config.name, host = %host.name, "ejected host returns");
                }
            }
            if changed {
                self.publish_membership();
            }
        }
        let in_use = |host: &Arc<Host>| {
            host.state.rq_active.load(Relaxed) > 0
                || host.state.cx_active.load(Relaxed) > 0
                || Arc::strong_count(host) > 1
        };
        self.originals.lock().retain(|_, host| in_use(host));
    }

    /// Host for an original destination, made on first use. `None` when too many are in use.
    pub(crate) fn original(&self, destination: SocketAddr) -> Option<Arc<Host>> {
        let mut originals = self.originals.lock();
        if let Some(host) = originals.get(&destination) {
            return Some(host.clone());
        }
        if originals.len() >= MAX_ORIGINAL_HOSTS {
            return None;
        }
        let host = Arc::new(Host::standalone(Address::Tcp(destination), SocketIndex::Default));
        originals.insert(destination, host.clone());
        Some(host)
    }

    /// Every host that the cluster knows, original destinations included, for the admin API.
    #[must_use]
    pub fn known_hosts(&self) -> Vec<Arc<Host>> {
        let mut hosts: Vec<_> = self.hosts().all().cloned().collect();
        hosts.extend(self.originals.lock().values().cloned());
        hosts
    }
}

fn static_endpoints(kind: &ClusterKind) -> Option<&Arc<Assignment>> {
    match kind {
        ClusterKind::Static(endpoints)
        | ClusterKind::StrictDns { endpoints, .. }
        | ClusterKind::LogicalDns { endpoints, .. } => Some(endpoints),
        ClusterKind::Eds { .. } | ClusterKind::OriginalDst { .. } => None,
    }
}
