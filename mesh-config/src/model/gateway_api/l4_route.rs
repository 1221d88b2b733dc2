//! `TLSRoute`, `TCPRoute` and `UDPRoute`: where connections and datagrams go.

use serde::{Deserialize, Serialize};

use super::reference::{BackendRef, ParentReference};

/// Where TLS connections go that are chosen by server name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TlsRoute {
    /// What it is attached to.
    pub parent_refs: Vec<ParentReference>,
    /// Server names (SNI): names or `*.` wildcards.
    pub hostnames: Vec<String>,
    /// Where connections go; one rule.
    pub rules: Vec<L4RouteRule>,
    /// Whether default gateways are parents: `All` or `None`.
    pub use_default_gateways: Option<String>,
}

/// Where TCP connections go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TcpRoute {
    /// What it is attached to.
    pub parent_refs: Vec<ParentReference>,
    /// Where connections go; one rule.
    pub rules: Vec<L4RouteRule>,
    /// Whether default gateways are parents: `All` or `None`.
    pub use_default_gateways: Option<String>,
}

/// Where UDP datagrams go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct UdpRoute {
    /// What it is attached to.
    pub parent_refs: Vec<ParentReference>,
    /// Where datagrams go; one rule.
    pub rules: Vec<L4RouteRule>,
    /// Whether default gateways are parents: `All` or `None`.
    pub use_default_gateways: Option<String>,
}

/// Where the traffic of a route below HTTP goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct L4RouteRule {
    /// A name, unique in the route.
    pub name: Option<String>,
    /// Backends by weight.
    pub backend_refs: Vec<BackendRef>,
}
