//! The rules of what an HTTP route does beside forwarding: redirects, fixed responses, rewrites, faults.

use super::{Findings, rules};
use crate::{
    model::{FaultAbort, FaultDelay, HttpDirectResponse, HttpRedirect, HttpRewrite, HttpRoute},
    path::FieldPath,
};

/// Checks what a route does beside forwarding.
pub(super) fn validate(path: FieldPath<'_>, route: &HttpRoute, findings: &mut Findings<'_>) {
    if let Some(action) = &route.redirect {
        redirect(path.field("redirect"), action, findings);
    }
    if let Some(action) = &route.direct_response {
        direct_response(path.field("directResponse"), action, findings);
    }
    if let Some(action) = &route.rewrite {
        rewrite(path.field("rewrite"), action, findings);
    }
    if let Some(fault) = &route.fault {
        let path = path.field("fault");
        if fault.abort.is_none() && fault.delay.is_none() {
            findings.error(path, "at least one of abort and delay is required");
        }
        if let Some(part) = &fault.abort {
            abort(path.field("abort"), part, findings);
        }
        if let Some(part) = &fault.delay {
            delay(path.field("delay"), part, findings);
        }
    }
}

fn is_given(text: Option<&String>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

fn redirect(path: FieldPath<'_>, action: &HttpRedirect, findings: &mut Findings<'_>) {
    let uri = is_given(action.uri.as_ref());
    let prefix = is_given(action.prefix_rewrite.as_ref());
    let other = is_given(action.authority.as_ref())
        || is_given(action.scheme.as_ref())
        || action.port.is_some()
        || action.derive_port.is_some();
    if !uri && !prefix && !other {
        findings.error(path, "at least one of uri, prefixRewrite, authority, scheme and port is required");
    }
    if uri && prefix {
        findings.error(path.field("prefixRewrite"), "uri and prefixRewrite exclude each other");
    }
    if action.port.is_some() && action.derive_port.is_some() {
        findings.error(path.field("derivePort"), "port and derivePort exclude each other");
    }
    if let Some(port) = action.port {
        rules::port(path.field("port"), port, findings);
    }
    if let Some(code) = action.redirect_code.filter(|code| *code != 0 && !(300..=399).contains(code)) {
        findings.error(
            path.field("redirectCode"),
            format_args!("status {code} is no redirect: use 301, 302, 303, 307 or 308"),
        );
    }
    if let Some(scheme) = action.scheme.as_deref().filter(|scheme| !matches!(*scheme, "" | "http" | "https")) {
        findings.error(path.field("scheme"), format_args!("unknown scheme {scheme:?}: use http or https"));
    }
}

/// Checks a status code of an answer that is made up.
fn status(path: FieldPath<'_>, code: i64, findings: &mut Findings<'_>) {
    if !(200..=599).contains(&code) {
        findings.error(path, format_args!("status {code} must be between 200 and 599"));
    }
}

fn direct_response(path: FieldPath<'_>, action: &HttpDirectResponse, findings: &mut Findings<'_>) {
    const LARGE: usize = 100 * 1024;
    const LARGEST: usize = 1024 * 1024;
    status(path.field("status"), action.status.into(), findings);
    let Some(body) = &action.body else { return };
    let path = path.field("body");
    if body.string.is_some() && body.bytes.is_some() {
        findings.error(path, "string and bytes exclude each other: keep one");
    }
    let size =
        body.string.as_ref().map_or(0, String::len).max(body.bytes.as_ref().map_or(0, |text| text.len() / 4 * 3));
    if size > LARGEST {
        findings.error(path, format_args!("the body is larger than {LARGEST} bytes"));
    } else if size > LARGE {
        findings.warning(path, format_args!("the body is larger than {LARGE} bytes: every proxy keeps it in memory"));
    }
}

fn rewrite(path: FieldPath<'_>, action: &HttpRewrite, findings: &mut Findings<'_>) {
    let uri = is_given(action.uri.as_ref());
    if !uri && !is_given(action.authority.as_ref()) && action.uri_regex_rewrite.is_none() {
        findings.error(path, "at least one of uri, authority and uriRegexRewrite is required");
    }
    if let Some(expression) = &action.uri_regex_rewrite {
        let path = path.field("uriRegexRewrite");
        if uri {
            findings.error(path, "uri and uriRegexRewrite exclude each other");
        }
        rules::regex(path.field("match"), &expression.pattern, findings);
        if expression.rewrite.is_empty() {
            findings.error(path.field("rewrite"), "the replacement is required");
        }
    }
}

/// gRPC's status codes by name. Source: `google.rpc.Code`.
const GRPC: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn abort(path: FieldPath<'_>, fault: &FaultAbort, findings: &mut Findings<'_>) {
    rules::percent(path.field("percentage"), fault.percentage, findings);
    let given = [fault.http_status.is_some(), fault.grpc_status.is_some(), fault.http2_error.is_some()];
    match given.iter().filter(|given| **given).count() {
        0 => findings.error(path, "one of httpStatus and grpcStatus is required"),
        1 => {}
        _ => findings.error(path, "httpStatus, grpcStatus and http2Error exclude each other: keep one"),
    }
    if let Some(code) = fault.http_status {
        status(path.field("httpStatus"), code.into(), findings);
    }
    if let Some(name) = fault.grpc_status.as_deref().filter(|name| !GRPC.contains(name)) {
        findings.error(path.field("grpcStatus"), format_args!("unknown gRPC status {name:?}"));
        if let Some(near) = crate::suggest::nearest(name, GRPC) {
            findings.help(format!("did you mean {near:?}?"));
        }
    }
    if fault.http2_error.is_some() {
        findings.error(path.field("http2Error"), "HTTP/2 errors are not supported: use httpStatus or grpcStatus");
    }
}

fn delay(path: FieldPath<'_>, fault: &FaultDelay, findings: &mut Findings<'_>) {
    rules::percent(path.field("percentage"), fault.percentage, findings);
    if let Some(share) = fault.percent {
        let at = path.field("percent");
        if !(0..=100).contains(&share) {
            findings.error(at, format_args!("{share} must be between 0 and 100 percent"));
        } else if share != 0 {
            findings.warning(at, "percent is deprecated: use percentage");
        }
    }
    if fault.exponential_delay.is_some() {
        findings.error(path.field("exponentialDelay"), "random delays are not supported: use fixedDelay");
    } else if fault.fixed_delay.is_none() {
        findings.error(path, "fixedDelay is required");
    }
    rules::duration(path.field("fixedDelay"), fault.fixed_delay, findings);
}
