//! `VirtualService`: how requests to a host are routed.
//!
//! Source: `istio.networking.v1`, virtual_service.proto.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    common::{Destination, Percent},
    duration::Duration,
    http_match::HttpMatchRequest,
    http_policy::{CorsPolicy, Headers, HttpFaultInjection, HttpRetry},
};

/// Routing rules for the traffic to some hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct VirtualService {
    /// The hosts the rules are for: names, `*.` wildcards, or addresses. Empty only for a delegate.
    pub hosts: Vec<String>,
    /// Gateways and sidecars that apply the rules: `namespace/name`, `name`, or `mesh` (all sidecars). Default `mesh`.
    pub gateways: Vec<String>,
    /// Rules for HTTP traffic, first match wins.
    pub http: Vec<HttpRoute>,
    /// Rules for TLS traffic that is not terminated, first match wins.
    pub tls: Vec<TlsRoute>,
    /// Rules for other TCP traffic, first match wins.
    pub tcp: Vec<TcpRoute>,
    /// Namespaces that see the rules: names, `.` (its own), `*` (all, the default).
    pub export_to: Vec<String>,
}

/// One rule for HTTP traffic: conditions and what is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpRoute {
    /// A name for people and for access logs.
    pub name: Option<String>,
    /// Conditions, of which one must hold; none means every request.
    #[serde(rename = "match")]
    pub matches: Vec<HttpMatchRequest>,
    /// Where requests go, by weight.
    pub route: Vec<HttpRouteDestination>,
    /// Answer with a redirect instead.
    pub redirect: Option<HttpRedirect>,
    /// Answer with a fixed response instead.
    pub direct_response: Option<HttpDirectResponse>,
    /// Another VirtualService that holds the rules.
    pub delegate: Option<Delegate>,
    /// Changes of path and authority before forwarding.
    pub rewrite: Option<HttpRewrite>,
    /// The longest time for the whole request with its retries; none by default.
    pub timeout: Option<Duration>,
    /// How failed requests are tried again.
    pub retries: Option<HttpRetry>,
    /// Faults put in on purpose.
    pub fault: Option<HttpFaultInjection>,
    /// Where copies of requests go.
    pub mirror: Option<Destination>,
    /// Several places where copies of requests go; excludes `mirror`.
    pub mirrors: Vec<HttpMirrorPolicy>,
    /// The share of requests that are copied, in percent. Deprecated by `mirror_percentage`.
    #[serde(alias = "mirror_percent")]
    pub mirror_percent: Option<u32>,
    /// The share of requests that are copied; all by default.
    pub mirror_percentage: Option<Percent>,
    /// Cross-origin rules.
    pub cors_policy: Option<CorsPolicy>,
    /// Changes of headers, for all destinations.
    pub headers: Option<Headers>,
}

/// One weighted destination of an HTTP rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpRouteDestination {
    /// The destination.
    pub destination: Option<Destination>,
    /// Its share of the rule's requests; a single destination needs none.
    pub weight: Option<i32>,
    /// Changes of headers, for this destination.
    pub headers: Option<Headers>,
}

/// A redirect. Source: `HTTPRedirect`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpRedirect {
    /// The new path; the whole of it.
    pub uri: Option<String>,
    /// Replaces the matched prefix of the path; excludes `uri`.
    pub prefix_rewrite: Option<String>,
    /// The new authority.
    pub authority: Option<String>,
    /// The new port; excludes `derive_port`.
    pub port: Option<u32>,
    /// How the port follows from the request: `FROM_PROTOCOL_DEFAULT` or `FROM_REQUEST_PORT`.
    pub derive_port: Option<RedirectPort>,
    /// The new scheme.
    pub scheme: Option<String>,
    /// The status code, default 301.
    pub redirect_code: Option<u32>,
}

/// How the port of a redirect follows from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RedirectPort {
    /// 80 for HTTP, 443 for HTTPS.
    FromProtocolDefault,
    /// The port of the request.
    FromRequestPort,
}

/// A fixed response. Source: `HTTPDirectResponse`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpDirectResponse {
    /// The status code, 200 to 599.
    pub status: u32,
    /// The body; empty by default.
    pub body: Option<HttpBody>,
}

/// The body of a fixed response; one of the two forms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpBody {
    /// The body as text.
    pub string: Option<String>,
    /// The body in base64.
    pub bytes: Option<String>,
}

/// A reference to a VirtualService that holds the rules for a path prefix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Delegate {
    /// The name of the VirtualService.
    pub name: String,
    /// Its namespace; that of the referring object by default.
    pub namespace: Option<String>,
}

/// Changes of path and authority before forwarding. Source: `HTTPRewrite`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpRewrite {
    /// Replaces the matched prefix of the path, or the whole path.
    pub uri: Option<String>,
    /// Replaces the authority.
    pub authority: Option<String>,
    /// Replaces what a regular expression matches in the path; excludes `uri`.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// A replacement by regular expression.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RegexRewrite {
    /// The RE2 expression.
    #[serde(rename = "match")]
    pub pattern: String,
    /// The replacement, with `\1` for the first group.
    pub rewrite: String,
}

/// A place where copies of requests go. Source: `HTTPMirrorPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpMirrorPolicy {
    /// The place.
    pub destination: Option<Destination>,
    /// The share of requests that are copied; all by default.
    pub percentage: Option<Percent>,
}

/// One rule for TLS traffic that is not terminated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TlsRoute {
    /// Conditions, of which one must hold.
    #[serde(rename = "match")]
    pub matches: Vec<TlsMatchAttributes>,
    /// Where connections go, by weight.
    pub route: Vec<RouteDestination>,
}

/// Conditions on a TLS connection; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TlsMatchAttributes {
    /// Server names (SNI): names or `*.` wildcards that are covered by the hosts of the object.
    pub sni_hosts: Vec<String>,
    /// Destination address ranges in CIDR form.
    pub destination_subnets: Vec<String>,
    /// The destination port.
    pub port: Option<u32>,
    /// Labels of the calling workload.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways that apply the rule; those of the object by default.
    pub gateways: Vec<String>,
    /// The namespace of the calling workload.
    pub source_namespace: Option<String>,
}

/// One rule for TCP traffic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TcpRoute {
    /// Conditions, of which one must hold; none means every connection.
    #[serde(rename = "match")]
    pub matches: Vec<L4MatchAttributes>,
    /// Where connections go, by weight.
    pub route: Vec<RouteDestination>,
}

/// Conditions on a TCP connection; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct L4MatchAttributes {
    /// Destination address ranges in CIDR form.
    pub destination_subnets: Vec<String>,
    /// The destination port.
    pub port: Option<u32>,
    /// The source address range in CIDR form.
    pub source_subnet: Option<String>,
    /// Labels of the calling workload.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways that apply the rule; those of the object by default.
    pub gateways: Vec<String>,
    /// The namespace of the calling workload.
    pub source_namespace: Option<String>,
}

/// One weighted destination of a TLS or TCP rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RouteDestination {
    /// The destination.
    pub destination: Option<Destination>,
    /// Its share of the rule's connections; a single destination needs none.
    pub weight: Option<i32>,
}
