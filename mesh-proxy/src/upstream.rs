//! Connections to hosts as one worker sees them: picking a host, circuit breakers, pools.
//!
//! ```text
//!   Upstreams ─▸ LocalCluster ─▸ HostPool (per host and protocol) ─▸ connections, each with its driver task
//!                   │ pick, admit_request, report                        H1: one request at a time, LIFO
//!                   ▼                                                    H2: many streams
//!              ClusterHandle (shared by all workers)
//! ```
//!
//! Nothing here crosses threads. A request that finds an open connection takes it without waiting or allocating.

mod body;
mod connection;
mod error;
mod http2;
mod local;
mod pool;
mod sender;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
mod tunnel;

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use body::UpstreamBody;
pub(crate) use error::{SendError, SendErrorKind};
pub(crate) use local::{LocalCluster, RequestPermit};
pub(crate) use sender::HttpSender;
pub(crate) use tunnel::HostTunnel;

pub(crate) use crate::dial::UpstreamStream;

use crate::cluster::ClusterHandle;

/// Longest time between two looks at idle connections.
const SWEEP: Duration = Duration::from_secs(1);

/// The clusters of one worker.
#[derive(Debug)]
pub(crate) struct Upstreams {
    seed: u64,
    clusters: RefCell<HashMap<Arc<str>, Rc<LocalCluster>>>,
}

impl Upstreams {
    /// No clusters yet. `seed` makes the picks of workers differ. Must be called within a `LocalSet`: a task that closes
    /// idle connections is spawned, which ends with the last handle.
    pub(crate) fn new(seed: u64) -> Rc<Self> {
        let this = Rc::new(Self { seed, clusters: RefCell::default() });
        tokio::task::spawn_local(Self::sweeps(Rc::downgrade(&this)));
        this
    }

    /// Takes over the clusters of a snapshot. Unchanged ones keep their pools; those of changed and removed ones finish
    /// what is under way and are closed.
    pub(crate) fn update(&self, clusters: &HashMap<Arc<str>, Arc<ClusterHandle>>) {
        let mut own = self.clusters.borrow_mut();
        own.retain(|name, local| {
            let keep = clusters.get(name).is_some_and(|handle| Arc::ptr_eq(handle, local.handle()));
            if !keep {
                local.close();
            }
            keep
        });
        for (name, handle) in clusters {
            own.entry(name.clone()).or_insert_with(|| {
                // Differs by cluster too, so that clusters with equal hosts are not picked from in step.
                let seed = self.seed ^ xxhash_rust::xxh64::xxh64(name.as_bytes(), 0);
                LocalCluster::new(handle.clone(), seed)
            });
        }
    }

    /// The cluster with this name.
    pub(crate) fn cluster(&self, name: &str) -> Option<Rc<LocalCluster>> {
        self.clusters.borrow().get(name).cloned()
    }

    async fn sweeps(this: Weak<Self>) {
        loop {
            let Some(period) = this.upgrade().map(|upstreams| upstreams.sweep(Instant::now())) else { return };
            tokio::time::sleep(period).await;
        }
    }

    /// Closes what was idle for too long; returns when to look again.
    fn sweep(&self, now: Instant) -> Duration {
        let clusters: Vec<_> = self.clusters.borrow().values().cloned().collect();
        let next = clusters.iter().filter_map(|cluster| cluster.sweep(now)).min();
        next.map_or(SWEEP, |idle| (idle / 2).clamp(Duration::from_millis(10), SWEEP))
    }
}
