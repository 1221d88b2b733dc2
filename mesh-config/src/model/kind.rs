//! The kinds of objects: which are modelled, which are known, which are none of the mesh's business.

use std::{fmt, str::FromStr};

/// A kind of object that this crate models.
///
/// The order of the variants is the order of [`Snapshot::iter`](crate::Snapshot::iter).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Kubernetes `Namespace`.
    Namespace,
    /// Kubernetes `Node`.
    Node,
    /// Kubernetes `ServiceAccount`.
    ServiceAccount,
    /// Kubernetes `ConfigMap`.
    ConfigMap,
    /// Kubernetes `Secret`.
    Secret,
    /// Kubernetes `Pod`.
    Pod,
    /// Kubernetes `Service`.
    Service,
    /// Kubernetes `EndpointSlice`.
    EndpointSlice,
    /// Kubernetes `Deployment`.
    Deployment,
    /// Kubernetes `MutatingWebhookConfiguration`.
    MutatingWebhookConfiguration,
    /// Kubernetes `ValidatingWebhookConfiguration`.
    ValidatingWebhookConfiguration,
    /// Kubernetes `CustomResourceDefinition`.
    CustomResourceDefinition,
    /// Istio `WorkloadEntry`.
    WorkloadEntry,
    /// Istio `ServiceEntry`.
    ServiceEntry,
    /// Istio `Gateway`.
    Gateway,
    /// Istio `DestinationRule`.
    DestinationRule,
    /// Istio `VirtualService`.
    VirtualService,
    /// Istio `Sidecar`.
    Sidecar,
    /// Istio `EnvoyFilter`.
    EnvoyFilter,
    /// Istio `PeerAuthentication`.
    PeerAuthentication,
    /// Istio `RequestAuthentication`.
    RequestAuthentication,
    /// Istio `AuthorizationPolicy`.
    AuthorizationPolicy,
    /// Istio `WorkloadGroup`.
    WorkloadGroup,
    /// Istio `ProxyConfig`.
    ProxyConfig,
    /// Istio `Telemetry`.
    Telemetry,
    /// Istio `WasmPlugin`.
    WasmPlugin,
    /// Istio `TrafficExtension`.
    TrafficExtension,
    /// Istio `MeshConfig`, the settings of the whole mesh.
    MeshConfig,
    /// Istio `MeshNetworks`.
    MeshNetworks,
    /// Gateway API `GatewayClass`.
    GatewayClass,
    /// Gateway API `Gateway`.
    KubeGateway,
    /// Gateway API `ListenerSet`.
    ListenerSet,
    /// Gateway API `HTTPRoute`.
    HttpRoute,
    /// Gateway API `GRPCRoute`.
    GrpcRoute,
    /// Gateway API `TLSRoute`.
    TlsRoute,
    /// Gateway API `TCPRoute`.
    TcpRoute,
    /// Gateway API `UDPRoute`.
    UdpRoute,
    /// Gateway API `ReferenceGrant`.
    ReferenceGrant,
    /// Gateway API `BackendTLSPolicy`.
    BackendTlsPolicy,
    /// Gateway API `XBackendTrafficPolicy` (experimental).
    XBackendTrafficPolicy,
    /// Gateway API `XBackend` (experimental).
    XBackend,
    /// Gateway API `XMesh` (experimental).
    XMesh,
}

/// What the table says of a modelled kind.
struct Entry {
    kind: Kind,
    name: &'static str,
    group: &'static str,
    versions: &'static [&'static str],
    namespaced: bool,
}

const NETWORKING: &str = "networking.istio.io";
/// Not a group of Kubernetes: these two stand in ConfigMaps and in IstioOperators.
const MESH: &str = "mesh.istio.io";
const EXPERIMENTAL: &str = "gateway.networking.x-k8s.io";
const SECURITY: &str = "security.istio.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const ALL: &[&str] = &["v1", "v1beta1", "v1alpha3"];

const GATEWAY_API: &str = "gateway.networking.k8s.io";
const BOTH: &[&str] = &["v1", "v1beta1"];

const fn entry(kind: Kind, name: &'static str, group: &'static str, versions: &'static [&'static str]) -> Entry {
    Entry { kind, name, group, versions, namespaced: true }
}

/// As [`entry`], for a kind without namespaces.
const fn global(kind: Kind, name: &'static str, group: &'static str, versions: &'static [&'static str]) -> Entry {
    Entry { kind, name, group, versions, namespaced: false }
}

