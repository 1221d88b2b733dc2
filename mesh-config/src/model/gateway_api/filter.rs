//! What routes do with requests beside forwarding.

use serde::{Deserialize, Serialize};

use super::reference::{BackendObjectReference, LocalObjectReference};

/// A filter of an `HTTPRoute`: the field that its type names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpRouteFilter {
    /// What it does.
    #[serde(rename = "type")]
    pub filter_type: Option<HttpRouteFilterType>,
    /// Changes headers of the request.
    pub request_header_modifier: Option<HeaderModifier>,
    /// Changes headers of the response.
    pub response_header_modifier: Option<HeaderModifier>,
    /// Copies requests to another backend.
    pub request_mirror: Option<RequestMirror>,
    /// Answers with a redirect.
    pub request_redirect: Option<RequestRedirect>,
    /// Changes path and host before forwarding.
    pub url_rewrite: Option<UrlRewrite>,
    /// Cross-origin rules.
    pub cors: Option<CorsFilter>,
    /// Asks a service whether the request may go on.
    pub external_auth: Option<ExternalAuthFilter>,
    /// An implementation's own filter.
    pub extension_ref: Option<LocalObjectReference>,
}

/// What a filter of an `HTTPRoute` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpRouteFilterType {
    /// Changes headers of the request.
    RequestHeaderModifier,
    /// Changes headers of the response.
    ResponseHeaderModifier,
    /// Copies requests.
    RequestMirror,
    /// Answers with a redirect.
    RequestRedirect,
    /// Changes path and host.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    /// Cross-origin rules.
    #[serde(rename = "CORS")]
    Cors,
    /// Asks a service.
    ExternalAuth,
    /// An implementation's own filter.
    ExtensionRef,
}

/// A filter of a `GRPCRoute`: the field that its type names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GrpcRouteFilter {
    /// What it does.
    #[serde(rename = "type")]
    pub filter_type: Option<GrpcRouteFilterType>,
    /// Changes metadata of the call.
    pub request_header_modifier: Option<HeaderModifier>,
    /// Changes metadata of the answer.
    pub response_header_modifier: Option<HeaderModifier>,
    /// Copies calls to another backend.
    pub request_mirror: Option<RequestMirror>,
    /// An implementation's own filter.
    pub extension_ref: Option<LocalObjectReference>,
}

/// What a filter of a `GRPCRoute` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrpcRouteFilterType {
    /// Changes metadata of the call.
    RequestHeaderModifier,
    /// Changes metadata of the answer.
    ResponseHeaderModifier,
    /// Copies calls.
    RequestMirror,
    /// An implementation's own filter.
    ExtensionRef,
}

/// Changes of headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HeaderModifier {
    /// Headers that replace those of the same name.
    pub set: Vec<Header>,
    /// Headers that are added.
    pub add: Vec<Header>,
    /// Names of headers that are removed.
    pub remove: Vec<String>,
}

/// A header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Header {
    /// The name, in any case of letters.
    pub name: String,
    /// The value.
    pub value: String,
}

/// Copies of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RequestMirror {
    /// Where copies go.
    pub backend_ref: Option<BackendObjectReference>,
    /// The share of requests that are copied, 0 to 100; all by default.
    pub percent: Option<i32>,
    /// The share of requests that are copied; excludes `percent`.
    pub fraction: Option<Fraction>,
}

/// A share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Fraction {
    /// The part.
    pub numerator: Option<i32>,
    /// The whole; 100 by default.
    pub denominator: Option<i32>,
}

/// A redirect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RequestRedirect {
    /// The new scheme, `http` or `https`.
    pub scheme: Option<String>,
    /// The new host, no wildcard.
    pub hostname: Option<String>,
    /// The new path.
    pub path: Option<PathModifier>,
    /// The new port; that of the scheme or of the listener by default.
    pub port: Option<u32>,
    /// 301, 302 (default), 303, 307 or 308.
    pub status_code: Option<u32>,
}

/// Changes before forwarding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct UrlRewrite {
    /// The new host, no wildcard.
    pub hostname: Option<String>,
    /// The new path.
    pub path: Option<PathModifier>,
}

/// A change of the path: the field that its type names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PathModifier {
    /// What is replaced.
    #[serde(rename = "type")]
    pub modifier_type: Option<PathModifierType>,
    /// Replaces the whole path.
    pub replace_full_path: Option<String>,
    /// Replaces the matched prefix.
    pub replace_prefix_match: Option<String>,
}

/// What of a path is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathModifierType {
    /// The whole path.
    ReplaceFullPath,
    /// The matched prefix.
    ReplacePrefixMatch,
}

/// Cross-origin rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CorsFilter {
    /// Origins, `SCHEME://HOST[:PORT]`, the host with a `*.` wildcard, or `*`.
    pub allow_origins: Vec<String>,
    /// Whether credentials may be sent.
    pub allow_credentials: Option<bool>,
    /// Methods, or `*`.
    pub allow_methods: Vec<String>,
    /// Headers that may be sent, or `*`.
    pub allow_headers: Vec<String>,
    /// Headers that scripts may read, or `*`.
    pub expose_headers: Vec<String>,
    /// Seconds that the answer may be kept; 5 by default.
    pub max_age: Option<i32>,
}

/// Asks a service whether a request may go on (experimental channel).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ExternalAuthFilter {
    /// How it is asked.
    pub protocol: Option<ExternalAuthProtocol>,
    /// The service.
    pub backend_ref: Option<BackendObjectReference>,
    /// Settings of gRPC.
    pub grpc: Option<ExternalAuthGrpc>,
    /// Settings of HTTP.
    pub http: Option<ExternalAuthHttp>,
    /// Whether the body is sent along.
    pub forward_body: Option<ExternalAuthForwardBody>,
}

/// How a service is asked whether a request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExternalAuthProtocol {
    /// By a request with the original one's path and headers.
    Http,
    /// By Envoy's `ext_authz` service.
    Grpc,
}

/// Settings of asking by gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ExternalAuthGrpc {
    /// Headers that are sent; all by default.
    pub allowed_headers: Vec<String>,
}

/// Settings of asking by HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ExternalAuthHttp {
    /// What is put before the path.
    pub path: Option<String>,
    /// Headers that are sent beside the ones that always are.
    pub allowed_headers: Vec<String>,
    /// Headers of the answer that are passed on; all by default.
    pub allowed_response_headers: Vec<String>,
}

/// Whether the body is sent along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ExternalAuthForwardBody {
    /// The most bytes that are sent; 0 means none.
    pub max_size: Option<u32>,
}
