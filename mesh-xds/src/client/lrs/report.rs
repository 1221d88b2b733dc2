//! Counters into reports, and back if a report was not sent.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use mesh_xds_api::envoy::config::{
    core::v3::{Address, Locality, SocketAddress, address, socket_address::PortSpecifier},
    endpoint::v3::{ClusterStats, UpstreamEndpointStats, UpstreamLocalityStats, cluster_stats::DroppedRequests},
};

use super::{
    counters::{ClusterCounts, ClusterKey, Loads, LocalityCounts, LocalityKey, Requests},
    schedule::{Clusters, Wanted},
};

/// What is said of the load since the last report. What it holds is not counted any more.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) stats: Vec<ClusterStats>,
    /// The same, as it was counted.
    taken: Vec<(Arc<ClusterCounts>, Taken)>,
}

#[derive(Debug)]
struct Taken {
    since: Instant,
    dropped: u64,
    drops: Vec<(Arc<AtomicU64>, u64)>,
    requests: Vec<TakenRequests>,
}

#[derive(Debug)]
struct TakenRequests {
    locality: Arc<LocalityCounts>,
    /// `None`: of the locality as a whole.
    endpoint: Option<Arc<Requests>>,
    figures: Figures,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Figures {
    issued: u64,
    succeeded: u64,
    failed: u64,
    in_progress: u64,
}

impl Loads {
    /// Takes what was counted of the clusters that are wanted. A cluster asked for by name is in the report even if nothing
    /// happened.
    pub(super) fn take(&self, wanted: &Wanted, now: Instant) -> Report {
        self.forget_unused();
        let clusters: Vec<_> = self.clusters.lock().iter().map(|(k, c)| (k.clone(), c.clone())).collect();
        let mut report = Report { stats: Vec::new(), taken: Vec::new() };
        for (key, counts) in clusters {
            let by_name = match &wanted.clusters {
                Clusters::All => false,
                Clusters::Named(names) if names.contains(&key.name) => true,
                Clusters::Named(_) => continue,
            };
            let (stats, taken) = counts.take(&key, wanted.endpoints, now);
            let is_empty = stats.upstream_locality_stats.is_empty() && stats.total_dropped_requests == 0;
            if by_name || !is_empty {
                report.stats.push(stats);
            }
            report.taken.push((counts, taken));
        }
        report
    }

    /// Forgets what nobody holds and what has nothing to report.
    fn forget_unused(&self) {
        let mut freed = 0;
        self.clusters.lock().retain(|_, cluster| {
            cluster.localities.lock().retain(|_, locality| {
                locality.endpoints.lock().retain(|_, endpoint| keep(endpoint, Requests::is_zero, &mut freed));
                let is_zero = |l: &LocalityCounts| l.requests.is_zero() && l.endpoints.lock().is_empty();
                keep(locality, is_zero, &mut freed)
            });
            cluster.drops.lock().retain(|_, drops| keep(drops, |d| d.load(Relaxed) == 0, &mut freed));
            keep(cluster, ClusterCounts::is_zero, &mut freed)
        });
        self.budget.give_back(freed);
    }
}

fn keep<T>(entry: &Arc<T>, is_zero: impl Fn(&T) -> bool, freed: &mut usize) -> bool {
    // Nobody else holds it, and under the lock of its map nobody can come to.
    let unused = Arc::strong_count(entry) == 1 && is_zero(entry);
    *freed += usize::from(unused);
    !unused
}

impl Report {
    /// The report was not sent: counts again what it holds.
    pub(super) fn put_back(self) {
        for (counts, taken) in self.taken {
            let mut since = counts.since.lock();
            *since = (*since).min(taken.since);
            counts.dropped.fetch_add(taken.dropped, Relaxed);
            for (count, dropped) in taken.drops {
                count.fetch_add(dropped, Relaxed);
            }
            for TakenRequests { locality, endpoint, figures } in taken.requests {
                endpoint.as_deref().unwrap_or(&locality.requests).add(figures);
            }
        }
    }
}

impl ClusterCounts {
    fn is_zero(&self) -> bool {
        self.localities.lock().is_empty() && self.drops.lock().is_empty() && self.dropped.load(Relaxed) == 0
    }

