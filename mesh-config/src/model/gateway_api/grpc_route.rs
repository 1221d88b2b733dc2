//! `GRPCRoute`: where gRPC calls go.

use serde::{Deserialize, Serialize};

use super::{
    filter::GrpcRouteFilter,
    http_route::MatchType,
    reference::{FilteredBackendRef, ParentReference},
    session::SessionPersistence,
};

/// Routing rules for the gRPC calls that reach its parents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GrpcRoute {
    /// What it is attached to.
    pub parent_refs: Vec<ParentReference>,
    /// Hosts: names or `*.` wildcards; those of the listener by default.
    pub hostnames: Vec<String>,
    /// Rules; the most specific match over all routes of a listener wins.
    pub rules: Vec<GrpcRouteRule>,
    /// Whether default gateways are parents: `All` or `None`.
    pub use_default_gateways: Option<String>,
}

/// One rule: conditions and what is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GrpcRouteRule {
    /// A name, unique in the route.
    pub name: Option<String>,
    /// Conditions, of which one must hold; every call by default.
    pub matches: Vec<GrpcRouteMatch>,
    /// What is done with matching calls.
    pub filters: Vec<GrpcRouteFilter>,
    /// Backends by weight.
    pub backend_refs: Vec<FilteredBackendRef<GrpcRouteFilter>>,
    /// How sessions are kept with one backend.
    pub session_persistence: Option<SessionPersistence>,
}

/// Conditions on a call; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GrpcRouteMatch {
    /// The method; every one by default.
    pub method: Option<GrpcMethodMatch>,
    /// Metadata.
    pub headers: Vec<GrpcHeaderMatch>,
}

/// A condition on service and method; at least one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GrpcMethodMatch {
    /// How the values are compared; exactly by default.
    #[serde(rename = "type")]
    pub match_type: Option<MatchType>,
    /// The service, with its package.
    pub service: Option<String>,
    /// The method.
    pub method: Option<String>,
}

/// A condition on metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GrpcHeaderMatch {
    /// How the value is compared; exactly by default.
    #[serde(rename = "type")]
    pub match_type: Option<MatchType>,
    /// The key.
    pub name: String,
    /// The value.
    pub value: String,
}
