//! Load balancing: which host gets the next request.
//!
//! Two levels, as in Envoy:
//!
//! - `HostPicker` chooses a *group*: a priority by the health of its hosts (overprovisioning, failover, panic mode,
//!   degraded hosts) and, where localities are weighted, a locality.
//! - a [`LoadBalancer`] chooses within the group. One instance for each group and worker: no sharing, no locks.
//!
//! Chance comes from a seed that the owner gives, so that a test sees the same picks each time.

mod edf;
mod hash;
mod least_request;
mod picker;
mod priority;
mod random;
mod rng;
mod round_robin;

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;

use std::{fmt, net::SocketAddr, sync::Arc};

use crate::{cluster::Host, model::LbPolicy};

pub(crate) use picker::HostPicker;
pub use rng::Rng;

/// Chooses one host of a fixed group.
///
/// # Contract
///
/// - [`set_hosts`](Self::set_hosts) comes before the first [`pick`](Self::pick) and again with every change of the
///   group. Positions that `pick` returns are positions in the last slice.
/// - `pick` returns `None` only for an empty group. Every member is returned sooner or later (a policy by hash: for some
///   hash), in proportion to its weight if the policy knows weights.
/// - Neither blocks. `pick` is on the request path: it should not allocate.
/// - Instances are never shared between threads; what hosts are doing is read from
///   [`HostState`](crate::cluster::HostState).
///
/// `balancer::conformance` (feature `test-util`) checks an implementation.
pub trait LoadBalancer: fmt::Debug {
    /// Replaces the group.
    fn set_hosts(&mut self, members: &[Member]);

    /// The position of the host for this request.
    fn pick(&mut self, cx: &PickContext<'_>) -> Option<usize>;
}

/// A host in a group.
#[derive(Clone, Debug)]
pub struct Member {
    /// The host.
    pub host: Arc<Host>,
    /// Its weight relative to the others; more than zero. The host's own, times its locality's where hash policies weight
    /// localities.
    pub weight: f64,
}

/// What is known of the request that wants a host.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickContext<'a> {
    /// Hash for consistent hashing; `None` = any host will do.
    pub hash: Option<u64>,
    /// Hosts not to be picked again if there are others (`envoy.retry_host_predicates.previous_hosts`).
    pub exclude: &'a [Arc<Host>],
    /// How often another host is looked for instead of an excluded one (`host_selection_retry_max_attempts`).
    pub host_selection_retries: u32,
    /// Attempt of this selection, from 0; a policy by hash must give other hosts for other attempts. Set by the caller of
    /// [`LoadBalancer::pick`].
    pub attempt: u32,
    /// Destination that the client meant, for `ORIGINAL_DST` clusters.
    pub original_dst: Option<SocketAddr>,
}

/// No host could be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// The cluster has no host that may be used.
    #[error("no healthy upstream")]
    NoHealthyHost,
    /// An `ORIGINAL_DST` cluster was asked for a connection without an original destination.
    #[error("no original destination is known")]
    NoOriginalDestination,
}

/// The ready-made balancer of a policy. `seed` makes workers differ; equal seeds give equal picks.
#[must_use]
pub fn load_balancer(policy: &LbPolicy, seed: u64) -> Box<dyn LoadBalancer> {
    match policy {
        LbPolicy::RoundRobin => Box::new(round_robin::RoundRobin::new(seed)),
        LbPolicy::LeastRequest { choices } => Box::new(least_request::LeastRequest::new(*choices, seed)),
        // A cluster that provides its hosts itself picks none of a group.
        LbPolicy::Random | LbPolicy::ClusterProvided => Box::new(random::Random::new(seed)),
        LbPolicy::RingHash { min_size, max_size } => Box::new(hash::RingHash::new(*min_size, *max_size, seed)),
        LbPolicy::Maglev { table_size } => Box::new(hash::Maglev::new(*table_size, seed)),
    }
}
