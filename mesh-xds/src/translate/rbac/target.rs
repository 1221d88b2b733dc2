//! To what: permissions.

use mesh_config::model::{Condition, Operation};
use mesh_xds_api::envoy::{
    config::rbac::v3::{Permission, permission::Rule},
    r#type::matcher::v3::{PathMatcher, path_matcher},
};

use super::{
    rule::{Attribute, RuleKey},
    term::{Conjunction, header, pattern},
};
use crate::translate::proto;

/// One operation with all conditions on the target; `None` if they can never hold.
pub(super) fn permission(key: &RuleKey<'_>, operation: Option<&Operation>) -> Option<Permission> {
    let mut all = Conjunction::new();
    if let Some(operation) = operation {
        of_operation(key, operation, &mut all);
    }
    for condition in &key.rule.when {
        of_condition(key, condition, &mut all);
    }
    all.finish()
}

fn of_operation(key: &RuleKey<'_>, operation: &Operation, all: &mut Conjunction<Permission>) {
    let on_requests = [
        &operation.hosts,
        &operation.not_hosts,
        &operation.methods,
        &operation.not_methods,
        &operation.paths,
        &operation.not_paths,
    ];
    if key.knows_requests(all, on_requests.iter().any(|list| !list.is_empty())) {
        let host = |value: &str| Some(term(Rule::Header(header(":authority", value, true))));
        let method = |value: &str| Some(term(Rule::Header(header(":method", value, false))));
        all.values(&operation.hosts, &operation.not_hosts, host);
        all.values(&operation.methods, &operation.not_methods, method);
        all.values(&operation.paths, &operation.not_paths, |value| Some(path(value)));
    }
    all.values(&operation.ports, &operation.not_ports, port);
}

fn of_condition(key: &RuleKey<'_>, condition: &Condition, all: &mut Conjunction<Permission>) {
    let (values, not_values) = (&condition.values, &condition.not_values);
    match Attribute::of(condition) {
        Attribute::DestinationIp => {
            all.values(values, not_values, |value| proto::cidr(value).map(|range| term(Rule::DestinationIp(range))));
        }
        Attribute::DestinationPort => all.values(values, not_values, port),
        Attribute::Sni => all.values(values, not_values, |value| {
            Some(term(Rule::RequestedServerName(pattern(value).unwrap_or_else(proto::anything))))
        }),
        Attribute::Unknown => key.cannot_decide(all),
        _ => {}
    }
}

fn term(rule: Rule) -> Permission {
    Permission { rule: Some(rule) }
}

fn port(value: &str) -> Option<Permission> {
    value.parse::<u16>().ok().map(|port| term(Rule::DestinationPort(u32::from(port))))
}

/// A path without its query: exact, prefix, suffix, present, or a template with `{*}` (one part) and `{**}` (any).
fn path(value: &str) -> Permission {
    let matcher = if value.contains("{*}") || value.contains("{**}") {
        proto::full_regex(template(value))
    } else {
        pattern(value).unwrap_or_else(proto::anything)
    };
    term(Rule::UrlPath(PathMatcher { rule: Some(path_matcher::Rule::Path(matcher)) }))
}

/// A template as a regular expression in which all text stands for itself.
fn template(value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some(start) = rest.find("{*") {
        let (text, tail) = rest.split_at(start);
        out.push_str(&regex::escape(text));
        rest = if let Some(tail) = tail.strip_prefix("{**}") {
            out.push_str(".*");
            tail
        } else if let Some(tail) = tail.strip_prefix("{*}") {
            out.push_str("[^/]+");
            tail
        } else {
            out.push_str(&regex::escape("{*"));
            &tail[2..]
        };
    }
    out + &regex::escape(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let matches = |pattern: &str, path: &str| {
            regex::Regex::new(&format!("^(?:{})$", template(pattern))).unwrap().is_match(path)
        };
        assert!(matches("/a/{*}/c", "/a/b/c"));
        assert!(!matches("/a/{*}/c", "/a/b/b/c"));
        assert!(matches("/a/{**}", "/a/b/c"));
        assert!(!matches("/a.b/{*}", "/axb/c"));
    }
}
