//! Choices that a proxy is built from.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use super::{Proxy, ProxyError, ProxyHandle, handle::Inner};
use crate::{
    access_log::LogSinks,
    admin::ServerInfo,
    cluster::ClusterDeps,
    config::{Bootstrap, value::object},
    filter::FilterRegistry,
    istio::{DEFAULT_MAX_LABEL_SETS, IstioMetrics, NodeFacts},
    model::Address,
    stats::Stats,
    tls::{SecretSource, SecretStore},
    worker::{Command, Shared},
    xds,
};

/// Builds a [`Proxy`]. Made by [`Proxy::builder`].
pub struct ProxyBuilder {
    bootstrap: Bootstrap,
    concurrency: Option<usize>,
    filters: FilterRegistry,
    secret_sources: HashMap<String, Arc<dyn SecretSource>>,
    drain_time: Duration,
    shutdown_time: Duration,
    stats: Stats,
    node: Option<NodeFacts>,
}

impl ProxyBuilder {
    pub(super) fn new(bootstrap: Bootstrap) -> Self {
        Self {
            bootstrap,
            concurrency: None,
            filters: crate::filters::builtin(),
            secret_sources: HashMap::new(),
            drain_time: Duration::from_secs(600),
            shutdown_time: Duration::from_secs(10),
            stats: Stats::default(),
            node: None,
        }
    }

    /// Workers. Default: one for each core that this process may use; at least one.
    #[must_use]
    pub fn concurrency(mut self, workers: usize) -> Self {
        self.concurrency = Some(workers.max(1));
        self
    }

    /// Filters that configuration may name; the same ones that the bootstrap was read with. Default:
    /// [`filters::builtin`](crate::filters::builtin).
    #[must_use]
    pub fn filters(mut self, filters: FilterRegistry) -> Self {
        self.filters = filters;
        self
    }

    /// Secrets asked of the gRPC cluster `cluster` (`sds-grpc` in Istio's configuration) come from `source` instead, in
    /// this process.
    #[must_use]
    pub fn secret_source(mut self, cluster: impl Into<String>, source: Arc<dyn SecretSource>) -> Self {
        self.secret_sources.insert(cluster.into(), source);
        self
    }

    /// How long connections of a removed or changed listener may go on. Default 600 s, as Envoy's `--drain-time-s`.
    #[must_use]
    pub fn drain_time(mut self, time: Duration) -> Self {
        self.drain_time = time;
        self
    }

    /// How long what is under way may take to finish at the end. Default 10 s.
    #[must_use]
    pub fn shutdown_time(mut self, time: Duration) -> Self {
        self.shutdown_time = time;
        self
    }

    /// Where statistics go. Default: a registry of its own.
    #[must_use]
    pub fn stats(mut self, stats: Stats) -> Self {
        self.stats = stats;
        self
    }

    /// The workload's own facts in Istio's standard metrics. Default: what the node's metadata says.
    #[must_use]
    pub fn node(mut self, facts: NodeFacts) -> Self {
        self.node = Some(facts);
        self
    }

    /// Binds the administration interface and reads the static resources. Nothing is served before
    /// [`Proxy::run`].
    ///
    /// # Errors
    /// The address of the administration interface cannot be bound.
    pub fn build(self) -> Result<Proxy, ProxyError> {
        let concurrency =
            self.concurrency.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let node = self.bootstrap.node.clone();
        let facts = self.node.unwrap_or_else(|| {
            node.metadata.as_ref().map(|fields| NodeFacts::from_metadata(&object(fields))).unwrap_or_default()
        });
        let admin = self.bootstrap.admin.as_ref().map(bind_admin).transpose()?;
        let secrets = SecretStore::default();
        let deps = ClusterDeps { stats: self.stats.clone(), secrets: secrets.clone() };
        let translator = self.bootstrap.translator(self.filters, self.stats.clone());
        let static_clusters = self.bootstrap.clusters.iter().map(|c| c.name.clone()).collect();
        let static_listeners = self.bootstrap.listeners.iter().map(|l| l.name.clone()).collect();
        let (control, run) = xds::start(self.bootstrap, translator, deps, self.secret_sources)?;
        let istio = IstioMetrics::new(&self.stats, facts, DEFAULT_MAX_LABEL_SETS);
        let sinks = LogSinks::new(&self.stats);
        let shared = Shared::new(self.stats, sinks, secrets, Some(istio), self.drain_time);
        let inner = Inner {
            shared,
            commands: Arc::new(watch::channel(Command::Serve).0),
            live: watch::channel(false).0,
            quit: Notify::new(),
            admin: admin.as_ref().map(|(_, address)| address.clone()),
            control,
            static_clusters,
        };
        let info = ServerInfo {
            version: concat!("mesh-proxy/", env!("CARGO_PKG_VERSION")).into(),
            started: Instant::now(),
            concurrency,
            drain_time: self.drain_time,
            node,
        };
        Ok(Proxy {
            handle: ProxyHandle { inner: Arc::new(inner) },
            admin: admin.map(|(listener, _)| listener),
            control: Box::pin(run),
            info,
            static_listeners,
            shutdown_time: self.shutdown_time,
        })
    }
}

fn bind_admin(address: &Address) -> Result<(TcpListener, Address), ProxyError> {
    let failed = |source: io::Error| ProxyError::Admin { address: address.to_string(), source };
    let Address::Tcp(wanted) = address else {
        return Err(failed(io::Error::new(
            io::ErrorKind::Unsupported,
            "the admin address must be an IP address and port",
        )));
    };
    let listener = TcpListener::bind(wanted).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let bound: SocketAddr = listener.local_addr().map_err(failed)?;
    Ok((listener, Address::Tcp(bound)))
}
