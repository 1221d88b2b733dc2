//! The rules of what patches of an `EnvoyFilter` match, by what they apply to.

use serde_json::{Map, Value};

use super::{
    Findings,
    envoy_filter::{deprecated, unknown, word},
    rules,
};
use crate::path::FieldPath;

const CONTEXTS: [&str; 5] = ["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"];
/// Forms of a match, of which one can be given.
const FORMS: [&str; 4] = ["listener", "routeConfiguration", "cluster", "waypoint"];
/// Names of the filter that other filters are inside of.
const MANAGER: [&str; 2] = ["envoy.filters.network.http_connection_manager", "envoy.http_connection_manager"];

/// Checks what a patch matches.
pub(super) fn validate(
    path: FieldPath<'_>,
    condition: &Map<String, Value>,
    apply_to: &str,
    findings: &mut Findings<'_>,
) {
    let known: Vec<&str> = FORMS.into_iter().chain(["context", "proxy"]).collect();
    unknown(path, condition, &known, findings);
    let context = word(path.field("context"), condition.get("context"), &CONTEXTS, findings);
    let given: Vec<&str> =
        FORMS.into_iter().filter(|name| condition.get(*name).is_some_and(|value| !value.is_null())).collect();
    if given.len() > 1 {
        findings.error(path, format_args!("{} exclude each other: keep one", given.join(" and ")));
    }
    let own = match apply_to {
        "LISTENER" | "FILTER_CHAIN" | "NETWORK_FILTER" | "HTTP_FILTER" | "LISTENER_FILTER" => "listener",
        "ROUTE_CONFIGURATION" | "VIRTUAL_HOST" | "HTTP_ROUTE" => "routeConfiguration",
        "CLUSTER" => "cluster",
        _ => "",
    };
    for name in given.iter().filter(|name| !own.is_empty() && **name != own && **name != "waypoint") {
        findings.error(path.field(name), format_args!("{name} does not fit applyTo {apply_to}"));
    }
    if context == "WAYPOINT" {
        if matches!(apply_to, "LISTENER" | "LISTENER_FILTER" | "BOOTSTRAP" | "EXTENSION_CONFIG") {
            findings.error(path.field("context"), format_args!("a patch of {apply_to} does not fit context WAYPOINT"));
        }
        for name in given.iter().filter(|name| **name != "waypoint" && **name == own) {
            findings.error(path.field(name), format_args!("in context WAYPOINT, match waypoint instead of {name}"));
        }
    }
    proxy(path, condition, findings);
    if let Some(value) = condition.get("waypoint").filter(|value| !value.is_null()) {
        if context != "WAYPOINT" {
            findings.error(path.field("waypoint"), "waypoint needs context WAYPOINT");
        }
        waypoint(path.field("waypoint"), value, apply_to, findings);
    }
    let filter = condition.get("listener").and_then(|listener| listener.pointer("/filterChain/filter"));
    if let Some(filter) = filter.filter(|filter| !filter.is_null()) {
        let path = path.field("listener");
        let path = path.field("filterChain");
        self::filter(path.field("filter"), filter, apply_to, findings);
    }
}

fn proxy(path: FieldPath<'_>, condition: &Map<String, Value>, findings: &mut Findings<'_>) {
    let Some(proxy) = condition.get("proxy").filter(|proxy| !proxy.is_null()) else { return };
    let path = path.field("proxy");
    let Some(proxy) = proxy.as_object() else { return findings.error(path, "expected a mapping") };
    unknown(path, proxy, &["proxyVersion", "metadata"], findings);
    let version = proxy.get("proxyVersion").and_then(Value::as_str).unwrap_or_default();
    if !version.is_empty() {
        rules::regex(path.field("proxyVersion"), version, findings);
    }
}

/// A filter of a listener, and the filter inside of it.
fn filter(path: FieldPath<'_>, filter: &Value, apply_to: &str, findings: &mut Findings<'_>) {
    if matches!(apply_to, "LISTENER" | "FILTER_CHAIN") {
        findings.warning(path, format_args!("a filter match has no effect on patches of {apply_to}"));
    }
    let name = filter.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        findings.error(path, "name is required");
    }
    deprecated(path.field("name"), name, findings);
    let Some(inner) = filter.get("subFilter").filter(|inner| !inner.is_null()) else { return };
    let path = path.field("subFilter");
    if apply_to != "HTTP_FILTER" {
        findings.error(path, "subFilter needs applyTo HTTP_FILTER");
    } else if !MANAGER.contains(&name) {
        findings.error(path, format_args!("subFilter needs a filter with name {:?}", MANAGER[0]));
    }
    let name = inner.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        findings.error(path, "name is required");
    }
    deprecated(path.field("name"), name, findings);
}

/// What is matched at a waypoint: a filter for patches of filters, a route for patches of routes.
fn waypoint(path: FieldPath<'_>, value: &Value, apply_to: &str, findings: &mut Findings<'_>) {
    let Some(value) = value.as_object() else { return findings.error(path, "expected a mapping") };
    unknown(path, value, &["portNumber", "filter", "route"], findings);
    if let Some(number) = value.get("portNumber").and_then(Value::as_u64) {
        rules::port(path.field("portNumber"), u32::try_from(number).unwrap_or(u32::MAX), findings);
    }
    let of_route = matches!(apply_to, "ROUTE_CONFIGURATION" | "VIRTUAL_HOST" | "HTTP_ROUTE");
    if value.get("route").is_some_and(|route| !route.is_null()) && !of_route {
        findings.error(path.field("route"), format_args!("route does not fit applyTo {apply_to}"));
    }
    let Some(filter) = value.get("filter").filter(|filter| !filter.is_null()) else { return };
    let path = path.field("filter");
    let name = |value: &Value| value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let inner = filter.get("subFilter").filter(|inner| !inner.is_null());
    if of_route || apply_to == "CLUSTER" {
        findings.error(path, format_args!("filter does not fit applyTo {apply_to}"));
    } else if apply_to == "HTTP_FILTER" {
        if name(filter) != MANAGER[0] {
            findings.error(path.field("name"), format_args!("for HTTP_FILTER the name must be {:?}", MANAGER[0]));
        }
        if inner.is_none_or(|inner| name(inner).is_empty()) {
            findings.error(path.field("subFilter"), "for HTTP_FILTER a subFilter with a name is required");
        }
    } else {
        if name(filter).is_empty() {
            findings.error(path, "name is required");
        }
        if inner.is_some() {
            findings.error(path.field("subFilter"), "subFilter needs applyTo HTTP_FILTER");
        }
    }
}
