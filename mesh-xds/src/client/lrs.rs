//! Load reports (LRS, `envoy.service.load_stats.v3.LoadReportingService`): what was sent to which cluster and locality, as a
//! management server wants to know it.
//!
//! ```no_run
//! # async fn run(node: mesh_xds_api::envoy::config::core::v3::Node) {
//! use mesh_xds::client::{TcpConnect, lrs::LoadReporter};
//! use mesh_xds_api::envoy::config::core::v3::Locality;
//!
//! let load = LoadReporter::builder(node, TcpConnect::new("127.0.0.1:15010")).spawn();
//! let zone = Locality { region: "eu".into(), zone: "eu-1".into(), ..Default::default() };
//! // Once for each cluster and locality:
//! let locality = load.cluster("reviews", None).locality(&zone, 0);
//! // Once for each request:
//! let call = locality.started();
//! call.finished(true);
//! # }
//! ```
//!
//! - The server says which clusters it wants to hear of and how often (`LoadStatsResponse`); before it has, nothing is
//!   sent. Counting goes on all the same.
//! - Counts are those since the last report that was handed to the transport; requests in progress are as they are. A lost
//!   stream loses no counts: they go with the first report of the next.
//! - Counting costs a few atomic additions. Handles can be cloned and kept; what nobody holds any more is forgotten once it
//!   has been reported.

mod counters;
mod driver;
mod report;
mod schedule;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use mesh_xds_api::envoy::config::core::v3::Node as NodeMessage;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::counters::Loads;
pub use self::{
    counters::{Call, ClusterLoad, Drops, EndpointLoad, LocalityLoad},
    driver::LoadDriver,
};
use super::{BackoffConfig, Connect, Connection, channel::ChannelConfig};

/// Says that the client understands `LoadStatsResponse.send_all_clusters`.
const SEND_ALL_CLUSTERS: &str = "envoy.lrs.supports_send_all_clusters";

/// What a reporter may be told besides its node and its transport.
#[derive(Debug, Clone)]
pub struct LoadReporterConfig {
    /// `:authority` of the requests. Default `xds`.
    pub authority: String,
    /// Waiting between attempts.
    pub backoff: BackoffConfig,
    /// How long an attempt to connect may take. Default 10 s.
    pub connect_timeout: Duration,
    /// HTTP/2 pings on a silent connection: how often, and the same again for the answer. Default 20 s.
    pub keepalive: Duration,
    /// Reports are not sent more often than this, whatever the server asks for. Default 1 s, as gRPC.
    pub min_interval: Duration,
    /// Clusters, localities, endpoints and drop categories that are counted at a time. What exceeds it is not reported; see
    /// [`LoadStatus::uncounted`]. Default 100 000.
    pub max_entries: usize,
}

impl Default for LoadReporterConfig {
    fn default() -> Self {
        Self {
            authority: "xds".into(),
            backoff: BackoffConfig::default(),
            connect_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(20),
            min_interval: Duration::from_secs(1),
            max_entries: 100_000,
        }
    }
}

/// The state of a reporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadStatus {
    /// The connection.
    pub connection: Connection,
    /// Streams opened so far.
    pub streams: u64,
    /// Attempts and streams that failed so far.
    pub failures: u64,
    /// Why the last one failed. Stays after a later success.
    pub last_error: Option<String>,
    /// Reports made so far.
    pub reports: u64,
    /// Clusters, localities, endpoints and categories that are not counted, for there are too many.
    pub uncounted: u64,
}

/// Reports load. Cheap to clone. The reporter ends with its last handle; what it counted last is then not sent.
#[derive(Debug, Clone)]
pub struct LoadReporter {
    loads: Loads,
    status: watch::Receiver<LoadStatus>,
    _handle: Arc<Handle>,
}

/// A reporter to be.
pub struct LoadReporterBuilder {
    node: NodeMessage,
    connect: Arc<dyn Connect>,
    config: LoadReporterConfig,
}

/// Ends the driver when the last one is dropped.
#[derive(Debug)]
struct Handle {
    stop: CancellationToken,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl LoadReporter {
    /// A reporter that introduces itself as `node` and reaches the server through `connect`.
    pub fn builder(node: NodeMessage, connect: impl Connect) -> LoadReporterBuilder {
        LoadReporterBuilder { node, connect: Arc::new(connect), config: LoadReporterConfig::default() }
    }

    /// The counters of a cluster, under the name its EDS service has if that is another (`cluster_service_name`).
    #[must_use]
    pub fn cluster(&self, name: &str, service: Option<&str>) -> ClusterLoad {
        self.loads.cluster(name, service, Instant::now())
    }

    /// The state, and its changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<LoadStatus> {
        self.status.clone()
    }
}

impl LoadReporterBuilder {
    /// Takes another configuration as a whole.
    #[must_use]
    pub fn config(mut self, config: LoadReporterConfig) -> Self {
        self.config = config;
        self
    }

    /// The reporter, and the future that makes it work.
    pub fn build(mut self) -> (LoadReporter, LoadDriver) {
        if !self.node.client_features.iter().any(|f| f == SEND_ALL_CLUSTERS) {
            self.node.client_features.push(SEND_ALL_CLUSTERS.to_owned());
        }
        let loads = Loads::new(self.config.max_entries);
        let (status, receiver) = watch::channel(LoadStatus::default());
        let stop = CancellationToken::new();
        let reporter =
            LoadReporter { loads: loads.clone(), status: receiver, _handle: Arc::new(Handle { stop: stop.clone() }) };
        (reporter, LoadDriver::new(self.node, self.connect, self.config, loads, status, stop))
    }

    /// The reporter, its future spawned on the current tokio runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`tokio::spawn`].
    #[must_use]
    pub fn spawn(self) -> LoadReporter {
        let (reporter, driver) = self.build();
        tokio::spawn(driver.run());
        reporter
    }
}

impl fmt::Debug for LoadReporterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadReporterBuilder")
            .field("node", &self.node.id)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl LoadReporterConfig {
    fn channel(&self) -> ChannelConfig {
        ChannelConfig {
            authority: self.authority.clone(),
            connect_timeout: self.connect_timeout,
            keepalive: self.keepalive,
        }
    }
}

impl Default for LoadStatus {
    fn default() -> Self {
        Self { connection: Connection::Connecting, streams: 0, failures: 0, last_error: None, reports: 0, uncounted: 0 }
    }
}

#[cfg(test)]
mod tests;
