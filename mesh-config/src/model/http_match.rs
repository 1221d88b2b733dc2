//! Conditions on an HTTP request. Source: `HTTPMatchRequest` of virtual_service.proto.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::string_match::StringMatch;

/// Conditions on an HTTP request; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpMatchRequest {
    /// A name for people and for access logs.
    pub name: Option<String>,
    /// The path.
    pub uri: Option<StringMatch>,
    /// The scheme.
    pub scheme: Option<StringMatch>,
    /// The method.
    pub method: Option<StringMatch>,
    /// The authority.
    pub authority: Option<StringMatch>,
    /// Headers by their name in lower case; `{}` asks only that the header is there.
    pub headers: BTreeMap<String, StringMatch>,
    /// The port the request was sent to.
    pub port: Option<u32>,
    /// Labels of the calling workload; meaningless at gateways.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways that apply the rule; those of the object by default.
    pub gateways: Vec<String>,
    /// Query parameters by their name.
    pub query_params: BTreeMap<String, StringMatch>,
    /// Compare the path without regard to case; default false.
    pub ignore_uri_case: bool,
    /// Headers that must not match; `{}` asks that the header is absent.
    pub without_headers: BTreeMap<String, StringMatch>,
    /// The namespace of the calling workload.
    pub source_namespace: Option<String>,
    /// A prefix for statistics of this route.
    pub stat_prefix: Option<String>,
}
