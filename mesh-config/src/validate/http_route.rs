//! The rules of one HTTP route of a `VirtualService`.

use super::{
    Findings, http_action, http_match, rules,
    virtual_service::{destination, weights},
};
use crate::{
    model::{CorsPolicy, HeaderOperations, Headers, HttpRetry, HttpRoute, StringMatch},
    path::FieldPath,
};

/// Checks a route; `in_delegate` when its object is itself a delegate.
pub(super) fn validate(path: FieldPath<'_>, route: &HttpRoute, in_delegate: bool, findings: &mut Findings<'_>) {
    actions(path, route, in_delegate, findings);
    let matches = path.field("match");
    for (index, condition) in route.matches.iter().enumerate() {
        http_match::validate(matches.index(index), condition, route, findings);
    }
    let routes = path.field("route");
    for (index, target) in route.route.iter().enumerate() {
        let path = routes.index(index);
        destination(path.field("destination"), target.destination.as_ref(), findings);
        headers(path.field("headers"), target.headers.as_ref(), findings);
        authority(path, None, target.headers.as_ref(), findings);
    }
    let all: Vec<_> = route.route.iter().map(|target| target.weight).collect();
    weights(routes, &all, findings);
    headers(path.field("headers"), route.headers.as_ref(), findings);
    let rewrite = route.rewrite.as_ref().and_then(|rewrite| rewrite.authority.as_deref());
    authority(path, rewrite, route.headers.as_ref(), findings);
    rules::duration(path.field("timeout"), route.timeout, findings);
    if let Some(policy) = &route.retries {
        retries(path.field("retries"), policy, findings);
    }
    if let Some(policy) = &route.cors_policy {
        cors(path.field("corsPolicy"), policy, findings);
    }
    mirrors(path, route, findings);
    http_action::validate(path, route, findings);
}

/// Checks that a route does exactly one thing.
fn actions(path: FieldPath<'_>, route: &HttpRoute, in_delegate: bool, findings: &mut Findings<'_>) {
    let given = [
        ("route", !route.route.is_empty()),
        ("redirect", route.redirect.is_some()),
        ("directResponse", route.direct_response.is_some()),
        ("delegate", route.delegate.is_some()),
    ];
    let names: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    match names.as_slice() {
        [] => findings.error(path, "one of route, redirect, directResponse and delegate is required"),
        [only] => {
            let answers = matches!(*only, "redirect" | "directResponse");
            for (name, given) in [("rewrite", route.rewrite.is_some()), ("fault", route.fault.is_some())] {
                if given && answers {
                    findings.error(path.field(name), format_args!("{name} and {only} exclude each other"));
                }
            }
        }
        [first, second, ..] => {
            findings.error(path.field(second), format_args!("{first} and {second} exclude each other: keep one"));
        }
    }
    if let Some(delegate) = &route.delegate {
        let path = path.field("delegate");
        if in_delegate {
            findings.error(path, "a delegate cannot delegate further");
        }
        if delegate.name.is_empty() {
            findings.error(path.field("name"), "the name of the delegate is required");
        }
    }
}

/// Conditions that retries can depend on. Source: Envoy's router, `x-envoy-retry-on` and `x-envoy-retry-grpc-on`.
const RETRY_ON: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

fn retries(path: FieldPath<'_>, policy: &HttpRetry, findings: &mut Findings<'_>) {
    rules::not_negative(path.field("attempts"), Some(policy.attempts), findings);
    let settings = policy.per_try_timeout.is_some()
        || policy.retry_on.as_ref().is_some_and(|on| !on.is_empty())
        || policy.retry_remote_localities.is_some()
        || policy.backoff.is_some();
    if policy.attempts == 0 && settings {
        findings.error(path, "attempts is 0 (no retries), but other settings are given");
        findings.help("set attempts to at least 1, or remove the other settings");
    }
    rules::duration(path.field("perTryTimeout"), policy.per_try_timeout, findings);
    rules::duration(path.field("backoff"), policy.backoff, findings);
    for condition in policy.retry_on.iter().flat_map(|on| on.split(',')).map(str::trim).filter(|on| !on.is_empty()) {
        let status = condition.parse().is_ok_and(|code: u32| (100..=599).contains(&code));
        if !status && !RETRY_ON.contains(&condition) {
            findings.error(path.field("retryOn"), format_args!("unknown condition {condition:?}"));
            if let Some(near) = crate::suggest::nearest(condition, RETRY_ON) {
                findings.help(format!("did you mean {near:?}?"));
            }
        }
    }
}

