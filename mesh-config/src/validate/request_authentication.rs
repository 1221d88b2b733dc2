//! The rules of `RequestAuthentication`.

use super::{Findings, authorization_policy::DRY_RUN, rules, selector};
use crate::{
    model::{JwtRule, Object, RequestAuthentication},
    path::FieldPath,
};

/// Checks a `RequestAuthentication`.
pub(super) fn validate(object: &Object, spec: &RequestAuthentication, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    selector::policy_target(spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs, findings);
    if object.meta.annotations.contains_key(DRY_RUN) {
        let root = FieldPath::root();
        let path = root.field("metadata");
        let path = path.field("annotations");
        findings.error(path.field(DRY_RUN), "a RequestAuthentication cannot be run dry: remove the annotation");
    }
    let rules = root.field("jwtRules");
    for (index, entry) in spec.jwt_rules.iter().enumerate() {
        rule(rules.index(index), entry, findings);
    }
}

fn rule(path: FieldPath<'_>, rule: &JwtRule, findings: &mut Findings<'_>) {
    keys(path, rule, findings);
    for (field, list) in [
        ("audiences", &rule.audiences),
        ("fromParams", &rule.from_params),
        ("fromCookies", &rule.from_cookies),
        ("spaceDelimitedClaims", &rule.space_delimited_claims),
    ] {
        rules::not_empty(path.field(field), list, findings);
    }
    let headers = path.field("fromHeaders");
    for (index, header) in rule.from_headers.iter().enumerate().filter(|(_, header)| header.name.is_empty()) {
        let path = headers.index(index);
        findings.error(path.field("name"), format_args!("the name of the header is required{}", prefix_note(header)));
    }
    let claims = path.field("outputClaimToHeaders");
    for (index, claim) in rule.output_claim_to_headers.iter().enumerate() {
        let path = claims.index(index);
        if claim.claim.is_empty() {
            findings.error(path.field("claim"), "the name of the claim is required");
        }
        if !rules::is_plain_header_name(&claim.header) {
            findings.error(
                path.field("header"),
                format_args!("invalid header name {:?}: use letters, digits, '-' and '_'", claim.header),
            );
        }
    }
    rules::duration(path.field("timeout"), rule.timeout, findings);
}

fn prefix_note(header: &crate::model::JwtHeader) -> String {
    header.prefix.as_ref().map(|prefix| format!(" (with the prefix {prefix:?})")).unwrap_or_default()
}

/// Checks where the issuer's keys come from.
fn keys(path: FieldPath<'_>, rule: &JwtRule, findings: &mut Findings<'_>) {
    let uri = rule.jwks_uri.as_deref().unwrap_or_default();
    let jwks = rule.jwks.as_deref().unwrap_or_default();
    if rule.issuer.is_empty() && uri.is_empty() && jwks.is_empty() {
        findings.error(path.field("issuer"), "the issuer is required, unless jwksUri or jwks is given");
    }
    if !uri.is_empty() && !jwks.is_empty() {
        findings.error(path.field("jwks"), "jwks and jwksUri exclude each other");
    }
    if !uri.is_empty() && !is_url(uri) {
        findings.error(path.field("jwksUri"), format_args!("invalid address {uri:?}: write https://HOST/PATH"));
    }
    if !jwks.is_empty() {
        let set = serde_json::from_str::<serde_json::Value>(jwks).ok();
        if !set.is_some_and(|set| set.get("keys").is_some_and(serde_json::Value::is_array)) {
            findings.error(path.field("jwks"), "not a JSON Web Key Set: expected {\"keys\": [...]}");
        }
    }
}

/// Whether a text is an http or https address with a host and, if any, a port that is a number.
fn is_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if rules::socket_address(authority).is_some() || rules::is_ip(authority.trim_matches(['[', ']'])) {
        return true;
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    rules::host_fault(host).is_none() && port.parse::<u16>().is_ok()
}
