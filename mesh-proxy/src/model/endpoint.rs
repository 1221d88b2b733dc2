use std::sync::Arc;

use super::Address;

/// Filter metadata: namespace → object, as JSON values (`core.v3.Metadata.filter_metadata`).
pub type Metadata = Arc<serde_json::Map<String, serde_json::Value>>;

/// The endpoints of one cluster (`endpoint.v3.ClusterLoadAssignment`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assignment {
    /// Name of the assignment: the cluster's EDS service name.
    pub name: String,
    /// Endpoints by locality and priority.
    pub localities: Vec<LocalityEndpoints>,
    /// `policy.overprovisioning_factor`, percent. Default 140.
    pub overprovisioning_factor: Option<u32>,
}

/// Endpoints of one locality and priority (`endpoint.v3.LocalityLbEndpoints`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalityEndpoints {
    /// Where they are.
    pub locality: Locality,
    /// 0 is preferred.
    pub priority: u32,
    /// Share of this locality among those of its priority; `None` = no locality weighting.
    pub weight: Option<u32>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// `core.v3.Locality`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    /// Region.
    pub region: String,
    /// Zone.
    pub zone: String,
    /// Sub zone.
    pub sub_zone: String,
}

/// One upstream host (`endpoint.v3.LbEndpoint`).
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Where it is.
    pub address: Address,
    /// Name used for SNI, strict DNS and display; empty if none.
    pub hostname: String,
    /// Relative weight, at least 1. Default 1.
    pub weight: u32,
    /// Health told by the control plane.
    pub health: HealthStatus,
    /// Filter metadata.
    pub metadata: Metadata,
}

/// `core.v3.HealthStatus`, as the load balancer understands it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthStatus {
    /// `UNKNOWN` or `HEALTHY`.
    #[default]
    Healthy,
    /// `DEGRADED`: used when too few healthy ones are left.
    Degraded,
    /// `UNHEALTHY`, `DRAINING` or `TIMEOUT`.
    Unhealthy,
}
