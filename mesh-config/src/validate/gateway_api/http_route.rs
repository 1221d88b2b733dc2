//! The rules of `HTTPRoute`.

use super::{
    filter, http_match, name, parent,
    reference::{self, Backend},
    session,
};
use crate::{
    model::{
        Duration, Object,
        gateway_api::{
            FilteredBackendRef, HttpRoute, HttpRouteFilter, HttpRouteRetry, HttpRouteRule, HttpRouteTimeouts,
            PathModifier, PathModifierType,
        },
    },
    path::FieldPath,
    validate::{Findings, rules},
};

/// The most conditions of all rules together.
const MATCH_LIMIT: usize = 128;

/// Checks an `HTTPRoute`.
pub(in crate::validate) fn validate(_: &Object, spec: &HttpRoute, findings: &mut Findings<'_>) {
    parent::validate(&spec.parent_refs, spec.use_default_gateways.as_deref(), findings);
    name::hosts(&spec.hostnames, findings);
    let Some(list) = &spec.rules else { return };
    let root = FieldPath::spec();
    let path = root.field("rules");
    if list.is_empty() {
        findings.error(path, "at least one rule is required");
    }
    rules::max_items(path, list.len(), 16, findings);
    let matches: usize = list.iter().map(|rule| rule.matches.as_ref().map_or(1, Vec::len)).sum();
    if matches > MATCH_LIMIT {
        findings.error(path, format_args!("{matches} matches in all are more than the limit of {MATCH_LIMIT}"));
    }
    for (index, entry) in list.iter().enumerate() {
        let path = path.index(index);
        rule(path, entry, findings);
        if entry.name.is_some() && list[..index].iter().any(|other| other.name == entry.name) {
            findings.error(path.field("name"), "the name of a rule must be unique in the route");
        }
    }
}

fn rule(path: FieldPath<'_>, rule: &HttpRouteRule, findings: &mut Findings<'_>) {
    name::section(path.field("name"), rule.name.as_deref(), findings);
    if let Some(list) = &rule.matches {
        let path = path.field("matches");
        rules::max_items(path, list.len(), 64, findings);
        list.iter().enumerate().for_each(|(index, entry)| http_match::validate(path.index(index), entry, findings));
    }
    filter::http(path.field("filters"), &rule.filters, findings);
    backends(path.field("backendRefs"), &rule.backend_refs, findings);
    if !rule.backend_refs.is_empty() && rule.filters.iter().any(|filter| filter.request_redirect.is_some()) {
        findings.error(path, "a RequestRedirect filter and backendRefs exclude each other");
    }
    // Without matches the rule has one, on the prefix /.
    let single_prefix =
        rule.matches.as_ref().is_none_or(|list| matches!(list.as_slice(), [only] if http_match::is_prefix(only)));
    let within = rule.backend_refs.iter().flat_map(|backend| &backend.filters);
    if !single_prefix && rule.filters.iter().chain(within).any(replaces_prefix) {
        findings.error(path.field("matches"), "replacePrefixMatch needs exactly one match, of type PathPrefix");
    }
    if let Some(limits) = &rule.timeouts {
        timeouts(path.field("timeouts"), limits, findings);
    }
    if let Some(again) = &rule.retry {
        retry(path.field("retry"), again, findings);
    }
    if let Some(kept) = &rule.session_persistence {
        session::validate(path.field("sessionPersistence"), kept, findings);
    }
}

fn replaces_prefix(filter: &HttpRouteFilter) -> bool {
    let prefix = |path: Option<&PathModifier>| {
        path.is_some_and(|path| {
            path.modifier_type == Some(PathModifierType::ReplacePrefixMatch) && path.replace_prefix_match.is_some()
        })
    };
    prefix(filter.request_redirect.as_ref().and_then(|redirect| redirect.path.as_ref()))
        || prefix(filter.url_rewrite.as_ref().and_then(|rewrite| rewrite.path.as_ref()))
}

fn backends(path: FieldPath<'_>, list: &[FilteredBackendRef<HttpRouteFilter>], findings: &mut Findings<'_>) {
    rules::max_items(path, list.len(), 16, findings);
    for (index, entry) in list.iter().enumerate() {
        let path = path.index(index);
        Backend::from(entry).check(path, findings);
        reference::weight(path, entry.weight, findings);
        filter::http(path.field("filters"), &entry.filters, findings);
    }
}

impl<'a, F: Default> From<&'a FilteredBackendRef<F>> for Backend<'a> {
    fn from(from: &'a FilteredBackendRef<F>) -> Self {
        Self {
            group: from.group.as_deref(),
            kind: from.kind.as_deref(),
            name: &from.name,
            namespace: from.namespace.as_deref(),
            port: from.port,
        }
    }
}

fn timeouts(path: FieldPath<'_>, limits: &HttpRouteTimeouts, findings: &mut Findings<'_>) {
    name::duration(path.field("request"), limits.request.as_deref(), findings);
    name::duration(path.field("backendRequest"), limits.backend_request.as_deref(), findings);
    let span = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Duration>().ok());
    if let (Some(request), Some(backend)) = (span(&limits.request), span(&limits.backend_request))
        && !request.is_zero()
        && backend > request
    {
        findings.error(path.field("backendRequest"), "the timeout of one try is longer than that of the request");
    }
}

fn retry(path: FieldPath<'_>, retry: &HttpRouteRetry, findings: &mut Findings<'_>) {
    let codes = path.field("codes");
    name::unique(codes, "status", &retry.codes, findings);
    for (index, code) in retry.codes.iter().enumerate().filter(|(_, code)| !(400..=599).contains(*code)) {
        findings.error(codes.index(index), format_args!("status {code} must be between 400 and 599"));
    }
    name::duration(path.field("backoff"), retry.backoff.as_deref(), findings);
}
