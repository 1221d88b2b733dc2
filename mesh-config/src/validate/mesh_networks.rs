//! The rules of `MeshNetworks`.

use super::{Findings, rules};
use crate::{
    model::{MeshNetworks, Object},
    path::FieldPath,
};

/// Checks a `MeshNetworks`.
pub(super) fn validate(_: &Object, spec: &MeshNetworks, findings: &mut Findings<'_>) {
    networks(FieldPath::spec(), spec, findings);
}

/// Checks networks, wherever they were written.
pub(super) fn networks(root: FieldPath<'_>, spec: &MeshNetworks, findings: &mut Findings<'_>) {
    let networks = root.field("networks");
    for (name, network) in &spec.networks {
        let path = networks.field(name);
        if name.is_empty() {
            findings.error(path, "a network needs a name");
        }
        let endpoints = path.field("endpoints");
        if network.endpoints.is_empty() {
            findings.error(endpoints, "at least one of the endpoints is required");
        }
        for (index, endpoint) in network.endpoints.iter().enumerate() {
            let path = endpoints.index(index);
            match (&endpoint.from_cidr, &endpoint.from_registry) {
                (Some(_), Some(_)) => findings.error(path, "fromCidr and fromRegistry exclude each other: keep one"),
                (None, None) => findings.error(path, "one of fromCidr and fromRegistry is required"),
                (Some(cidr), None) => rules::subnet(path.field("fromCidr"), cidr, findings),
                (None, Some(registry)) => rules::label(path.field("fromRegistry"), "registry", registry, findings),
            }
        }
        let gateways = path.field("gateways");
        if network.gateways.is_empty() {
            findings.error(gateways, "at least one gateway is required");
        }
        for (index, gateway) in network.gateways.iter().enumerate() {
            let path = gateways.index(index);
            match (&gateway.registry_service_name, &gateway.address) {
                (Some(_), Some(_)) => {
                    findings.error(path, "registryServiceName and address exclude each other: keep one");
                }
                (None, None) => findings.error(path, "one of registryServiceName and address is required"),
                (Some(host), None) => rules::host(path.field("registryServiceName"), host, findings),
                (None, Some(address)) if rules::is_ip(address) => {}
                (None, Some(address)) => rules::host(path.field("address"), address, findings),
            }
            rules::port(path.field("port"), gateway.port, findings);
        }
    }
}
