//! Load by cluster, added up.

use std::{collections::BTreeMap, sync::Arc};

use mesh_xds_api::envoy::config::endpoint::v3::{ClusterStats, UpstreamLocalityStats};
use parking_lot::Mutex;

use super::{LoadObserver, LoadReporter};

/// Requests to one cluster, of all clients and since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadTotal {
    /// Sent.
    pub issued: u64,
    /// Answered well.
    pub successful: u64,
    /// Failed.
    pub errors: u64,
    /// Not sent: dropped by policy.
    pub dropped: u64,
}

/// An observer that adds up what is reported, by cluster. Clones share the sums.
#[derive(Debug, Clone)]
pub struct LoadTotals {
    sums: Arc<Mutex<BTreeMap<String, LoadTotal>>>,
    max_clusters: usize,
}

impl LoadTotals {
    /// The name under which clusters beyond the bound are added up.
    pub const OTHERS: &str = "(others)";

    /// Sums of at most `max_clusters` clusters; what comes later goes to [`LoadTotals::OTHERS`].
    #[must_use]
    pub fn new(max_clusters: usize) -> Self {
        Self { sums: Arc::default(), max_clusters }
    }

    /// The sums as of now, by name of cluster.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<String, LoadTotal> {
        self.sums.lock().clone()
    }
}

impl Default for LoadTotals {
    /// Of 10 000 clusters.
    fn default() -> Self {
        Self::new(10_000)
    }
}

impl LoadObserver for LoadTotals {
    fn observe(&self, _reporter: &LoadReporter, clusters: &[ClusterStats]) {
        let mut sums = self.sums.lock();
        for cluster in clusters {
            let name = &cluster.cluster_name;
            let known = sums.contains_key(name) || sums.len() < self.max_clusters;
            let name = if known { name.as_str() } else { Self::OTHERS };
            sums.entry(name.to_owned()).or_default().add(cluster);
        }
    }
}

impl LoadTotal {
    /// Numbers come from outside: they may be anything.
    fn add(&mut self, cluster: &ClusterStats) {
        let sum = |of: fn(&UpstreamLocalityStats) -> u64| {
            cluster.upstream_locality_stats.iter().map(of).fold(0, u64::saturating_add)
        };
        self.issued = self.issued.saturating_add(sum(|l| l.total_issued_requests));
        self.successful = self.successful.saturating_add(sum(|l| l.total_successful_requests));
        self.errors = self.errors.saturating_add(sum(|l| l.total_error_requests));
        self.dropped = self.dropped.saturating_add(cluster.total_dropped_requests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Node;

    #[test]
    fn bounded_and_without_overflow() {
        let totals = LoadTotals::new(2);
        let reporter = LoadReporter { id: 1, node: Node::default(), identity: None, peer_addr: None };
        let report = |name: &str, issued| ClusterStats {
            cluster_name: name.into(),
            upstream_locality_stats: vec![
                UpstreamLocalityStats { total_issued_requests: issued, ..Default::default() };
                2
            ],
            ..Default::default()
        };
        for (name, issued) in [("a", 1), ("b", 2), ("c", 3), ("d", u64::MAX), ("a", 5)] {
            totals.observe(&reporter, &[report(name, issued)]);
        }
        let issued: Vec<_> = totals.totals().into_iter().map(|(name, total)| (name, total.issued)).collect();
        assert_eq!(issued, [("(others)".into(), u64::MAX), ("a".into(), 12), ("b".into(), 4)]);
    }
}