/// One row per variant, in the order of the variants.
const TABLE: [Entry; 42] = [
    global(Kind::Namespace, "Namespace", "", &["v1"]),
    global(Kind::Node, "Node", "", &["v1"]),
    entry(Kind::ServiceAccount, "ServiceAccount", "", &["v1"]),
    entry(Kind::ConfigMap, "ConfigMap", "", &["v1"]),
    entry(Kind::Secret, "Secret", "", &["v1"]),
    entry(Kind::Pod, "Pod", "", &["v1"]),
    entry(Kind::Service, "Service", "", &["v1"]),
    entry(Kind::EndpointSlice, "EndpointSlice", "discovery.k8s.io", BOTH),
    entry(Kind::Deployment, "Deployment", "apps", &["v1"]),
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
const KNOWN: &[(&str, &[&str])] = &[(EXPERIMENTAL, &["XTelemetryPolicy"]), ("install.istio.io", &["IstioOperator"])];

/// What is known of a pair of API group and kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recognised {
    /// A modelled kind; false when the version does not exist.
    Modelled(Kind, bool),
    /// A kind of the mesh's groups that exists and is not modelled.
    NotSupported,
    /// A kind that the mesh's groups do not have, with the nearest one that they do.
    Misspelt(Option<&'static str>),
    /// A kind of other groups: none of the mesh's business.
    Foreign,
}

/// Whether every kind of a group is the mesh's business.
fn is_mesh_group(group: &str) -> bool {
    group == GATEWAY_API
        || group == EXPERIMENTAL
        || (group.ends_with(".istio.io") && TABLE.iter().any(|entry| entry.group == group))
}

impl Kind {
    fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }

    /// Every modelled kind, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|entry| entry.kind)
    }

    /// The name as in a file's `kind`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.entry().name
    }

    /// The API group; empty for Kubernetes' core group.
    #[must_use]
    pub fn group(self) -> &'static str {
        self.entry().group
    }

    /// The API versions that are read, the preferred one first.
    #[must_use]
    pub fn versions(self) -> &'static [&'static str] {
        self.entry().versions
    }

    /// Whether objects live in a namespace.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        self.entry().namespaced
    }

    /// Whether the kind is Istio's or the Gateway API's, so that every field is checked; the platform's kinds are read in
    /// part.
    #[must_use]
    pub fn is_strict(self) -> bool {
        is_mesh_group(self.group())
    }

    /// Whether an object of the kind must have a `spec`, as its definition (CRD) says.
    pub(crate) fn needs_spec(self) -> bool {
        self.group() == GATEWAY_API
            || self.group() == EXPERIMENTAL
            || matches!(
                self,
                Self::WorkloadEntry
                    | Self::ServiceEntry
                    | Self::WorkloadGroup
                    | Self::WasmPlugin
                    | Self::TrafficExtension
            )
    }

    /// Looks up what `api_version` (`group/version` or `version`) and `kind` say.
    pub(crate) fn recognise(api_version: &str, kind: &str) -> Recognised {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        // Its former name, in the experimental channel.
        if (group, kind) == (EXPERIMENTAL, "XListenerSet") {
            return Recognised::Modelled(Self::ListenerSet, version == "v1alpha1");
        }
        if let Some(entry) = TABLE.iter().find(|entry| entry.group == group && entry.name == kind) {
            return Recognised::Modelled(entry.kind, entry.versions.contains(&version));
        }
        let known = KNOWN.iter().find(|(known, _)| *known == group);
        match known {
            Some((_, known)) if known.contains(&kind) => Recognised::NotSupported,
            None if !is_mesh_group(group) => Recognised::Foreign,
            _ => Self::misspelt(group, kind),
        }
    }

    /// Groups of modelled kinds that have this name.
    pub(crate) fn groups_of(kind: &str) -> impl Iterator<Item = &'static str> {
        let strict = TABLE.iter().filter(move |entry| entry.name == kind && entry.kind.is_strict());
        strict.map(|entry| entry.group)
    }

    fn misspelt(group: &str, kind: &str) -> Recognised {
        let known = KNOWN.iter().filter(|(known, _)| *known == group).flat_map(|(_, kinds)| kinds.iter().copied());
        let modelled = TABLE.iter().filter(|entry| entry.group == group).map(|entry| entry.name);
        Recognised::Misspelt(crate::suggest::nearest(kind, known.chain(modelled)))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no modelled kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind {0:?}")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        TABLE
            .iter()
            .find(|entry| entry.name == text)
            .map(|entry| entry.kind)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_rows_stand_in_variant_order() {
        for (index, entry) in TABLE.iter().enumerate() {
            assert_eq!(entry.kind as usize, index);
        }
    }

    #[test]
    fn tells_misspelt_from_foreign() {
        use Recognised::*;
        assert_eq!(Kind::recognise("networking.istio.io/v1", "VirtualService"), Modelled(Kind::VirtualService, true));
        assert_eq!(Kind::recognise("networking.istio.io/v9", "VirtualService"), Modelled(Kind::VirtualService, false));
        assert_eq!(Kind::recognise("networking.istio.io/v1", "VirtualServce"), Misspelt(Some("VirtualService")));
        assert_eq!(Kind::recognise("security.istio.io/v1", "PeerAuthn"), Misspelt(None));
        assert_eq!(Kind::recognise("gateway.networking.k8s.io/v1", "HTTPRoute"), Modelled(Kind::HttpRoute, true));
        assert_eq!(Kind::recognise("gateway.networking.k8s.io/v1", "Gateway"), Modelled(Kind::KubeGateway, true));
        assert_eq!(Kind::recognise("gateway.networking.k8s.io/v1", "HTTPRoutes"), Misspelt(Some("HTTPRoute")));
        assert_eq!(Kind::recognise("gateway.networking.x-k8s.io/v1alpha1", "XMesh"), Modelled(Kind::XMesh, true));
        assert_eq!(Kind::recognise("gateway.networking.x-k8s.io/v1alpha1", "XTelemetryPolicy"), NotSupported);
        let renamed = Kind::recognise("gateway.networking.x-k8s.io/v1alpha1", "XListenerSet");
        assert_eq!(renamed, Modelled(Kind::ListenerSet, true));
        assert_eq!(Kind::recognise("apps/v1", "StatefulSet"), Foreign);
        assert_eq!(Kind::recognise("v1", "Service"), Modelled(Kind::Service, true));
    }
}
