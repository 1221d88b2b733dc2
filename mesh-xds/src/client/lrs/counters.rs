//! Counters, by cluster, locality, endpoint and category.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use mesh_xds_api::envoy::config::core::v3::Locality;
use parking_lot::Mutex;

/// Every cluster that is counted. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Loads {
    pub(super) clusters: Arc<Mutex<BTreeMap<ClusterKey, Arc<ClusterCounts>>>>,
    pub(super) budget: Arc<Budget>,
}

/// How much may be counted at a time.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    used: AtomicUsize,
    refused: AtomicU64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClusterKey {
    pub(super) name: String,
    /// May be empty.
    pub(super) service: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LocalityKey {
    pub(super) priority: u32,
    pub(super) region: String,
    pub(super) zone: String,
    pub(super) sub_zone: String,
}

#[derive(Debug)]
pub(super) struct ClusterCounts {
    pub(super) localities: Mutex<BTreeMap<LocalityKey, Arc<LocalityCounts>>>,
    /// By category.
    pub(super) drops: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    /// Without one.
    pub(super) dropped: AtomicU64,
    /// When the last report was made, or counting began.
    pub(super) since: Mutex<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct LocalityCounts {
    pub(super) requests: Requests,
    pub(super) endpoints: Mutex<BTreeMap<SocketAddr, Arc<Requests>>>,
}

/// Requests: those in progress, and others since the last report.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) issued: AtomicU64,
    pub(super) succeeded: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) in_progress: AtomicU64,
}

/// The load of a cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClusterLoad {
    counts: Arc<ClusterCounts>,
    budget: Arc<Budget>,
}

/// The load of one locality of a cluster, at one priority. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LocalityLoad {
    counts: Arc<LocalityCounts>,
    budget: Arc<Budget>,
}

/// The load of one endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EndpointLoad {
    locality: Arc<LocalityCounts>,
    counts: Arc<Requests>,
}

/// Requests of a cluster that were dropped for one reason. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Drops {
    count: Arc<AtomicU64>,
}

/// A request in progress. Dropping it counts it as failed.
#[derive(Debug)]
#[must_use = "a request that is dropped at once counts as failed"]
pub struct Call {
    locality: Arc<LocalityCounts>,
    endpoint: Option<Arc<Requests>>,
    succeeded: bool,
}

impl Loads {
    pub(super) fn new(limit: usize) -> Self {
        let budget = Budget { limit, used: AtomicUsize::new(0), refused: AtomicU64::new(0) };
        Self { clusters: Arc::default(), budget: Arc::new(budget) }
    }

    pub(super) fn cluster(&self, name: &str, service: Option<&str>, now: Instant) -> ClusterLoad {
        let key = ClusterKey { name: name.to_owned(), service: service.unwrap_or_default().to_owned() };
        let counts = entry(&self.clusters, &self.budget, key, || ClusterCounts::new(now));
        ClusterLoad { counts, budget: self.budget.clone() }
    }

    /// Entries that were not to be had.
    pub(super) fn uncounted(&self) -> u64 {
        self.budget.refused.load(Relaxed)
    }
}

/// The entry under `key`. One that exceeds the budget counts for nobody.
fn entry<K: Ord, V>(map: &Mutex<BTreeMap<K, Arc<V>>>, budget: &Budget, key: K, make: impl FnOnce() -> V) -> Arc<V> {
    let mut map = map.lock();
    if let Some(known) = map.get(&key) {
        return known.clone();
    }
    let made = Arc::new(make());
    if budget.take() {
        map.insert(key, made.clone());
    }
    made
}

impl Budget {
    fn take(&self) -> bool {
        let taken = self.used.fetch_update(Relaxed, Relaxed, |used| (used < self.limit).then_some(used + 1)).is_ok();
        if !taken {
            self.refused.fetch_add(1, Relaxed);
        }
        taken
    }

    pub(super) fn give_back(&self, entries: usize) {
        self.used.fetch_sub(entries, Relaxed);
    }
}

impl ClusterCounts {
    fn new(now: Instant) -> Self {
        Self {
            localities: Mutex::default(),
            drops: Mutex::default(),
            dropped: AtomicU64::new(0),
            since: Mutex::new(now),
        }
    }
}

impl ClusterLoad {
    /// The counters of a locality, at the priority its endpoints have in the load assignment.
    #[must_use]
    pub fn locality(&self, locality: &Locality, priority: u32) -> LocalityLoad {
        let Locality { region, zone, sub_zone } = locality.clone();
        let key = LocalityKey { priority, region, zone, sub_zone };
        let counts = entry(&self.counts.localities, &self.budget, key, LocalityCounts::default);
        LocalityLoad { counts, budget: self.budget.clone() }
    }

    /// The counter of requests that were dropped for `category`, as the drop policies of the load assignment name it.
    #[must_use]
    pub fn drops(&self, category: &str) -> Drops {
        let count = entry(&self.counts.drops, &self.budget, category.to_owned(), AtomicU64::default);
        Drops { count }
    }

    /// Counts a request that was dropped for another reason, circuit breaking for one.
    pub fn dropped(&self) {
        self.counts.dropped.fetch_add(1, Relaxed);
    }
}

impl LocalityLoad {
    /// Counts a request that goes to this locality.
    pub fn started(&self) -> Call {
        Call::start(self.counts.clone(), None)
    }

    /// The counters of one endpoint of the locality. They are reported if the server asks for that granularity; what they
    /// count is counted for the locality as well.
    #[must_use]
    pub fn endpoint(&self, address: SocketAddr) -> EndpointLoad {
        let counts = entry(&self.counts.endpoints, &self.budget, address, Requests::default);
        EndpointLoad { locality: self.counts.clone(), counts }
    }
}

impl EndpointLoad {
    /// Counts a request that goes to this endpoint, and to its locality.
    pub fn started(&self) -> Call {
        Call::start(self.locality.clone(), Some(self.counts.clone()))
    }
}

impl Drops {
    /// Counts one request.
    pub fn add(&self) {
        self.count.fetch_add(1, Relaxed);
    }
}

impl Call {
    fn start(locality: Arc<LocalityCounts>, endpoint: Option<Arc<Requests>>) -> Self {
        let call = Self { locality, endpoint, succeeded: false };
        call.each(|requests| {
            requests.issued.fetch_add(1, Relaxed);
            requests.in_progress.fetch_add(1, Relaxed);
        });
        call
    }

    /// The request has ended.
    pub fn finished(mut self, success: bool) {
        self.succeeded = success;
    }

    fn each(&self, count: impl Fn(&Requests)) {
        count(&self.locality.requests);
        self.endpoint.as_deref().into_iter().for_each(count);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.each(|requests| {
            requests.in_progress.fetch_sub(1, Relaxed);
            let ended = if self.succeeded { &requests.succeeded } else { &requests.failed };
            ended.fetch_add(1, Relaxed);
        });
    }
}
