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
const SECURITY: &str = "security.istio.io";
const ALL: &[&str] = &["v1", "v1beta1", "v1alpha3"];

const fn entry(kind: Kind, name: &'static str, group: &'static str, versions: &'static [&'static str]) -> Entry {
    Entry { kind, name, group, versions, namespaced: !matches!(kind, Kind::Namespace | Kind::Node) }
}

/// One row per variant, in the order of the variants.
const TABLE: [Entry; 18] = [
    entry(Kind::Namespace, "Namespace", "", &["v1"]),
    entry(Kind::Node, "Node", "", &["v1"]),
    entry(Kind::ServiceAccount, "ServiceAccount", "", &["v1"]),
    entry(Kind::ConfigMap, "ConfigMap", "", &["v1"]),
    entry(Kind::Secret, "Secret", "", &["v1"]),
    entry(Kind::Pod, "Pod", "", &["v1"]),
    entry(Kind::Service, "Service", "", &["v1"]),
    entry(Kind::EndpointSlice, "EndpointSlice", "discovery.k8s.io", &["v1", "v1beta1"]),
    entry(Kind::WorkloadEntry, "WorkloadEntry", NETWORKING, ALL),
    entry(Kind::ServiceEntry, "ServiceEntry", NETWORKING, ALL),
    entry(Kind::Gateway, "Gateway", NETWORKING, ALL),
    entry(Kind::DestinationRule, "DestinationRule", NETWORKING, ALL),
    entry(Kind::VirtualService, "VirtualService", NETWORKING, ALL),
    entry(Kind::Sidecar, "Sidecar", NETWORKING, ALL),
    entry(Kind::EnvoyFilter, "EnvoyFilter", NETWORKING, &["v1alpha3"]),
    entry(Kind::PeerAuthentication, "PeerAuthentication", SECURITY, &["v1", "v1beta1"]),
    entry(Kind::RequestAuthentication, "RequestAuthentication", SECURITY, &["v1", "v1beta1"]),
    entry(Kind::AuthorizationPolicy, "AuthorizationPolicy", SECURITY, &["v1", "v1beta1"]),
];

/// Kinds of the mesh's API groups that exist and are not modelled.
const KNOWN: &[(&str, &[&str])] = &[
    (NETWORKING, &["WorkloadGroup", "ProxyConfig"]),
    ("telemetry.istio.io", &["Telemetry"]),
    ("extensions.istio.io", &["WasmPlugin", "TrafficExtension"]),
    (
        "gateway.networking.k8s.io",
        &[
            "GatewayClass",
            "Gateway",
            "HTTPRoute",
            "GRPCRoute",
            "TCPRoute",
            "TLSRoute",
            "UDPRoute",
            "ReferenceGrant",
            "BackendTLSPolicy",
            "ListenerSet",
        ],
    ),
    ("gateway.networking.x-k8s.io", &["XListenerSet", "XBackendTrafficPolicy", "XMesh"]),
    ("install.istio.io", &["IstioOperator"]),
];

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

    /// Whether the kind is Istio's, so that every field is checked; the platform's kinds are read in part.
    #[must_use]
    pub fn is_strict(self) -> bool {
        self.group().ends_with(".istio.io")
    }

    /// Looks up what `api_version` (`group/version` or `version`) and `kind` say.
    pub(crate) fn recognise(api_version: &str, kind: &str) -> Recognised {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        if let Some(entry) = TABLE.iter().find(|entry| entry.group == group && entry.name == kind) {
            return Recognised::Modelled(entry.kind, entry.versions.contains(&version));
        }
        let Some((_, known)) = KNOWN.iter().find(|(known, _)| *known == group) else {
            return if group == SECURITY { Self::misspelt(group, kind) } else { Recognised::Foreign };
        };
        if known.contains(&kind) { Recognised::NotSupported } else { Self::misspelt(group, kind) }
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
        assert_eq!(Kind::recognise("gateway.networking.k8s.io/v1", "HTTPRoute"), NotSupported);
        assert_eq!(Kind::recognise("apps/v1", "Deployment"), Foreign);
        assert_eq!(Kind::recognise("v1", "Service"), Modelled(Kind::Service, true));
    }
}
