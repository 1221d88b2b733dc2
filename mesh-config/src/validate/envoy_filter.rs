//! The rules of `EnvoyFilter`, whose fields are kept as written.

use serde_json::{Map, Value};

use super::{Findings, envoy_filter_match};
use crate::{
    model::{EnvoyFilter, Object},
    path::FieldPath,
    suggest,
};

const APPLY_TO: [&str; 12] = [
    "LISTENER",
    "FILTER_CHAIN",
    "NETWORK_FILTER",
    "HTTP_FILTER",
    "ROUTE_CONFIGURATION",
    "VIRTUAL_HOST",
    "HTTP_ROUTE",
    "CLUSTER",
    "EXTENSION_CONFIG",
    "BOOTSTRAP",
    "LISTENER_FILTER",
    "ENDPOINT",
];
const OPERATIONS: [&str; 9] = [
    "MERGE",
    "ADD",
    "REMOVE",
    "INSERT_BEFORE",
    "INSERT_AFTER",
    "INSERT_FIRST",
    "REPLACE",
    "MERGE_AND_REPLACE_LIST",
    "INVALID",
];
const FIELDS: [&str; 4] = ["workloadSelector", "targetRefs", "configPatches", "priority"];
const PATCH_FIELDS: [&str; 3] = ["applyTo", "match", "patch"];

/// Filter names that Envoy no longer takes, with their successors.
const OLD_FILTERS: [(&str, &str); 22] = [
    ("envoy.buffer", "envoy.filters.http.buffer"),
    ("envoy.client_ssl_auth", "envoy.filters.network.client_ssl_auth"),
    ("envoy.cors", "envoy.filters.http.cors"),
    ("envoy.csrf", "envoy.filters.http.csrf"),
    ("envoy.echo", "envoy.filters.network.echo"),
    ("envoy.ext_authz", "envoy.filters.http.ext_authz"),
    ("envoy.fault", "envoy.filters.http.fault"),
    ("envoy.grpc_http1_bridge", "envoy.filters.http.grpc_http1_bridge"),
    ("envoy.grpc_json_transcoder", "envoy.filters.http.grpc_json_transcoder"),
    ("envoy.grpc_web", "envoy.filters.http.grpc_web"),
    ("envoy.gzip", "envoy.filters.http.gzip"),
    ("envoy.health_check", "envoy.filters.http.health_check"),
    ("envoy.http_connection_manager", "envoy.filters.network.http_connection_manager"),
    ("envoy.listener.original_dst", "envoy.filters.listener.original_dst"),
    ("envoy.listener.proxy_protocol", "envoy.filters.listener.proxy_protocol"),
    ("envoy.listener.tls_inspector", "envoy.filters.listener.tls_inspector"),
    ("envoy.lua", "envoy.filters.http.lua"),
    ("envoy.mongo_proxy", "envoy.filters.network.mongo_proxy"),
    ("envoy.ratelimit", "envoy.filters.network.ratelimit"),
    ("envoy.redis_proxy", "envoy.filters.network.redis_proxy"),
    ("envoy.router", "envoy.filters.http.router"),
    ("envoy.tcp_proxy", "envoy.filters.network.tcp_proxy"),
];

/// Checks an `EnvoyFilter`.
pub(super) fn validate(_: &Object, spec: &EnvoyFilter, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    let empty = Map::new();
    let spec = match &spec.spec {
        Value::Null => &empty,
        Value::Object(fields) => fields,
        _ => return findings.error(root, "expected a mapping"),
    };
    unknown(root, spec, &FIELDS, findings);
    if spec.contains_key("workloadSelector") && spec.contains_key("targetRefs") {
        findings.error(root, "only one of targetRefs and workloadSelector can be set");
    }
    if let Some(selector) = spec.get("workloadSelector").filter(|selector| !selector.is_null()) {
        let labels = selector.get("labels").and_then(Value::as_object);
        if labels.is_none_or(Map::is_empty) {
            findings.warning(root.field("workloadSelector"), "a selector without labels selects every workload");
        }
    }
    let path = root.field("configPatches");
    match spec.get("configPatches") {
        None | Some(Value::Null) => {}
        Some(Value::Array(patches)) => {
            for (index, entry) in patches.iter().enumerate() {
                match entry {
                    Value::Object(entry) => patch(path.index(index), entry, findings),
                    _ => findings.error(path.index(index), "expected a mapping"),
                }
            }
        }
        Some(_) => findings.error(path, "expected a list"),
    }
}

