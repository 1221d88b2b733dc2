use std::{collections::HashMap, net::SocketAddr, ops::Range, sync::Arc};

use super::{Host, HostState, SocketIndex};
use crate::model::{Address, Assignment, Cluster, Endpoint, HealthStatus, Locality};

/// The hosts of a cluster at one moment. Immutable.
#[derive(Debug, Default)]
pub struct HostSet {
    /// By priority, 0 first. Never has a gap: a priority without endpoints is an empty group.
    pub priorities: Vec<PriorityGroup>,
    /// Percent by which healthy hosts may be overloaded before traffic spills to the next priority. Default 140.
    pub overprovisioning_factor: u32,
}

/// Hosts of one priority.
#[derive(Debug, Default)]
pub struct PriorityGroup {
    /// All of them, hosts of a locality next to each other.
    pub hosts: Vec<Arc<Host>>,
    /// The localities, as ranges of `hosts`.
    pub localities: Vec<LocalityGroup>,
}

/// Hosts of one locality within a priority.
#[derive(Debug)]
pub struct LocalityGroup {
    /// Which.
    pub locality: Arc<Locality>,
    /// Its share among the localities of the priority; `None` = not told, counts as zero when localities are weighted.
    pub weight: Option<u32>,
    /// Positions in [`PriorityGroup::hosts`].
    pub range: Range<usize>,
}

/// Addresses of names, as far as they are resolved.
pub(super) type Resolved = HashMap<(String, u16), Vec<SocketAddr>>;

/// What makes two descriptions the same host: equal address and transport.
type Key = (Address, SocketIndex);

impl HostSet {
    /// The hosts of `assignment`. Known hosts of `old` keep their [`HostState`]. With `resolved`, every address of a
    /// name is a host of its own (strict DNS); without, the name itself is (logical DNS).
    pub(super) fn build(
        cluster: &Cluster,
        assignment: &Assignment,
        old: Option<&HostSet>,
        resolved: Option<&Resolved>,
    ) -> Self {
        let mut states: HashMap<Key, Arc<HostState>> =
            old.into_iter().flat_map(HostSet::all).map(|h| ((h.address.clone(), h.socket), h.state.clone())).collect();
        let count = assignment.localities.iter().map(|l| l.priority as usize + 1).max().unwrap_or(0);
        // A priority is at most 128 by the API; a wild value must not allocate.
        let count = count.min(129);
        let mut priorities: Vec<PriorityGroup> = std::iter::repeat_with(PriorityGroup::default).take(count).collect();
        for group in &assignment.localities {
            let Some(target) = priorities.get_mut(group.priority as usize) else { continue };
            let locality = Arc::new(group.locality.clone());
            let start = target.hosts.len();
            for endpoint in &group.endpoints {
                let socket = SocketIndex::choose(cluster, &endpoint.metadata);
                for address in addresses(endpoint, resolved) {
                    if target.hosts[start..].iter().any(|h| h.address == address && h.socket == socket)
                        && resolved.is_some()
                    {
                        continue;
                    }
                    let state = states.entry((address.clone(), socket)).or_insert_with(HostState::new).clone();
                    let host = Host::new(endpoint, address, locality.clone(), group.priority, socket, state);
                    target.hosts.push(Arc::new(host));
                }
            }
            let range = start..target.hosts.len();
            target.localities.push(LocalityGroup { locality, weight: group.weight, range });
        }
        Self { priorities, overprovisioning_factor: assignment.overprovisioning_factor.unwrap_or(140).max(100) }
    }

    /// Every host, in order of priority.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.priorities.iter().flat_map(|p| p.hosts.iter())
    }

    /// Number of hosts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.priorities.iter().map(|p| p.hosts.len()).sum()
    }

    /// Whether there is no host.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of hosts with this effective health.
    #[must_use]
    pub fn count(&self, health: HealthStatus) -> usize {
        self.all().filter(|h| h.effective_health() == health).count()
    }
}

/// The addresses of an endpoint.
fn addresses(endpoint: &Endpoint, resolved: Option<&Resolved>) -> Vec<Address> {
    match (&endpoint.address, resolved) {
        (Address::Name(name, port), Some(resolved)) => resolved
            .get(&(name.clone(), *port))
            .map(|found| found.iter().copied().map(Address::Tcp).collect())
            .unwrap_or_default(),
        (other, _) => vec![other.clone()],
    }
}
