//! `endpoint.v3.ClusterLoadAssignment`.

use mesh_xds_api::envoy::config::{
    core::v3::HealthStatus as ProtoHealth,
    endpoint::v3::{
        ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
        locality_lb_endpoints::LbConfig,
    },
};

use super::{
    error::{At as _, Translated, refuse, refuse_field},
    value::{any_address, enumeration, ip_address, metadata, present, required},
};
use crate::{
    model::{Assignment, Endpoint, HealthStatus, Locality, LocalityEndpoints},
    supported,
};

supported! {
    /// Endpoints.
    pub(super) static ENDPOINTS =
    envoy.config.endpoint.v3.ClusterLoadAssignment {
        carried: cluster_name, endpoints, policy;
    }
    envoy.config.endpoint.v3.ClusterLoadAssignment.Policy {
        carried: overprovisioning_factor;
    }
    envoy.config.endpoint.v3.LocalityLbEndpoints {
        carried: locality, lb_endpoints, load_balancing_weight, priority, load_balancer_endpoints;
        irrelevant: metadata = "nothing here reads the metadata of a locality",
            proximity = "no policy that is carried reads it";
    }
    envoy.config.endpoint.v3.LocalityLbEndpoints.LbEndpointList {
        carried: lb_endpoints;
    }
    envoy.config.endpoint.v3.LbEndpoint {
        carried: endpoint, health_status, metadata, load_balancing_weight;
    }
    envoy.config.endpoint.v3.Endpoint {
        carried: address, hostname;
        irrelevant: health_check_config = "there is no active health checking",
            observability_name = "hosts are shown by address and hostname";
    }
}

/// Largest sum of weights of one locality, and number of a priority (Envoy's limits).
const MAX_PRIORITY: u32 = 128;

/// An assignment. `names` says whether host names are allowed as addresses: the cluster resolves them.
pub(super) fn assignment(value: &ClusterLoadAssignment, names: bool) -> Translated<Assignment> {
    let name = required(&value.cluster_name, "cluster_name")?.to_owned();
    let mut localities = Vec::with_capacity(value.endpoints.len());
    for (i, group) in value.endpoints.iter().enumerate() {
        localities.push(locality(group, names).at(format_args!("endpoints[{i}]"))?);
    }
    let policy = value.policy.as_ref();
    let overprovisioning_factor = policy.and_then(|policy| policy.overprovisioning_factor);
    if overprovisioning_factor == Some(0) {
        return refuse_field("policy.overprovisioning_factor", "must be greater than zero");
    }
    Ok(Assignment { name, localities, overprovisioning_factor })
}

fn locality(value: &LocalityLbEndpoints, names: bool) -> Translated<LocalityEndpoints> {
    if value.priority > MAX_PRIORITY {
        return refuse_field("priority", format!("must be {MAX_PRIORITY} at most"));
    }
    let (field, hosts) = match &value.lb_config {
        None => ("lb_endpoints", &value.lb_endpoints),
        Some(LbConfig::LoadBalancerEndpoints(list)) => ("load_balancer_endpoints.lb_endpoints", &list.lb_endpoints),
        Some(LbConfig::LedsClusterLocalityConfig(_)) => {
            return refuse_field("leds_cluster_locality_config", "is not carried");
        }
    };
    let mut endpoints = Vec::with_capacity(hosts.len());
    for (i, host) in hosts.iter().enumerate() {
        endpoints.push(endpoint(host, names).at(format_args!("{field}[{i}]"))?);
    }
    let locality = value.locality.as_ref().map(|locality| Locality {
        region: locality.region.clone(),
        zone: locality.zone.clone(),
        sub_zone: locality.sub_zone.clone(),
    });
    Ok(LocalityEndpoints {
        locality: locality.unwrap_or_default(),
        priority: value.priority,
        weight: value.load_balancing_weight,
        endpoints,
    })
}

fn endpoint(value: &LbEndpoint, names: bool) -> Translated<Endpoint> {
    let host = match &value.host_identifier {
        Some(HostIdentifier::Endpoint(endpoint)) => endpoint,
        Some(HostIdentifier::EndpointName(_)) => return refuse_field("endpoint_name", "is not carried"),
        None => return refuse_field("endpoint", "is required"),
    };
    let address = present(host.address.as_ref(), "endpoint.address")?;
    let address = if names { any_address(address) } else { ip_address(address) }.at("endpoint.address")?;
    let weight = value.load_balancing_weight.unwrap_or(1);
    if weight == 0 {
        return refuse_field("load_balancing_weight", "must be greater than zero");
    }
    let health = match enumeration(value.health_status, "health_status")? {
        ProtoHealth::Unknown | ProtoHealth::Healthy => HealthStatus::Healthy,
        ProtoHealth::Degraded => HealthStatus::Degraded,
        ProtoHealth::Unhealthy | ProtoHealth::Draining | ProtoHealth::Timeout => HealthStatus::Unhealthy,
    };
    let metadata = metadata(value.metadata.as_ref());
    Ok(Endpoint { address, hostname: host.hostname.clone(), weight, health, metadata })
}

/// The names of an assignment that a cluster holds in place: one endpoint, for `LOGICAL_DNS`.
pub(super) fn exactly_one(assignment: &Assignment) -> Translated<()> {
    match assignment.localities.as_slice() {
        [one] if one.endpoints.len() == 1 => Ok(()),
        _ => refuse("LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint"),
    }
}
