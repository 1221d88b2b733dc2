//! The rules of `EnvoyFilter`, whose fields are kept as written.

use serde_json::{Map, Value};

use super::{Findings, rules};
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
const CONTEXTS: [&str; 5] = ["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"];
const FIELDS: [&str; 4] = ["workloadSelector", "targetRefs", "configPatches", "priority"];
const PATCH_FIELDS: [&str; 3] = ["applyTo", "match", "patch"];
const MATCHES: [&str; 4] = ["listener", "routeConfiguration", "cluster", "waypoint"];

/// Filter names that Envoy no longer takes, with their successors.
const OLD_FILTERS: [(&str, &str); 6] = [
    ("envoy.http_connection_manager", "envoy.filters.network.http_connection_manager"),
    ("envoy.tcp_proxy", "envoy.filters.network.tcp_proxy"),
    ("envoy.router", "envoy.filters.http.router"),
    ("envoy.lua", "envoy.filters.http.lua"),
    ("envoy.cors", "envoy.filters.http.cors"),
    ("envoy.fault", "envoy.filters.http.fault"),
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

fn unknown(path: FieldPath<'_>, fields: &Map<String, Value>, known: &[&str], findings: &mut Findings<'_>) {
    for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
        findings.error(path.field(name), format_args!("unknown field {name:?}"));
        if let Some(near) = suggest::nearest(name, known.iter().copied()) {
            findings.help(format!("did you mean {near:?}?"));
        }
    }
}

/// A value that must be one of some words; the empty text when it is absent.
fn word<'a>(path: FieldPath<'_>, value: Option<&'a Value>, words: &[&str], findings: &mut Findings<'_>) -> &'a str {
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
        Some(Value::Object(patch)) => {
            let at = path.field("patch");
            unknown(at, patch, &["operation", "value", "filterClass"], findings);
            let operation = word(at.field("operation"), patch.get("operation"), &OPERATIONS, findings);
            let value = patch.get("value").is_some_and(|value| !value.is_null());
            if !value && matches!(operation, "ADD" | "MERGE" | "INSERT_BEFORE" | "INSERT_AFTER" | "INSERT_FIRST") {
                findings.error(at, format_args!("value is required for {operation}"));
            }
        }
        Some(Value::Null) | None => findings.error(path, "patch is required"),
        Some(_) => findings.error(path.field("patch"), "expected a mapping"),
    }
    if let Some(Value::Object(condition)) = entry.get("match") {
        matches(path.field("match"), condition, apply_to, findings);
    }
}

fn matches(path: FieldPath<'_>, condition: &Map<String, Value>, apply_to: &str, findings: &mut Findings<'_>) {
    let known: Vec<&str> = MATCHES.into_iter().chain(["context", "proxy"]).collect();
    unknown(path, condition, &known, findings);
    let context = word(path.field("context"), condition.get("context"), &CONTEXTS, findings);
    let given: Vec<&str> = MATCHES.into_iter().filter(|name| condition.contains_key(*name)).collect();
    if given.len() > 1 {
        findings.error(path, format_args!("{} exclude each other: keep one", given.join(" and ")));
    }
    let fitting = match apply_to {
        "LISTENER" | "FILTER_CHAIN" | "NETWORK_FILTER" | "LISTENER_FILTER" => &["listener"][..],
        "HTTP_FILTER" => &["listener", "waypoint"],
        "ROUTE_CONFIGURATION" | "VIRTUAL_HOST" | "HTTP_ROUTE" => &["routeConfiguration", "waypoint"],
        "CLUSTER" => &["cluster"],
        _ => &MATCHES,
    };
    for name in given.iter().filter(|name| !fitting.contains(name)) {
        findings.error(path.field(name), format_args!("{name} does not fit applyTo {apply_to}"));
    }
    let waypoint = path.field("waypoint");
    if let Some(value) = condition.get("waypoint") {
        if context != "WAYPOINT" {
            findings.error(waypoint, "waypoint needs context WAYPOINT");
        }
        if let Some(number) = value.get("portNumber").and_then(Value::as_u64) {
            rules::port(waypoint.field("portNumber"), u32::try_from(number).unwrap_or(u32::MAX), findings);
        }
    }
    let filter = condition.get("listener").and_then(|listener| listener.pointer("/filterChain/filter"));
    if let Some(filter) = filter {
        let path = path.field("listener");
        let path = path.field("filterChain");
        let path = path.field("filter");
        if filter.get("subFilter").is_some() && apply_to != "HTTP_FILTER" {
            findings.error(path.field("subFilter"), "subFilter needs applyTo HTTP_FILTER");
        }
        let name = filter.get("name").and_then(Value::as_str).unwrap_or_default();
        if let Some((_, new)) = OLD_FILTERS.iter().find(|(old, _)| *old == name) {
            findings.warning(path.field("name"), format_args!("the filter name {name:?} is deprecated: use {new:?}"));
        }
    }
}
