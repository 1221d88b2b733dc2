//! `MeshNetworks`: which endpoints are in which network. Source: `istio.mesh.v1alpha1`, network.proto.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The networks of a mesh, and the gateways by which they are reached from others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MeshNetworks {
    /// The networks by name.
    pub networks: BTreeMap<String, MeshNetwork>,
}

/// One network: endpoints that reach each other directly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MeshNetwork {
    /// The name, again.
    pub name: Option<String>,
    /// What belongs to it.
    pub endpoints: Vec<NetworkEndpoints>,
    /// How it is reached from other networks.
    pub gateways: Vec<NetworkGateway>,
}

/// Endpoints of a network; one of the two forms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NetworkEndpoints {
    /// A range of addresses.
    pub from_cidr: Option<String>,
    /// The registry of a cluster.
    pub from_registry: Option<String>,
}

/// A gateway of a network; one of the two forms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NetworkGateway {
    /// The host of a service of the registry.
    pub registry_service_name: Option<String>,
    /// An address, or a name that is looked up.
    pub address: Option<String>,
    /// The port.
    pub port: u32,
    /// The locality.
    pub locality: Option<String>,
}
