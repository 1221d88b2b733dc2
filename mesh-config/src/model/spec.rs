//! The typed content of objects: one type per kind.

use serde::{Deserialize as _, Serialize};

use super::{
    admission::{CustomResourceDefinition, MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    deployment::Deployment,
    destination_rule::DestinationRule,
    envoy_filter::EnvoyFilter,
    extension::{TrafficExtension, WasmPlugin},
    gateway::Gateway,
    gateway_api::{
        BackendTlsPolicy, Gateway as KubeGateway, GatewayClass, GrpcRoute, HttpRoute, ListenerSet, ReferenceGrant,
        TcpRoute, TlsRoute, UdpRoute, XBackend, XBackendTrafficPolicy, XMesh,
    },
    ingress::{Ingress, IngressClass},
    istio_operator::IstioOperator,
    kind::Kind,
    mesh_config::MeshConfig,
    mesh_networks::MeshNetworks,
    platform::{ConfigMap, EndpointSlice, Namespace, Node, Pod, Secret, Service, ServiceAccount},
    proxy_config::ProxyConfig,
    request_authentication::RequestAuthentication,
    security::{AuthorizationPolicy, PeerAuthentication},
    service_entry::{ServiceEntry, WorkloadEntry},
    sidecar::Sidecar,
    telemetry::Telemetry,
    virtual_service::VirtualService,
    workload_group::WorkloadGroup,
};

/// A type that is the content of one kind; implemented by the model's types.
pub trait KindSpec: Into<Spec> + 'static {
    /// The kind.
    const KIND: Kind;

    /// The content, when it is of this type.
    fn from_spec(spec: &Spec) -> Option<&Self>;
}

macro_rules! specs {
    ($($kind:ident: $doc:literal),* $(,)?) => {
        /// The typed content of an object.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        #[non_exhaustive]
        pub enum Spec {
            $(#[doc = $doc] $kind(Box<$kind>),)*
        }

        impl Spec {
            /// The kind of the content.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)*
                }
            }

            /// Reads the content of a kind.
            pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(kind: Kind, from: D) -> Result<Self, D::Error> {
                match kind {
                    $(Kind::$kind => $kind::deserialize(from).map(Self::from),)*
                }
            }
        }

        $(
            impl From<$kind> for Spec {
                fn from(content: $kind) -> Self {
                    Self::$kind(Box::new(content))
                }
            }

            impl KindSpec for $kind {
                const KIND: Kind = Kind::$kind;

                fn from_spec(spec: &Spec) -> Option<&Self> {
                    match spec {
                        Spec::$kind(content) => Some(content),
                        _ => None,
                    }
                }
            }
        )*
    };
}

specs! {
    Namespace: "A Kubernetes namespace.",
    Node: "A Kubernetes node.",
    ServiceAccount: "A Kubernetes service account.",
    ConfigMap: "A Kubernetes config map.",
    Secret: "A Kubernetes secret.",
    Pod: "A Kubernetes pod.",
    Service: "A Kubernetes service.",
    EndpointSlice: "A Kubernetes endpoint slice.",
    Deployment: "A Kubernetes deployment.",
    Ingress: "A Kubernetes ingress.",
    IngressClass: "A class of Kubernetes ingresses.",
    MutatingWebhookConfiguration: "Kubernetes webhooks that may change objects.",
    ValidatingWebhookConfiguration: "Kubernetes webhooks that may refuse objects.",
    CustomResourceDefinition: "A definition of a Kubernetes kind.",
    WorkloadEntry: "A workload outside the platform.",
    ServiceEntry: "A service outside the platform's registry.",
    Gateway: "Servers of a gateway.",
    DestinationRule: "Policies for a destination.",
    VirtualService: "Routing rules.",
    Sidecar: "What proxies accept and reach.",
    EnvoyFilter: "Patches to generated configuration.",
    PeerAuthentication: "Modes of mutual TLS.",
    RequestAuthentication: "Accepted tokens.",
    AuthorizationPolicy: "Accepted requests.",
    WorkloadGroup: "A template for workloads outside the platform.",
    ProxyConfig: "Settings of proxies.",
    Telemetry: "Metrics, traces and access logs.",
    WasmPlugin: "A WebAssembly filter.",
    TrafficExtension: "A filter in one of several languages.",
    MeshConfig: "Settings of the whole mesh.",
    MeshNetworks: "Networks of the mesh.",
    IstioOperator: "What Istio's installer is told.",
    GatewayClass: "A class of the Gateway API's gateways.",
    KubeGateway: "A gateway of the Gateway API.",
    ListenerSet: "Listeners that are added to a gateway.",
    HttpRoute: "Routing rules for HTTP.",
    GrpcRoute: "Routing rules for gRPC.",
    TlsRoute: "Where TLS connections go.",
    TcpRoute: "Where TCP connections go.",
    UdpRoute: "Where UDP datagrams go.",
    ReferenceGrant: "References from other namespaces that are allowed.",
    BackendTlsPolicy: "TLS from gateways to backends.",
    XBackendTrafficPolicy: "Limits of retries, and sessions, of backends.",
    XBackend: "A backend by itself.",
    XMesh: "A mesh.",
}
