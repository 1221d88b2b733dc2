//! An observer of load reports that remembers.

use std::sync::Arc;

use mesh_xds_api::envoy::config::endpoint::v3::ClusterStats;
use parking_lot::Mutex;

use crate::server::{LoadObserver, LoadReporter};

/// Remembers every load report. Clones share the memory.
#[derive(Debug, Clone, Default)]
pub struct RecordingLoadObserver {
    reports: Arc<Mutex<Vec<Report>>>,
}

type Report = (LoadReporter, Vec<ClusterStats>);

impl RecordingLoadObserver {
    /// What was reported so far, oldest first.
    #[must_use]
    pub fn reports(&self) -> Vec<(LoadReporter, Vec<ClusterStats>)> {
        self.reports.lock().clone()
    }
}

impl LoadObserver for RecordingLoadObserver {
    fn observe(&self, reporter: &LoadReporter, clusters: &[ClusterStats]) {
        self.reports.lock().push((reporter.clone(), clusters.to_vec()));
    }
}
