//! `HTTPRoute`: where HTTP requests go.

use serde::{Deserialize, Serialize};

use super::{
    filter::HttpRouteFilter,
    reference::{FilteredBackendRef, ParentReference},
    session::SessionPersistence,
};

/// Routing rules for the HTTP requests that reach its parents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpRoute {
    /// What it is attached to.
    pub parent_refs: Vec<ParentReference>,
    /// Hosts: names or `*.` wildcards; those of the listener by default.
    pub hostnames: Vec<String>,
    /// Rules; the most specific match over all routes of a listener wins. One that matches everything by default.
    pub rules: Option<Vec<HttpRouteRule>>,
    /// Whether default gateways are parents: `All` or `None`.
    pub use_default_gateways: Option<String>,
}

/// One rule: conditions and what is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpRouteRule {
    /// A name, unique in the route.
    pub name: Option<String>,
    /// Conditions, of which one must hold; the path prefix `/` by default.
    pub matches: Option<Vec<HttpRouteMatch>>,
    /// What is done with matching requests.
    pub filters: Vec<HttpRouteFilter>,
    /// Backends by weight.
    pub backend_refs: Vec<FilteredBackendRef<HttpRouteFilter>>,
    /// Limits of time.
    pub timeouts: Option<HttpRouteTimeouts>,
    /// How failed requests are tried again.
    pub retry: Option<HttpRouteRetry>,
    /// How sessions are kept with one backend.
    pub session_persistence: Option<SessionPersistence>,
}

/// Conditions on a request; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpRouteMatch {
    /// The path; the prefix `/` by default.
    pub path: Option<HttpPathMatch>,
    /// Headers.
    pub headers: Vec<HttpHeaderMatch>,
    /// Query parameters.
    pub query_params: Vec<HttpQueryParamMatch>,
    /// The method.
    pub method: Option<String>,
}

/// A condition on the path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpPathMatch {
    /// How the value is compared; as a prefix by default.
    #[serde(rename = "type")]
    pub match_type: Option<PathMatchType>,
    /// The value; `/` by default.
    pub value: Option<String>,
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathMatchType {
    /// The whole path.
    Exact,
    /// Whole segments from the beginning.
    PathPrefix,
    /// By an expression; its dialect is the implementation's.
    RegularExpression,
}

/// How a text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MatchType {
    /// The whole text.
    Exact,
    /// By an expression; its dialect is the implementation's.
    RegularExpression,
}

/// A condition on a header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpHeaderMatch {
    /// How the value is compared; exactly by default.
    #[serde(rename = "type")]
    pub match_type: Option<MatchType>,
    /// The header, in any case of letters.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A condition on a query parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpQueryParamMatch {
    /// How the value is compared; exactly by default.
    #[serde(rename = "type")]
    pub match_type: Option<MatchType>,
    /// The parameter.
    pub name: String,
    /// The value.
    pub value: String,
}

/// Limits of time, in the form of GEP-2257; `0s` means none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpRouteTimeouts {
    /// For the whole request with its retries.
    pub request: Option<String>,
    /// For one try.
    pub backend_request: Option<String>,
}

/// How failed requests are tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpRouteRetry {
    /// Statuses that are failures, 400 to 599.
    pub codes: Vec<u32>,
    /// The most retries; 1 by default.
    pub attempts: Option<u32>,
    /// The shortest pause between tries, in the form of GEP-2257.
    pub backoff: Option<String>,
}
