//! `Gateway` and `ListenerSet`: what a gateway listens for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    filter::ExternalAuthFilter,
    reference::{LocalObjectReference, ObjectReference, ParentReference, SecretObjectReference},
};
use crate::model::common::KubeLabelSelector;

/// A gateway: its class and its listeners.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Gateway {
    /// The name of the GatewayClass.
    pub gateway_class_name: String,
    /// What it listens for.
    pub listeners: Vec<Listener>,
    /// The addresses that are asked for.
    pub addresses: Vec<GatewayAddress>,
    /// What is put on the objects that carry it out.
    pub infrastructure: Option<GatewayInfrastructure>,
    /// ListenerSets that may add listeners; none by default.
    pub allowed_listeners: Option<AllowedListeners>,
    /// TLS towards clients and backends.
    pub tls: Option<GatewayTls>,
    /// Routes for which it is a default gateway: `All` or `None`.
    pub default_scope: Option<String>,
}

/// Listeners that are added to a gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ListenerSet {
    /// The gateway.
    pub parent_ref: Option<ParentReference>,
    /// The listeners.
    pub listeners: Vec<Listener>,
}

/// A port that is listened on, and for whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Listener {
    /// The name, unique in the gateway.
    pub name: String,
    /// The host: a name or a `*.` wildcard; every one by default.
    pub hostname: Option<String>,
    /// The port, 1 to 65535. A ListenerSet may leave it to the gateway.
    pub port: Option<u32>,
    /// `HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP`, or an implementation's own `DOMAIN/NAME`.
    pub protocol: String,
    /// TLS; for `HTTPS` and `TLS`.
    pub tls: Option<ListenerTls>,
    /// Routes that may be attached; those of the same namespace by default.
    pub allowed_routes: Option<AllowedRoutes>,
    /// What is done with all requests (experimental channel).
    pub filters: Option<ListenerFilters>,
}

/// What is done with all requests of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ListenerFilters {
    /// Filters of requests.
    pub requests: Vec<ListenerFilter>,
}

/// A filter of a listener: the field that its type names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ListenerFilter {
    /// What it does.
    #[serde(rename = "type")]
    pub filter_type: Option<ListenerFilterType>,
    /// Asks a service.
    pub external_auth: Option<ExternalAuthFilter>,
    /// An implementation's own filter.
    pub extension_ref: Option<LocalObjectReference>,
}

/// What a filter of a listener does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListenerFilterType {
    /// Asks a service.
    ExternalAuth,
    /// An implementation's own filter.
    ExtensionRef,
}

/// TLS of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ListenerTls {
    /// Whether TLS ends here; `Terminate` by default.
    pub mode: Option<ListenerTlsMode>,
    /// The server's certificates; needed to terminate, unless options say otherwise.
    pub certificate_refs: Vec<SecretObjectReference>,
    /// How the client's certificate is verified. Moved to [`GatewayTls`].
    pub frontend_validation: Option<FrontendValidation>,
    /// An implementation's own settings.
    pub options: BTreeMap<String, String>,
}

/// Whether TLS ends at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListenerTlsMode {
    /// It does.
    Terminate,
    /// It is passed on.
    Passthrough,
}

/// Routes that may be attached to a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AllowedRoutes {
    /// Their namespaces.
    pub namespaces: Option<RouteNamespaces>,
    /// Their kinds; those that fit the protocol by default.
    pub kinds: Vec<RouteGroupKind>,
}

/// Namespaces whose routes may be attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RouteNamespaces {
    /// `All`, `Selector`, `Same` (default) or `None`.
    pub from: Option<String>,
    /// The labels of namespaces, with `Selector`.
    pub selector: Option<KubeLabelSelector>,
}

/// A kind of route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RouteGroupKind {
    /// The API group; `gateway.networking.k8s.io` by default.
    pub group: Option<String>,
    /// The kind.
    pub kind: String,
}

/// An address of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GatewayAddress {
    /// `IPAddress` (default), `Hostname`, `NamedAddress`, or an implementation's own `DOMAIN/NAME`.
    #[serde(rename = "type")]
    pub address_type: Option<String>,
    /// The address; chosen by the implementation by default.
    pub value: Option<String>,
    /// From where it can be reached: `Cluster`, or an implementation's own (experimental channel).
    pub routability: Option<String>,
}

/// What is put on the objects that carry out a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GatewayInfrastructure {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// An implementation's own settings.
    pub parameters_ref: Option<LocalObjectReference>,
}

/// ListenerSets that may add listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AllowedListeners {
    /// Their namespaces.
    pub namespaces: Option<ListenerNamespaces>,
}

/// Namespaces whose ListenerSets may add listeners; `from` is `None` by default.
pub type ListenerNamespaces = RouteNamespaces;

/// TLS of a gateway towards both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GatewayTls {
    /// Towards backends.
    pub backend: Option<BackendTls>,
    /// Towards clients.
    pub frontend: Option<FrontendTls>,
}

/// TLS towards backends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BackendTls {
    /// The certificate that the gateway shows.
    pub client_certificate_ref: Option<SecretObjectReference>,
}

/// TLS towards clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FrontendTls {
    /// On all ports.
    pub default: Option<FrontendTlsConfig>,
    /// On single ports.
    pub per_port: Vec<PortTls>,
}

/// TLS towards clients of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PortTls {
    /// The port.
    pub port: u32,
    /// TLS there.
    pub tls: Option<FrontendTlsConfig>,
}

/// Whether and how clients are verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FrontendTlsConfig {
    /// How; not at all by default.
    pub validation: Option<FrontendValidation>,
}

/// How clients are verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FrontendValidation {
    /// ConfigMaps (key `ca.crt`) or other objects with the authorities.
    pub ca_certificate_refs: Vec<ObjectReference>,
    /// `AllowValidOnly` (default) or `AllowInsecureFallback`.
    pub mode: Option<String>,
}