    fn take(&self, key: &ClusterKey, endpoints: bool, now: Instant) -> (ClusterStats, Taken) {
        let since = std::mem::replace(&mut *self.since.lock(), now);
        let mut taken = Taken { since, dropped: self.dropped.swap(0, Relaxed), drops: vec![], requests: vec![] };
        let mut dropped_requests = Vec::new();
        for (category, count) in &*self.drops.lock() {
            let dropped_count = count.swap(0, Relaxed);
            if dropped_count > 0 {
                dropped_requests.push(DroppedRequests { category: category.clone(), dropped_count });
                taken.drops.push((count.clone(), dropped_count));
            }
        }
        let localities: BTreeMap<LocalityKey, Arc<LocalityCounts>> = self.localities.lock().clone();
        let stats = localities.iter().filter_map(|(key, counts)| locality_stats(key, counts, endpoints, &mut taken));
        let upstream_locality_stats = stats.collect();
        let categorised: u64 = dropped_requests.iter().map(|d| d.dropped_count).sum();
        let stats = ClusterStats {
            cluster_name: key.name.clone(),
            cluster_service_name: key.service.clone(),
            upstream_locality_stats,
            total_dropped_requests: categorised + taken.dropped,
            dropped_requests,
            load_report_interval: prost_types::Duration::try_from(now.saturating_duration_since(since)).ok(),
        };
        (stats, taken)
    }
}

fn locality_stats(
    key: &LocalityKey,
    counts: &Arc<LocalityCounts>,
    endpoints: bool,
    taken: &mut Taken,
) -> Option<UpstreamLocalityStats> {
    let mut upstream_endpoint_stats = Vec::new();
    for (address, requests) in &*counts.endpoints.lock() {
        // Taken also if it is not asked for: the next report is of the time after this one.
        let figures = requests.take();
        if !figures.is_zero() {
            let endpoint = Some(requests.clone());
            taken.requests.push(TakenRequests { locality: counts.clone(), endpoint, figures });
            if endpoints {
                upstream_endpoint_stats.push(endpoint_stats(*address, figures));
            }
        }
    }
    let figures = counts.requests.take();
    if figures.is_zero() {
        return None;
    }
    taken.requests.push(TakenRequests { locality: counts.clone(), endpoint: None, figures });
    let LocalityKey { priority, region, zone, sub_zone } = key.clone();
    Some(UpstreamLocalityStats {
        locality: Some(Locality { region, zone, sub_zone }),
        total_successful_requests: figures.succeeded,
        total_requests_in_progress: figures.in_progress,
        total_error_requests: figures.failed,
        total_issued_requests: figures.issued,
        upstream_endpoint_stats,
        priority,
        ..Default::default()
    })
}

fn endpoint_stats(address: SocketAddr, figures: Figures) -> UpstreamEndpointStats {
    let port_specifier = Some(PortSpecifier::PortValue(address.port().into()));
    let socket = SocketAddress { address: address.ip().to_string(), port_specifier, ..Default::default() };
    UpstreamEndpointStats {
        address: Some(Address { address: Some(address::Address::SocketAddress(socket)) }),
        total_successful_requests: figures.succeeded,
        total_requests_in_progress: figures.in_progress,
        total_error_requests: figures.failed,
        total_issued_requests: figures.issued,
        ..Default::default()
    }
}

impl Requests {
    fn is_zero(&self) -> bool {
        [&self.issued, &self.succeeded, &self.failed, &self.in_progress].iter().all(|n| n.load(Relaxed) == 0)
    }

    fn take(&self) -> Figures {
        Figures {
            succeeded: self.succeeded.swap(0, Relaxed),
            failed: self.failed.swap(0, Relaxed),
            issued: self.issued.swap(0, Relaxed),
            in_progress: self.in_progress.load(Relaxed),
        }
    }

    /// Those in progress were not taken.
    fn add(&self, figures: Figures) {
        self.succeeded.fetch_add(figures.succeeded, Relaxed);
        self.failed.fetch_add(figures.failed, Relaxed);
        self.issued.fetch_add(figures.issued, Relaxed);
    }
}

impl Figures {
    fn is_zero(self) -> bool {
        self == Self { issued: 0, succeeded: 0, failed: 0, in_progress: 0 }
    }
}
