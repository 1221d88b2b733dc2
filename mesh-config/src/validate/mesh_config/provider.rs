//! The rules of extension providers: a name of its own, one kind, and where its service is.
//!
//! The control plane starts with a faulty provider and passes over it, so that these are warnings.

use serde_json::Value;

use super::{field, items, text};
use crate::{
    path::FieldPath,
    validate::{Findings, rules},
};

/// A kind of provider.
struct Provider {
    name: &'static str,
    fields: &'static [&'static str],
    /// Whether it names a service and its port.
    has_service: bool,
}

const fn provider(name: &'static str, has_service: bool, fields: &'static [&'static str]) -> Provider {
    Provider { name, fields, has_service }
}

const HTTP: &[&str] = &[
    "service",
    "port",
    "timeout",
    "pathPrefix",
    "failOpen",
    "clearRouteCache",
    "statusOnError",
    "includeHeadersInCheck",
    "includeRequestHeadersInCheck",
    "includeAdditionalHeadersInCheck",
    "includeRequestBodyInCheck",
    "headersToUpstreamOnAllow",
    "headersToDownstreamOnDeny",
    "headersToDownstreamOnAllow",
];
const GRPC: &[&str] =
    &["service", "port", "timeout", "failOpen", "clearRouteCache", "statusOnError", "includeRequestBodyInCheck"];
const LOG: &[&str] = &[
    "service",
    "port",
    "logName",
    "filterStateObjectsToLog",
    "additionalRequestHeadersToLog",
    "additionalResponseHeadersToLog",
    "additionalResponseTrailersToLog",
];

const KINDS: [Provider; 15] = [
    provider("envoyExtAuthzHttp", true, HTTP),
    provider("envoyExtAuthzGrpc", true, GRPC),
    provider(
        "zipkin",
        true,
        &["service", "port", "maxTagLength", "enable64bitTraceId", "path", "timeout", "headers", "traceContextOption"],
    ),
    provider("lightstep", true, &["service", "port", "accessToken", "maxTagLength"]),
    provider("datadog", true, &["service", "port", "maxTagLength"]),
    provider("opencensus", true, &["service", "port", "context", "maxTagLength"]),
    provider("skywalking", true, &["service", "port", "accessToken"]),
    provider(
        "opentelemetry",
        true,
        &[
            "service",
            "port",
            "maxTagLength",
            "http",
            "grpc",
            "resourceDetectors",
            "dynatraceSampler",
            "serviceAttributeEnrichment",
        ],
    ),
    provider(
        "stackdriver",
        false,
        &[
            "maxTagLength",
            "logging",
            "debug",
            "maxNumberOfAttributes",
            "maxNumberOfAnnotations",
            "maxNumberOfMessageEvents",
        ],
    ),
    provider("prometheus", false, &[]),
    provider("envoyFileAccessLog", false, &["path", "logFormat", "omitEmptyValues"]),
    provider("envoyHttpAls", true, LOG),
    provider("envoyTcpAls", true, LOG),
    provider("envoyOtelAls", true, &["service", "port", "logName", "logFormat"]),
    provider("sds", true, &["name", "service", "port"]),
];

/// Checks the providers of a mesh.
pub(super) fn validate(path: FieldPath<'_>, settings: &Value, findings: &mut Findings<'_>) {
    let all: Vec<&Value> = items(settings, "extensionProviders").collect();
    for (index, entry) in all.iter().enumerate() {
        let path = path.index(index);
        let Some(fields) = entry.as_object() else {
            findings.error(path, "expected a mapping");
            continue;
        };
        let name = text(entry, "name").unwrap_or_default();
        if name.is_empty() {
            findings.warning(path, "name is required");
        } else if all[..index].iter().any(|other| text(other, "name") == Some(name)) {
            findings.warning(path.field("name"), format_args!("there is a provider {name:?} before this one"));
        }
        let mut kinds = 0;
        for (key, value) in fields.iter().filter(|(key, _)| *key != "name") {
            let written = super::schema::camel(key);
            match KINDS.iter().find(|kind| kind.name == written) {
                None => findings.warning(path.field(key), format_args!("unknown kind of provider {key:?}")),
                Some(kind) => {
                    kinds += 1;
                    own(path.field(key), value, kind, findings);
                }
            }
        }
        if kinds != 1 {
            findings.warning(path, format_args!("a provider is of one kind; {kinds} are given"));
        }
    }
}

fn own(path: FieldPath<'_>, value: &Value, kind: &Provider, findings: &mut Findings<'_>) {
    for key in value.as_object().into_iter().flat_map(|fields| fields.keys()) {
        if !kind.fields.contains(&super::schema::camel(key).as_str()) {
            findings.warning(path.field(key), format_args!("unknown field {key:?} of {}", kind.name));
        }
    }
    if kind.has_service {
        service(path.field("service"), text(value, "service").unwrap_or_default(), findings);
        let number = field(value, "port").as_u64().and_then(|number| u16::try_from(number).ok());
        if number.is_none_or(|number| number == 0) {
            findings.warning(path.field("port"), "a port from 1 to 65535 is required");
        }
    }
    match kind.name {
        "envoyExtAuthzHttp"
            if text(value, "pathPrefix").is_some_and(|start| !start.is_empty() && !start.starts_with('/')) =>
        {
            findings.warning(path.field("pathPrefix"), "must begin with /");
        }
        "lightstep" if text(value, "accessToken").is_none_or(str::is_empty) => {
            findings.warning(path.field("accessToken"), "must not be empty");
        }
        "opentelemetry" if !field(value, "http").is_null() && !field(value, "grpc").is_null() => {
            findings.warning(path, "http and grpc exclude each other: keep one");
        }
        _ => {}
    }
    if kind.name.starts_with("envoyExtAuthz") {
        let status = text(value, "statusOnError").filter(|status| !status.is_empty());
        if status.is_some_and(|status| !status.parse::<u16>().is_ok_and(|status| (200..600).contains(&status))) {
            findings.warning(path.field("statusOnError"), "must be a status code of HTTP");
        }
        let body = field(value, "includeRequestBodyInCheck");
        if !body.is_null() && field(body, "maxRequestBytes").as_u64().is_none_or(|bytes| bytes == 0) {
            let path = path.field("includeRequestBodyInCheck");
            findings.warning(path.field("maxRequestBytes"), "must be more than 0");
        }
    }
}

/// `HOST` or `NAMESPACE/HOST`.
fn service(path: FieldPath<'_>, text: &str, findings: &mut Findings<'_>) {
    let host = match text.split_once('/') {
        None => text,
        Some((namespace, host)) => {
            if !rules::is_label(namespace) {
                findings.warning(path, format_args!("invalid namespace {namespace:?}"));
            }
            host
        }
    };
    if let Some(fault) = rules::host_fault(host) {
        findings.warning(path, format_args!("invalid service {text:?}: {fault}"));
    }
}
