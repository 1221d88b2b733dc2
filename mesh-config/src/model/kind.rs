//! The kinds of objects: which are modelled, which are known, which are none of the mesh's business.

mod table;

use std::{fmt, str::FromStr};

use self::table::{EXPERIMENTAL, Entry, GATEWAY_API, KNOWN, TABLE};

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
    /// Kubernetes `Ingress`.
    Ingress,
    /// Kubernetes `IngressClass`.
    IngressClass,
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
    /// Istio `IstioOperator`, what the installer is told.
    IstioOperator,
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
