//! Load reports (LRS): what clients tell of the requests they send.
//!
//! ```text
//! client ── node ──► authorised ──► asked: which clusters, how often ──► reports ──► LoadObserver
//! ```

mod service;
mod totals;

use std::{fmt, net::SocketAddr, time::Duration};

use mesh_xds_api::envoy::config::endpoint::v3::ClusterStats;
use tokio::sync::watch;

pub(super) use self::service::add;
pub use self::totals::{LoadTotal, LoadTotals};
use crate::Node;

/// What clients are asked to report (`envoy.service.load_stats.v3.LoadStatsResponse`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadSettings {
    /// Of which clusters. Default all.
    pub clusters: LoadClusters,
    /// How often. Default 60 s. gRPC clients do not go below 1 s.
    pub interval: Duration,
    /// Whether the endpoints of a cluster are told apart. Default no.
    pub per_endpoint: bool,
}

/// Clusters that reports are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadClusters {
    /// Every cluster the client has. Clients without the feature `envoy.lrs.supports_send_all_clusters` do not know how,
    /// and report nothing.
    All,
    /// Those of these names that the client has.
    Named(Vec<String>),
}

impl Default for LoadSettings {
    fn default() -> Self {
        Self { clusters: LoadClusters::All, interval: Duration::from_secs(60), per_endpoint: false }
    }
}

/// Who reports.
#[derive(Debug, Clone)]
pub struct LoadReporter {
    /// Numbers the streams of a server, those of resources included.
    pub id: u64,
    /// Who the client says it is.
    pub node: Node,
    /// Who it has proven to be.
    pub identity: Option<String>,
    /// Where it connects from.
    pub peer_addr: Option<SocketAddr>,
}

/// Takes load reports. A closure is one.
///
/// # Contract
/// Called from the stream's own task, in order, under no lock; calls of different streams come at the same time. It must
/// not block: it holds up that stream. Counts are of the time since the client's report before, as the client tells them:
/// nothing in them is proven. A report may be empty.
pub trait LoadObserver: Send + Sync + 'static {
    /// A client has reported.
    fn observe(&self, reporter: &LoadReporter, clusters: &[ClusterStats]);
}

/// Does nothing: reports are asked for and only counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLoadObserver;

impl LoadObserver for NoLoadObserver {
    fn observe(&self, _reporter: &LoadReporter, _clusters: &[ClusterStats]) {}
}

impl<F> LoadObserver for F
where
    F: Fn(&LoadReporter, &[ClusterStats]) + Send + Sync + 'static,
{
    fn observe(&self, reporter: &LoadReporter, clusters: &[ClusterStats]) {
        self(reporter, clusters);
    }
}

/// A load reporting service to be: what is asked for, and who is told.
#[must_use]
pub struct LoadReporting {
    observer: Box<dyn LoadObserver>,
    settings: watch::Receiver<LoadSettings>,
}

impl LoadReporting {
    /// Reports go to `observer`. [`LoadSettings::default`] is asked for.
    pub fn new(observer: impl LoadObserver) -> Self {
        Self { observer: Box::new(observer), settings: fixed(LoadSettings::default()) }
    }

    /// What is asked for.
    pub fn settings(mut self, settings: LoadSettings) -> Self {
        self.settings = fixed(settings);
        self
    }

    /// What is asked for, now and whenever it changes: clients that are connected are asked anew.
    pub fn follow(mut self, settings: watch::Receiver<LoadSettings>) -> Self {
        self.settings = settings;
        self
    }
}

impl fmt::Debug for LoadReporting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadReporting").field("settings", &self.settings.borrow()).finish_non_exhaustive()
    }
}

fn fixed(settings: LoadSettings) -> watch::Receiver<LoadSettings> {
    watch::channel(settings).1
}