fn cors(path: FieldPath<'_>, policy: &CorsPolicy, findings: &mut Findings<'_>) {
    const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"];
    let origins = path.field("allowOrigins");
    for (index, origin) in policy.allow_origins.iter().enumerate() {
        if matches!(origin, StringMatch::Present) || *origin == StringMatch::Exact(String::new()) {
            findings.error(origins.index(index), "one of exact, prefix and regex is required, and not empty");
        }
        rules::string_match(origins.index(index), origin, findings);
    }
    let methods = path.field("allowMethods");
    for (index, method) in policy.allow_methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            findings.error(methods.index(index), format_args!("unknown method {method:?}"));
        }
    }
    for (field, names) in [("allowHeaders", &policy.allow_headers), ("exposeHeaders", &policy.expose_headers)] {
        let path = path.field(field);
        for (index, name) in names.iter().enumerate().filter(|(_, name)| !is_header(name)) {
            findings.error(path.index(index), format_args!("invalid header name {name:?}"));
        }
    }
    rules::duration(path.field("maxAge"), policy.max_age, findings);
    if policy
        .max_age
        .is_some_and(|age| age.as_std().subsec_nanos() != 0 && age.as_std().subsec_nanos() % 1_000_000 == 0)
    {
        findings.error(path.field("maxAge"), "the duration must be whole seconds");
    }
}

fn is_header(name: &str) -> bool {
    rules::is_header_name(name)
}

/// Checks changes of headers.
fn headers(path: FieldPath<'_>, headers: Option<&Headers>, findings: &mut Findings<'_>) {
    let Some(headers) = headers else { return };
    for (field, operations) in [("request", &headers.request), ("response", &headers.response)] {
        if let Some(operations) = operations {
            operation(path.field(field), operations, field == "request", findings);
        }
    }
}

fn operation(path: FieldPath<'_>, operations: &HeaderOperations, of_request: bool, findings: &mut Findings<'_>) {
    for (field, values) in [("set", &operations.set), ("add", &operations.add)] {
        let path = path.field(field);
        for (name, value) in values {
            header_name(path.field(name), name, of_request, findings);
            if !is_header_value(value) {
                findings.error(path.field(name), format_args!("invalid value {value:?}: a % stands alone"));
                findings.help("write %% for a percent sign, or %NAME% for a variable");
            }
        }
    }
    let remove = path.field("remove");
    for (index, name) in operations.remove.iter().enumerate() {
        header_name(remove.index(index), name, false, findings);
    }
}

/// Whether a header names the host of a request.
fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
}

/// Checks the name of a header; the host may be changed only in requests, and may not be taken away.
fn header_name(path: FieldPath<'_>, name: &str, authority: bool, findings: &mut Findings<'_>) {
    if name.is_empty() {
        findings.error(path, "the name of a header must not be empty");
    } else if is_authority(name) {
        if !authority {
            findings.error(path, format_args!("the header {name:?} can be set only in requests"));
        }
    } else if !rules::is_header_name(name) {
        findings.error(path, format_args!("invalid header name {name:?}"));
    }
}

/// Checks that the host of a request is set by one setting only.
fn authority(path: FieldPath<'_>, rewrite: Option<&str>, headers: Option<&Headers>, findings: &mut Findings<'_>) {
    let Some(request) = headers.and_then(|headers| headers.request.as_ref()) else { return };
    let mut settings = usize::from(rewrite.is_some_and(|host| !host.is_empty()));
    let path = path.field("headers");
    let path = path.field("request");
    for (field, values) in [("set", &request.set), ("add", &request.add)] {
        let path = path.field(field);
        for name in values.keys().filter(|name| is_authority(name)) {
            settings += 1;
            if settings > 1 {
                findings.error(path.field(name), "the host of the request is already set by another setting");
            }
        }
    }
}

/// Whether every `%` of a value is doubled or begins a whole variable. Source: Envoy's custom request headers.
fn is_header_value(value: &str) -> bool {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('%') {
        let Some(next) = after.strip_prefix('%').or_else(|| variable(after)) else { return false };
        rest = next;
    }
    true
}

/// What follows `NAME%`, `NAME(ARGUMENTS)%` or `NAME(ARGUMENTS):LENGTH%`.
fn variable(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|end| *end > 0)?;
    let mut rest = &text[end..];
    if rest.starts_with('(') {
        rest = &rest[rest.find(')')? + 1..];
    }
    if let Some(length) = rest.strip_prefix(':') {
        rest = length.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    rest.strip_prefix('%')
}

fn mirrors(path: FieldPath<'_>, route: &HttpRoute, findings: &mut Findings<'_>) {
    if route.mirror.is_some() {
        destination(path.field("mirror"), route.mirror.as_ref(), findings);
        if !route.mirrors.is_empty() {
            findings.error(path.field("mirrors"), "mirror and mirrors exclude each other: keep mirrors");
        }
    }
    if route.mirror_percent.is_some_and(|share| share > 100) {
        findings.error(path.field("mirrorPercent"), "the share must be between 0 and 100 percent");
    }
    rules::percent(path.field("mirrorPercentage"), route.mirror_percentage, findings);
    let mirrors = path.field("mirrors");
    for (index, mirror) in route.mirrors.iter().enumerate() {
        let path = mirrors.index(index);
        destination(path.field("destination"), mirror.destination.as_ref(), findings);
        rules::percent(path.field("percentage"), mirror.percentage, findings);
    }
}
