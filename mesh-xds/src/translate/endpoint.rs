//! Endpoints (EDS).

use std::collections::BTreeMap;

use mesh_xds_api::envoy::config::{
    core::v3::{HealthStatus, Locality as ApiLocality},
    endpoint::v3::{
        ClusterLoadAssignment, Endpoint as ApiEndpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
    },
};

use super::proto;
use crate::discovery::{Endpoint, Health, Locality, TlsMode};

/// One endpoint, and whether it is called in mutual TLS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) endpoint: &'a Endpoint,
    /// It has a sidecar and the sidecar accepts mutual TLS.
    pub(super) mutual_tls: bool,
}

impl<'a> Target<'a> {
    pub(super) fn new(endpoint: &'a Endpoint, accepts: bool) -> Self {
        Self { endpoint, mutual_tls: accepts && endpoint.tls_mode == TlsMode::Istio }
    }
}

/// The endpoints of the cluster called `name`, by locality.
pub(super) fn assignment(name: &str, targets: &[Target<'_>]) -> ClusterLoadAssignment {
    let mut localities: BTreeMap<&Locality, Vec<LbEndpoint>> = BTreeMap::new();
    for target in targets {
        localities.entry(&target.endpoint.locality).or_default().push(endpoint(target));
    }
    let endpoints = localities.into_iter().map(|(locality, endpoints)| LocalityLbEndpoints {
        locality: (*locality != Locality::default()).then(|| ApiLocality {
            region: locality.region.clone(),
            zone: locality.zone.clone(),
            sub_zone: locality.sub_zone.clone(),
        }),
        load_balancing_weight: Some(
            endpoints.iter().fold(0, |sum: u32, e| sum.saturating_add(e.load_balancing_weight.unwrap_or(1))),
        ),
        lb_endpoints: endpoints,
        ..Default::default()
    });
    ClusterLoadAssignment { cluster_name: name.to_owned(), endpoints: endpoints.collect(), ..Default::default() }
}

/// One endpoint at a fixed address.
pub(super) fn fixed(name: &str, address: &str, port: u16) -> ClusterLoadAssignment {
    assignment(name, &[Target { endpoint: &Endpoint::new(address, port, ""), mutual_tls: false }])
}

fn endpoint(target: &Target<'_>) -> LbEndpoint {
    let found = target.endpoint;
    let status = match found.health {
        Health::Healthy => HealthStatus::Healthy,
        Health::Unhealthy => HealthStatus::Unhealthy,
        Health::Draining => HealthStatus::Draining,
    };
    let mut tls = proto::object::<&str>([]);
    if target.mutual_tls {
        tls.fields.insert("tlsMode".to_owned(), proto::text("istio"));
    }
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(ApiEndpoint {
            address: Some(proto::address(&found.address, found.port)),
            ..Default::default()
        })),
        health_status: status.into(),
        load_balancing_weight: Some(found.weight.max(1)),
        metadata: proto::metadata([("envoy.transport_socket_match", tls), ("istio", identity(found))]),
    }
}

/// Who an endpoint is, for metrics of the caller.
fn identity(endpoint: &Endpoint) -> prost_types::Struct {
    let labels = &endpoint.labels;
    let facts = [
        ("workload", endpoint.workload.as_str()),
        ("namespace", endpoint.namespace.as_str()),
        ("service_account", endpoint.service_account.as_str()),
        ("app", labels.app().unwrap_or_default()),
        ("version", labels.version().unwrap_or_default()),
        ("canonical_service", labels.canonical_name().unwrap_or_default()),
        ("canonical_revision", labels.canonical_revision().unwrap_or_default()),
        ("cluster", endpoint.cluster.as_str()),
    ];
    proto::object(facts.into_iter().filter(|(_, fact)| !fact.is_empty()).map(|(key, fact)| (key, proto::text(fact))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_xds_api::json;

    #[test]
    fn groups_by_locality_and_marks_the_mesh() {
        let mut a = Endpoint::new("10.0.0.1", 9080, "http");
        a.tls_mode = TlsMode::Istio;
        a.weight = 3;
        a.locality = Locality::parse("eu/a");
        let mut b = Endpoint::new("10.0.0.2", 9080, "http");
        b.health = Health::Draining;
        b.weight = 0;
        let targets = [Target::new(&a, true), Target::new(&b, true)];
        let json = json::to_value(&assignment("c", &targets));
        let first = &json["endpoints"][0];
        assert!(first.get("locality").is_none());
        assert_eq!(first["lb_endpoints"][0]["health_status"], "DRAINING");
        assert_eq!(first["lb_endpoints"][0]["load_balancing_weight"], 1);
        let second = &json["endpoints"][1];
        assert_eq!(second["locality"]["zone"], "a");
        assert_eq!(second["load_balancing_weight"], 3);
        let metadata = &second["lb_endpoints"][0]["metadata"]["filter_metadata"];
        assert_eq!(metadata["envoy.transport_socket_match"]["tlsMode"], "istio");
    }

    #[test]
    fn a_sidecar_that_refuses_mutual_tls_is_called_in_plaintext() {
        let mut a = Endpoint::new("10.0.0.1", 9080, "http");
        a.tls_mode = TlsMode::Istio;
        assert!(!Target::new(&a, false).mutual_tls);
    }
}
