//! The rules of the settings that proxies of a mesh start with.

use serde_json::Value;

use super::{address, field, port, span, text, tls};
use crate::{
    path::FieldPath,
    validate::{Findings, rules},
};

/// Checks the settings of proxies. Fields that are left out have their defaults.
pub(super) fn validate(path: FieldPath<'_>, given: &Value, findings: &mut Findings<'_>) {
    if given.is_null() {
        return;
    }
    for name in ["configPath", "binaryPath", "serviceCluster"] {
        if text(given, name) == Some("") {
            findings.error(path.field(name), "must not be empty");
        }
    }
    if text(given, "serviceCluster").is_some() && !field(given, "tracingServiceName").is_null() {
        findings.error(path, "serviceCluster and tracingServiceName exclude each other: keep one");
    }
    if let Some(drain) = span(given, "drainDuration") {
        let path = path.field("drainDuration");
        rules::duration(path, Some(drain), findings);
        if drain.as_std().subsec_nanos() != 0 {
            findings.error(path, "must be whole seconds");
        }
    }
    for name in ["discoveryAddress", "zipkinAddress", "statsdUdpAddress", "envoyMetricsServiceAddress"] {
        if let Some(text) = text(given, name).filter(|text| !text.is_empty()) {
            address(path.field(name), text, findings);
        }
    }
    for name in ["envoyMetricsService", "envoyAccessLogService"] {
        let service = field(given, name);
        if let Some(text) = text(service, "address").filter(|text| !text.is_empty()) {
            let path = path.field(name);
            address(path.field("address"), text, findings);
        }
        tls(path.field(name), service, findings);
    }
    port(path, given, "proxyAdminPort", findings);
    port(path, given, "statusPort", findings);
    tracing(path.field("tracing"), field(given, "tracing"), findings);
    let providers = field(given, "privateKeyProvider");
    let at = path.field("privateKeyProvider");
    for name in ["cryptomb", "qat"] {
        let provider = field(providers, name);
        if !provider.is_null() && span(provider, "pollDelay").is_none_or(|delay| delay.is_zero()) {
            let path = at.field(name);
            findings.error(path.field("pollDelay"), "a delay longer than 0s is required");
        }
    }
}

fn tracing(path: FieldPath<'_>, given: &Value, findings: &mut Findings<'_>) {
    for name in ["zipkin", "lightstep", "datadog"] {
        let tracer = field(given, name);
        if tracer.is_null() {
            continue;
        }
        let path = path.field(name);
        address(path.field("address"), text(tracer, "address").unwrap_or_default(), findings);
        if name == "lightstep" && text(tracer, "accessToken").is_none_or(str::is_empty) {
            findings.error(path.field("accessToken"), "must not be empty");
        }
    }
    tls(path, given, findings);
}
