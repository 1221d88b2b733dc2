//! The rules of `GRPCRoute`.

use super::{
    filter, header, name, parent,
    reference::{self, Backend},
    session,
};
use crate::{
    model::{
        Object,
        gateway_api::{GrpcMethodMatch, GrpcRoute, GrpcRouteMatch, GrpcRouteRule, MatchType},
    },
    path::FieldPath,
    validate::{Findings, rules},
};

/// The most conditions of all rules together.
const MATCH_LIMIT: usize = 128;

/// Checks a `GRPCRoute`.
pub(in crate::validate) fn validate(_: &Object, spec: &GrpcRoute, findings: &mut Findings<'_>) {
    parent::validate(&spec.parent_refs, spec.use_default_gateways.as_deref(), findings);
    name::hosts(&spec.hostnames, findings);
    let root = FieldPath::spec();
    let path = root.field("rules");
    rules::max_items(path, spec.rules.len(), 16, findings);
    let matches: usize = spec.rules.iter().map(|rule| rule.matches.len()).sum();
    if matches > MATCH_LIMIT {
        findings.error(path, format_args!("{matches} matches in all are more than the limit of {MATCH_LIMIT}"));
    }
    for (index, entry) in spec.rules.iter().enumerate() {
        let path = path.index(index);
        rule(path, entry, findings);
        if entry.name.is_some() && spec.rules[..index].iter().any(|other| other.name == entry.name) {
            findings.error(path.field("name"), "the name of a rule must be unique in the route");
        }
    }
}

fn rule(path: FieldPath<'_>, rule: &GrpcRouteRule, findings: &mut Findings<'_>) {
    name::section(path.field("name"), rule.name.as_deref(), findings);
    let at = path.field("matches");
    rules::max_items(at, rule.matches.len(), 64, findings);
    rule.matches.iter().enumerate().for_each(|(index, entry)| condition(at.index(index), entry, findings));
    filter::grpc(path.field("filters"), &rule.filters, findings);
    let at = path.field("backendRefs");
    rules::max_items(at, rule.backend_refs.len(), 16, findings);
    for (index, entry) in rule.backend_refs.iter().enumerate() {
        let path = at.index(index);
        Backend::from(entry).check(path, findings);
        reference::weight(path, entry.weight, findings);
        filter::grpc(path.field("filters"), &entry.filters, findings);
    }
    if let Some(kept) = &rule.session_persistence {
        session::validate(path.field("sessionPersistence"), kept, findings);
    }
}

fn condition(path: FieldPath<'_>, condition: &GrpcRouteMatch, findings: &mut Findings<'_>) {
    if let Some(wanted) = &condition.method {
        method(path.field("method"), wanted, findings);
    }
    let at = path.field("headers");
    rules::max_items(at, condition.headers.len(), 16, findings);
    for (index, wanted) in condition.headers.iter().enumerate() {
        let at = at.index(index);
        header::token(at.field("name"), &wanted.name, findings);
        if wanted.value.is_empty() {
            findings.error(at.field("value"), "the value must not be empty");
        }
        rules::max_len(at.field("value"), &wanted.value, 4096, findings);
        if condition.headers[..index].iter().any(|other| other.name == wanted.name) {
            findings.error(at.field("name"), format_args!("the header {:?} stands twice", wanted.name));
        }
    }
}

/// Checks service and method: names as protobuf has them, unless they are expressions.
fn method(path: FieldPath<'_>, wanted: &GrpcMethodMatch, findings: &mut Findings<'_>) {
    if wanted.service.is_none() && wanted.method.is_none() {
        findings.error(path, "at least one of service and method is required");
    }
    for (field, text) in [("service", &wanted.service), ("method", &wanted.method)] {
        rules::max_len(path.field(field), text.as_deref().unwrap_or_default(), 1024, findings);
    }
    if wanted.match_type == Some(MatchType::RegularExpression) {
        return;
    }
    if let Some(service) = wanted.service.as_deref() {
        let bare = service.strip_prefix('.').unwrap_or(service);
        if !bare.split('.').all(is_identifier) {
            findings.error(path.field("service"), format_args!("invalid service {service:?}"));
        }
    }
    if let Some(method) = wanted.method.as_deref().filter(|method| !is_identifier(method)) {
        findings.error(path.field("method"), format_args!("invalid method {method:?}"));
    }
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
