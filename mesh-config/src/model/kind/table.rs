//! The modelled kinds: group, versions, and whether they live in namespaces.

use super::Kind;

/// What the table says of a modelled kind.
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    pub(super) group: &'static str,
    pub(super) versions: &'static [&'static str],
    pub(super) namespaced: bool,
}

const NETWORKING: &str = "networking.istio.io";
/// Not a group of Kubernetes: these two stand in ConfigMaps and in IstioOperators.
const MESH: &str = "mesh.istio.io";
pub(super) const EXPERIMENTAL: &str = "gateway.networking.x-k8s.io";
const SECURITY: &str = "security.istio.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const ALL: &[&str] = &["v1", "v1beta1", "v1alpha3"];

pub(super) const GATEWAY_API: &str = "gateway.networking.k8s.io";
const BOTH: &[&str] = &["v1", "v1beta1"];

const fn entry(kind: Kind, name: &'static str, group: &'static str, versions: &'static [&'static str]) -> Entry {
    Entry { kind, name, group, versions, namespaced: true }
}

/// As [`entry`], for a kind without namespaces.
const fn global(kind: Kind, name: &'static str, group: &'static str, versions: &'static [&'static str]) -> Entry {
    Entry { kind, name, group, versions, namespaced: false }
}

/// One row per variant, in the order of the variants.
pub(super) const TABLE: [Entry; 45] = [
    global(Kind::Namespace, "Namespace", "", &["v1"]),
    global(Kind::Node, "Node", "", &["v1"]),
    entry(Kind::ServiceAccount, "ServiceAccount", "", &["v1"]),
    entry(Kind::ConfigMap, "ConfigMap", "", &["v1"]),
    entry(Kind::Secret, "Secret", "", &["v1"]),
    entry(Kind::Pod, "Pod", "", &["v1"]),
    entry(Kind::Service, "Service", "", &["v1"]),
    entry(Kind::EndpointSlice, "EndpointSlice", "discovery.k8s.io", BOTH),
    entry(Kind::Deployment, "Deployment", "apps", &["v1"]),
    entry(Kind::Ingress, "Ingress", "networking.k8s.io", &["v1"]),
    global(Kind::IngressClass, "IngressClass", "networking.k8s.io", &["v1"]),
    global(Kind::MutatingWebhookConfiguration, "MutatingWebhookConfiguration", ADMISSION, BOTH),
    global(Kind::ValidatingWebhookConfiguration, "ValidatingWebhookConfiguration", ADMISSION, BOTH),
    global(Kind::CustomResourceDefinition, "CustomResourceDefinition", "apiextensions.k8s.io", BOTH),
    entry(Kind::WorkloadEntry, "WorkloadEntry", NETWORKING, ALL),
    entry(Kind::ServiceEntry, "ServiceEntry", NETWORKING, ALL),
    entry(Kind::Gateway, "Gateway", NETWORKING, ALL),
    entry(Kind::DestinationRule, "DestinationRule", NETWORKING, ALL),
    entry(Kind::VirtualService, "VirtualService", NETWORKING, ALL),
    entry(Kind::Sidecar, "Sidecar", NETWORKING, ALL),
    entry(Kind::EnvoyFilter, "EnvoyFilter", NETWORKING, &["v1alpha3"]),
    entry(Kind::PeerAuthentication, "PeerAuthentication", SECURITY, BOTH),
    entry(Kind::RequestAuthentication, "RequestAuthentication", SECURITY, BOTH),
    entry(Kind::AuthorizationPolicy, "AuthorizationPolicy", SECURITY, BOTH),
    entry(Kind::WorkloadGroup, "WorkloadGroup", NETWORKING, ALL),
    entry(Kind::ProxyConfig, "ProxyConfig", NETWORKING, &["v1beta1"]),
    entry(Kind::Telemetry, "Telemetry", "telemetry.istio.io", &["v1", "v1alpha1"]),
    entry(Kind::WasmPlugin, "WasmPlugin", "extensions.istio.io", &["v1alpha1"]),
    entry(Kind::TrafficExtension, "TrafficExtension", "extensions.istio.io", &["v1alpha1"]),
    entry(Kind::MeshConfig, "MeshConfig", MESH, &["v1alpha1"]),
    entry(Kind::MeshNetworks, "MeshNetworks", MESH, &["v1alpha1"]),
    entry(Kind::IstioOperator, "IstioOperator", "install.istio.io", &["v1alpha1"]),
    global(Kind::GatewayClass, "GatewayClass", GATEWAY_API, BOTH),
    entry(Kind::KubeGateway, "Gateway", GATEWAY_API, &["v1", "v1beta1", "v1alpha2"]),
    entry(Kind::ListenerSet, "ListenerSet", GATEWAY_API, &["v1"]),
    entry(Kind::HttpRoute, "HTTPRoute", GATEWAY_API, &["v1", "v1beta1", "v1alpha2"]),
    entry(Kind::GrpcRoute, "GRPCRoute", GATEWAY_API, &["v1", "v1alpha2"]),
    entry(Kind::TlsRoute, "TLSRoute", GATEWAY_API, &["v1", "v1alpha2", "v1alpha3"]),
    entry(Kind::TcpRoute, "TCPRoute", GATEWAY_API, &["v1", "v1alpha2"]),
    entry(Kind::UdpRoute, "UDPRoute", GATEWAY_API, &["v1", "v1alpha2"]),
    entry(Kind::ReferenceGrant, "ReferenceGrant", GATEWAY_API, &["v1", "v1beta1", "v1alpha2"]),
    entry(Kind::BackendTlsPolicy, "BackendTLSPolicy", GATEWAY_API, &["v1", "v1alpha3"]),
    entry(Kind::XBackendTrafficPolicy, "XBackendTrafficPolicy", EXPERIMENTAL, &["v1alpha1"]),
    entry(Kind::XBackend, "XBackend", EXPERIMENTAL, &["v1alpha1"]),
    global(Kind::XMesh, "XMesh", EXPERIMENTAL, &["v1alpha1"]),
];

/// Kinds of the mesh's API groups that exist and are not modelled.
pub(super) const KNOWN: &[(&str, &[&str])] = &[(EXPERIMENTAL, &["XTelemetryPolicy"])];