pub(super) fn unknown(path: FieldPath<'_>, fields: &Map<String, Value>, known: &[&str], findings: &mut Findings<'_>) {
    for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
        findings.error(path.field(name), format_args!("unknown field {name:?}"));
        if let Some(near) = suggest::nearest(name, known.iter().copied()) {
            findings.help(format!("did you mean {near:?}?"));
        }
    }
}

/// A value that must be one of some words; the empty text when it is absent.
pub(super) fn word<'a>(
    path: FieldPath<'_>,
    value: Option<&'a Value>,
    words: &[&str],
    findings: &mut Findings<'_>,
) -> &'a str {
    match value {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) if words.contains(&text.as_str()) => text,
        Some(other) => {
            findings.error(path, format_args!("unknown value {other}"));
            findings.help(format!("the values are: {}", words.join(", ")));
            ""
        }
    }
}

fn patch(path: FieldPath<'_>, entry: &Map<String, Value>, findings: &mut Findings<'_>) {
    unknown(path, entry, &PATCH_FIELDS, findings);
    let apply_to = word(path.field("applyTo"), entry.get("applyTo"), &APPLY_TO, findings);
    if apply_to.is_empty() && !entry.contains_key("applyTo") {
        findings.error(path, "applyTo is required");
    }
    match entry.get("patch") {
        Some(Value::Object(patch)) => change(path.field("patch"), patch, findings),
        Some(Value::Null) | None => findings.error(path, "patch is required"),
        Some(_) => findings.error(path.field("patch"), "expected a mapping"),
    }
    match entry.get("match") {
        Some(Value::Object(condition)) => {
            envoy_filter_match::validate(path.field("match"), condition, apply_to, findings);
        }
        None | Some(Value::Null) => {}
        Some(_) => findings.error(path.field("match"), "expected a mapping"),
    }
}

/// What a patch does, and with which value.
fn change(at: FieldPath<'_>, patch: &Map<String, Value>, findings: &mut Findings<'_>) {
    unknown(at, patch, &["operation", "value", "filterClass"], findings);
    let operation = word(at.field("operation"), patch.get("operation"), &OPERATIONS, findings);
    let given = patch.get("operation").is_some_and(|operation| !operation.is_null());
    if operation == "INVALID" || !given {
        findings.error(at, "operation is required");
    }
    match patch.get("value") {
        None | Some(Value::Null) => {
            if operation != "REMOVE" {
                findings.error(at, "value is required for every operation but REMOVE");
            }
        }
        Some(Value::Object(value)) => {
            let at = at.field("value");
            if value.get("name").is_some_and(|name| !name.is_string()) {
                findings.error(at.field("name"), "expected a text");
            }
            if let Some(name) = value.get("name").and_then(Value::as_str) {
                deprecated(at.field("name"), name, findings);
            }
            types(at, &patch["value"], findings);
        }
        Some(_) => findings.error(at.field("value"), "expected a mapping"),
    }
}

/// Reports the types of a version of Envoy's interface that no Envoy takes any more, at any depth.
fn types(path: FieldPath<'_>, value: &Value, findings: &mut Findings<'_>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if matches!(name.as_str(), "@type" | "typeUrl" | "type_url") => {
                        if text.contains(".v2.") || text.contains(".v2alpha.") {
                            let message =
                                format_args!("{text:?} is of version 2 of the interface, which is gone: use version 3");
                            findings.error(path.field(name), message);
                        }
                    }
                    _ => types(path.field(name), value, findings),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                types(path.index(index), item, findings);
            }
        }
        _ => {}
    }
}

/// Reports a filter name that Envoy no longer takes.
pub(super) fn deprecated(path: FieldPath<'_>, name: &str, findings: &mut Findings<'_>) {
    if let Some((_, new)) = OLD_FILTERS.iter().find(|(old, _)| *old == name) {
        findings.warning(path, format_args!("the filter name {name:?} is deprecated: use {new:?}"));
    }
}
