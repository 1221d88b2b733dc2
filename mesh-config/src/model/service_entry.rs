//! `ServiceEntry` and `WorkloadEntry`: services and workloads that the platform does not list.
//!
//! Source: `istio.networking.v1`, service_entry.proto and workload_entry.proto.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::common::WorkloadSelector;

/// A service that is added to the registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ServiceEntry {
    /// The names of the service; `*.` wildcards are possible with some resolutions.
    pub hosts: Vec<String>,
    /// Virtual addresses, or ranges in CIDR form.
    pub addresses: Vec<String>,
    /// The ports.
    pub ports: Vec<ServicePort>,
    /// Whether it belongs to the mesh; `MESH_EXTERNAL` by default.
    pub location: Location,
    /// How endpoints are found; `NONE` by default.
    pub resolution: Resolution,
    /// The endpoints, when not selected.
    pub endpoints: Vec<WorkloadEntry>,
    /// Pods and WorkloadEntries that are the endpoints; excludes `endpoints`.
    pub workload_selector: Option<WorkloadSelector>,
    /// Namespaces that see the service: names, `.` (its own), `*` (all, the default).
    pub export_to: Vec<String>,
    /// Names of which the server's certificate must carry one.
    pub subject_alt_names: Vec<String>,
}

/// A port of a ServiceEntry. Source: `ServicePort`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ServicePort {
    /// The number, 1 to 65535.
    pub number: u32,
    /// `HTTP`, `HTTPS`, `GRPC`, `HTTP2`, `MONGO`, `TCP`, `TLS`; unset means TCP or detection.
    pub protocol: Option<String>,
    /// The name, unique in the object.
    pub name: String,
    /// The port of the endpoints; `number` by default.
    pub target_port: Option<u32>,
}

/// Whether a service belongs to the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// Outside: no mutual TLS is expected.
    #[default]
    MeshExternal,
    /// Inside.
    MeshInternal,
}

/// How endpoints are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// The address the caller asked for.
    #[default]
    None,
    /// The endpoints are addresses.
    Static,
    /// The endpoints, or the hosts, are looked up; all answers are used.
    Dns,
    /// The endpoints, or the hosts, are looked up; each new connection uses the first answer.
    DnsRoundRobin,
    /// The host of each request is looked up.
    DynamicDns,
}

/// A workload outside the platform, or an endpoint of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WorkloadEntry {
    /// An IP address, a name to look up, or `unix:///path`.
    pub address: Option<String>,
    /// Port numbers by the names of the service's ports.
    pub ports: BTreeMap<String, u32>,
    /// Labels of the workload.
    pub labels: BTreeMap<String, String>,
    /// The network, for multi-network meshes.
    pub network: Option<String>,
    /// The locality, `region/zone/subzone`.
    pub locality: Option<String>,
    /// The weight among the endpoints; 1 by default.
    pub weight: Option<u32>,
    /// The service account that the workload's identity names.
    pub service_account: Option<String>,
}
