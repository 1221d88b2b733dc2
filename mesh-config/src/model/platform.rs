//! The platform's kinds, as far as the mesh reads them; fields that it does not read are left out.
//!
//! Source: Kubernetes API `v1` and `discovery.k8s.io/v1`.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::common::IntOrString;

/// A Kubernetes `Service`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// What is wanted.
    pub spec: ServiceSpec,
}

/// The `spec` of a `Service`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// `ClusterIP` (default), `NodePort`, `LoadBalancer` or `ExternalName`.
    #[serde(rename = "type")]
    pub service_type: Option<String>,
    /// The virtual address; `None` means headless.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    /// All virtual addresses.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<String>,
    /// The name an `ExternalName` service stands for.
    pub external_name: Option<String>,
    /// The ports.
    pub ports: Vec<KubeServicePort>,
    /// Labels of the pods behind it.
    pub selector: BTreeMap<String, String>,
    /// List endpoints before they are ready.
    pub publish_not_ready_addresses: bool,
}

/// A port of a Kubernetes `Service`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeServicePort {
    /// The name; may be absent when it is the only port.
    pub name: Option<String>,
    /// The number, 1 to 65535.
    pub port: u16,
    /// `TCP` (default), `UDP` or `SCTP`.
    pub protocol: Option<String>,
    /// The pods' port by number or name; `port` by default.
    pub target_port: Option<IntOrString>,
    /// The application protocol.
    pub app_protocol: Option<String>,
    /// The port on every node.
    pub node_port: Option<u16>,
}

/// A `discovery.k8s.io` `EndpointSlice`.
///
/// Its service is named by the label `kubernetes.io/service-name`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// The endpoints.
    pub endpoints: Vec<SliceEndpoint>,
    /// The ports of all endpoints.
    pub ports: Vec<SlicePort>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SliceEndpoint {
    /// Addresses; the first counts.
    pub addresses: Vec<String>,
    /// Its state.
    pub conditions: EndpointConditions,
    /// Its host name.
    pub hostname: Option<String>,
    /// The node it runs on.
    pub node_name: Option<String>,
    /// The zone it runs in.
    pub zone: Option<String>,
    /// The object it stands for, mostly a Pod.
    pub target_ref: Option<ObjectReference>,
}

/// The state of an endpoint; an absent value counts as ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointConditions {
    /// Takes traffic.
    pub ready: Option<bool>,
    /// Takes traffic, though it may be ending.
    pub serving: Option<bool>,
    /// Is ending.
    pub terminating: Option<bool>,
}

/// A port of a slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlicePort {
    /// The name of the service's port.
    pub name: Option<String>,
    /// The number.
    pub port: Option<u16>,
    /// `TCP` (default), `UDP` or `SCTP`.
    pub protocol: Option<String>,
    /// The application protocol.
    pub app_protocol: Option<String>,
}

/// A reference to an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// The kind.
    pub kind: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
    /// The name.
    pub name: Option<String>,
}

/// A Kubernetes `Pod`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// What is wanted.
    pub spec: PodSpec,
    /// What is.
    pub status: PodStatus,
}

/// The `spec` of a `Pod`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The service account; `default` by default.
    pub service_account_name: Option<String>,
    /// The node.
    pub node_name: Option<String>,
    /// Uses the node's network.
    pub host_network: bool,
    /// The containers.
    pub containers: Vec<Container>,
    /// Containers that run before them, or beside them as native sidecars.
    pub init_containers: Vec<Container>,
    /// What all containers may do.
    pub security_context: Option<SecurityContext>,
}

/// What a container, or all of a pod, may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityContext {
    /// The user that processes run as.
    pub run_as_user: Option<i64>,
}

/// A container of a `Pod`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// The name.
    pub name: String,
    /// The image.
    pub image: Option<String>,
    /// The ports, to resolve target ports by name.
    pub ports: Vec<ContainerPort>,
    /// Environment variables.
    pub env: Vec<ContainerEnv>,
    /// What it may do.
    pub security_context: Option<SecurityContext>,
}

/// An environment variable of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerEnv {
    /// The name.
    pub name: String,
    /// The value, when it is given as such.
    pub value: Option<String>,
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// The name.
    pub name: Option<String>,
    /// The number.
    pub container_port: u16,
    /// `TCP` (default), `UDP` or `SCTP`.
    pub protocol: Option<String>,
}

/// The `status` of a `Pod`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: Option<String>,
    /// The address.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    /// All addresses.
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<PodIp>,
}

/// An address of a `Pod`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodIp {
    /// The address.
    pub ip: String,
}

/// A Kubernetes `Namespace`; what counts are its labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespace {}

/// A Kubernetes `Node`; what counts are its labels (region and zone).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {}

/// A Kubernetes `ServiceAccount`; what counts is that it exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceAccount {}

/// A Kubernetes `ConfigMap`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    /// Values as text.
    pub data: BTreeMap<String, String>,
    /// Values in base64.
    pub binary_data: BTreeMap<String, String>,
}

/// A Kubernetes `Secret`. Its values never show in `Debug` and are not serialised.
#[derive(Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    /// The type, such as `kubernetes.io/tls`.
    #[serde(rename = "type")]
    pub secret_type: Option<String>,
    /// Values in base64.
    #[serde(skip_serializing)]
    pub data: BTreeMap<String, String>,
    /// Values as text; they take precedence.
    #[serde(skip_serializing)]
    pub string_data: BTreeMap<String, String>,
}

impl Secret {
    /// The bytes of a value; `None` when it is absent or is not base64.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        use base64::Engine as _;
        if let Some(text) = self.string_data.get(key) {
            return Some(text.as_bytes().to_vec());
        }
        let compact: String = self.data.get(key)?.split_whitespace().collect();
        base64::engine::general_purpose::STANDARD.decode(compact).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.data.keys().chain(self.string_data.keys()).collect();
        f.debug_struct("Secret").field("secret_type", &self.secret_type).field("keys", &keys).finish_non_exhaustive()
    }
}
