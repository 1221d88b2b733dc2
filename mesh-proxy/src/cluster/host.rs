use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::outlier::{EjectionRecord, Monitor};
use crate::model::{Address, Cluster, Endpoint, HealthStatus, Locality, Metadata, UpstreamSocket};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// One upstream host as the current configuration describes it.
///
/// Immutable; a change of weight, health or metadata makes a new `Host` that shares its [`HostState`] with the old one.
#[derive(Debug)]
pub struct Host {
    /// Where it is.
    pub address: Address,
    /// [`Host::address`] as text, for logs.
    pub name: Arc<str>,
    /// Name told for it; empty if none.
    pub hostname: String,
    /// Relative weight, at least 1.
    pub weight: u32,
    /// Health told by the control plane.
    pub health: HealthStatus,
    /// Filter metadata.
    pub metadata: Metadata,
    /// Where it stands.
    pub locality: Arc<Locality>,
    /// 0 is preferred.
    pub priority: u32,
    /// Its transport.
    pub socket: SocketIndex,
    /// What outlives configuration updates.
    pub state: Arc<HostState>,
}

/// Which transport of a cluster a host uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketIndex {
    /// `Cluster.transport_socket`.
    Default,
    /// This entry of `Cluster.transport_socket_matches`.
    Match(usize),
}

impl SocketIndex {
    /// The transport of a host with this `envoy.transport_socket_match` metadata: the first entry whose criteria all
    /// hold, else the default.
    #[must_use]
    pub fn choose(cluster: &Cluster, metadata: &Metadata) -> Self {
        let own = metadata.get("envoy.transport_socket_match").and_then(|v| v.as_object());
        let holds = |criteria: &serde_json::Map<String, serde_json::Value>| {
            criteria.iter().all(|(key, value)| own.and_then(|own| own.get(key)) == Some(value))
        };
        cluster.socket_matches.iter().position(|m| holds(&m.criteria)).map_or(SocketIndex::Default, SocketIndex::Match)
    }

    /// The transport itself.
    #[must_use]
    pub fn of(self, cluster: &Cluster) -> &UpstreamSocket {
        match self {
            SocketIndex::Default => &cluster.socket,
            SocketIndex::Match(i) => cluster.socket_matches.get(i).map_or(&cluster.socket, |m| &m.socket),
        }
    }
}

impl Host {
    pub(super) fn new(
        endpoint: &Endpoint,
        address: Address,
        locality: Arc<Locality>,
        priority: u32,
        socket: SocketIndex,
        state: Arc<HostState>,
    ) -> Self {
        Self {
            name: address.to_string().into(),
            address,
            hostname: match &endpoint.address {
                // A host found by a name answers to it.
                Address::Name(name, _) if endpoint.hostname.is_empty() => name.clone(),
                _ => endpoint.hostname.clone(),
            },
            weight: endpoint.weight.max(1),
            health: endpoint.health,
            metadata: endpoint.metadata.clone(),
            locality,
            priority,
            socket,
            state,
        }
    }

    /// A host of its own, for tests and for original destinations.
    #[must_use]
    pub fn standalone(address: Address, socket: SocketIndex) -> Self {
        let endpoint = Endpoint {
            address: address.clone(),
            hostname: String::new(),
            weight: 1,
            health: HealthStatus::Healthy,
            metadata: Metadata::default(),
        };
        Self::new(&endpoint, address, Arc::default(), 0, socket, HostState::new())
    }

    /// Health that the load balancer goes by: the control plane's, unless the host is ejected.
    #[must_use]
    pub fn effective_health(&self) -> HealthStatus {
        if self.state.is_ejected() { HealthStatus::Unhealthy } else { self.health }
    }

    /// Where to connect now. `None` while a logical DNS name is unresolved.
    #[must_use]
    pub fn dial_address(&self) -> Option<Address> {
        match &self.address {
            Address::Name(..) => self.state.resolved.load().as_deref().copied().map(Address::Tcp),
            other => Some(other.clone()),
        }
    }
}

/// What is known of a host for as long as it stays in its cluster. Shared by all workers.
#[derive(Debug)]
pub struct HostState {
    id: u64,
    pub(super) ejected: AtomicBool,
    pub(super) monitor: Monitor,
    pub(super) ejection: Mutex<EjectionRecord>,
    pub(super) resolved: ArcSwapOption<SocketAddr>,
    /// Requests under way.
    pub rq_active: AtomicU32,
    /// Requests sent.
    pub rq_total: AtomicU64,
    /// Responses other than 5xx.
    pub rq_success: AtomicU64,
    /// 5xx responses and local failures.
    pub rq_error: AtomicU64,
    /// Requests that timed out.
    pub rq_timeout: AtomicU64,
    /// Open connections.
    pub cx_active: AtomicU32,
    /// Connections opened.
    pub cx_total: AtomicU64,
    /// Connections that could not be opened.
    pub cx_connect_fail: AtomicU64,
}

impl HostState {
    /// Of a host never seen before.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            ejected: AtomicBool::new(false),
            monitor: Monitor::default(),
            ejection: Mutex::default(),
            resolved: ArcSwapOption::empty(),
            rq_active: AtomicU32::new(0),
            rq_total: AtomicU64::new(0),
            rq_success: AtomicU64::new(0),
            rq_error: AtomicU64::new(0),
            rq_timeout: AtomicU64::new(0),
            cx_active: AtomicU32::new(0),
            cx_total: AtomicU64::new(0),
            cx_connect_fail: AtomicU64::new(0),
        })
    }

    /// Unique in this process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Outlier detection took it out.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn eject_for_test(&self, ejected: bool) {
        self.ejected.store(ejected, Relaxed);
    }

    /// Requests under way.
    #[must_use]
    pub fn active_requests(&self) -> u32 {
        self.rq_active.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logical_names_have_an_address_only_once_resolved() {
        let host = Host::standalone(Address::Name("db".into(), 80), SocketIndex::Default);
        assert_eq!(host.dial_address(), None);
        let addr: SocketAddr = "127.0.0.1:80".parse().unwrap();
        host.state.resolved.store(Some(Arc::new(addr)));
        assert_eq!(host.dial_address(), Some(Address::Tcp(addr)));
    }
}
