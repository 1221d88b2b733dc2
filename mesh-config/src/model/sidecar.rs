//! `Sidecar`: what a workload's proxy accepts and reaches. Source: `istio.networking.v1`, sidecar.proto.

use serde::{Deserialize, Serialize};

use super::{
    common::{Destination, WorkloadSelector},
    gateway::{Port, ServerTlsSettings},
    traffic_policy::ConnectionPoolSettings,
};

/// What the proxies of some workloads accept and reach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Sidecar {
    /// The workloads; all in the namespace by default.
    pub workload_selector: Option<WorkloadSelector>,
    /// What the proxy listens for on behalf of the workload; from the services by default.
    pub ingress: Vec<IstioIngressListener>,
    /// What the workload can reach; everything by default.
    pub egress: Vec<IstioEgressListener>,
    /// Limits of connections into the workload.
    pub inbound_connection_pool: Option<ConnectionPoolSettings>,
    /// What is done with traffic to unknown destinations.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
}

/// A port that is accepted on behalf of the workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct IstioIngressListener {
    /// The port.
    pub port: Option<Port>,
    /// The address to listen on; the workload's by default.
    pub bind: Option<String>,
    /// How traffic comes to the listener.
    pub capture_mode: CaptureMode,
    /// Where traffic goes: `127.0.0.1:PORT`, `0.0.0.0:PORT`, or `unix:///path`.
    pub default_endpoint: Option<String>,
    /// TLS for traffic from outside the mesh.
    pub tls: Option<ServerTlsSettings>,
    /// Limits of connections for this port.
    pub connection_pool: Option<ConnectionPoolSettings>,
}

/// A port that the workload sends to, and the services behind it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct IstioEgressListener {
    /// The port; every port by default.
    pub port: Option<Port>,
    /// The address to listen on, or a Unix socket.
    pub bind: Option<String>,
    /// How traffic comes to the listener.
    pub capture_mode: CaptureMode,
    /// Services, `namespace/name`, with `*`, `.` and `~` for namespaces.
    pub hosts: Vec<String>,
}

/// How traffic comes to a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CaptureMode {
    /// As the environment says.
    #[default]
    Default,
    /// Redirected by the system's packet filter.
    Iptables,
    /// Sent to it directly.
    None,
}

/// What is done with traffic to unknown destinations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct OutboundTrafficPolicy {
    /// Whether it is let through; `REGISTRY_ONLY` when the policy is given without it.
    pub mode: OutboundTrafficPolicyMode,
    /// A proxy that it is sent to.
    pub egress_proxy: Option<Destination>,
}

/// Whether traffic to unknown destinations is let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundTrafficPolicyMode {
    /// No.
    #[default]
    RegistryOnly,
    /// Yes.
    AllowAny,
}
