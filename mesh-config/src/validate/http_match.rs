//! The rules of the conditions of an HTTP route.

use super::{Findings, rules, selector, virtual_service::gateways};
use crate::{
    model::{HttpMatchRequest, HttpRoute, StringMatch},
    path::FieldPath,
};

/// Checks the conditions of a route.
pub(super) fn validate(
    path: FieldPath<'_>,
    condition: &HttpMatchRequest,
    route: &HttpRoute,
    findings: &mut Findings<'_>,
) {
    let single = [
        ("uri", &condition.uri),
        ("scheme", &condition.scheme),
        ("method", &condition.method),
        ("authority", &condition.authority),
    ];
    for (field, text) in single.into_iter().filter_map(|(field, text)| Some((field, text.as_ref()?))) {
        let at = path.field(field);
        if *text == StringMatch::Present {
            findings.error(at, "one of exact, prefix and regex is required");
        }
        rules::string_match(at, text, findings);
        no_regex_for_delegate(at, text, route, findings);
    }
    let many = [
        ("headers", &condition.headers),
        ("withoutHeaders", &condition.without_headers),
        ("queryParams", &condition.query_params),
    ];
    for (field, texts) in many {
        let at = path.field(field);
        for (name, text) in texts {
            let at = at.field(name);
            if field != "queryParams" && !rules::is_header_or_pseudo(name) && !is_claim(name) {
                findings.error(at, format_args!("invalid header name {name:?}"));
            }
            // Istio reads this as "is present", though it is no expression.
            if *text == StringMatch::Regex("*".to_owned()) && field != "queryParams" {
                continue;
            }
            rules::string_match(at, text, findings);
            no_regex_for_delegate(at, text, route, findings);
        }
    }
    if let Some(port) = condition.port.filter(|port| *port != 0) {
        rules::port(path.field("port"), port, findings);
    }
    selector::labels(path.field("sourceLabels"), &condition.source_labels, findings);
    gateways(path.field("gateways"), &condition.gateways, findings);
    if let Some(namespace) = condition.source_namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
        rules::label(path.field("sourceNamespace"), "namespace", namespace, findings);
    }
    let prefix_rewrite = route.redirect.as_ref().and_then(|redirect| redirect.prefix_rewrite.as_ref());
    if prefix_rewrite.is_some() && matches!(condition.uri, Some(StringMatch::Exact(_) | StringMatch::Regex(_))) {
        findings.error(path.field("uri"), "prefixRewrite needs a match of the path by prefix");
    }
}

/// Routes that delegate are merged with those of the delegate, which works only without expressions.
fn no_regex_for_delegate(path: FieldPath<'_>, text: &StringMatch, route: &HttpRoute, findings: &mut Findings<'_>) {
    if route.delegate.is_some() && matches!(text, StringMatch::Regex(_)) {
        findings.error(path.field("regex"), "a route with a delegate cannot match by regular expression");
    }
}

/// Whether the name is that of a claim of a token rather than of a header.
pub(super) fn is_claim(name: &str) -> bool {
    name.strip_prefix("@request.auth.claims").is_some_and(|rest| {
        let dotted = rest.strip_prefix('.').is_some_and(|claim| !claim.is_empty());
        let indexed = rest.starts_with('[') && rest.ends_with(']') && rest.len() > 2;
        dotted || indexed
    })
}
