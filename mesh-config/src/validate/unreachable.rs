//! Rules and matches of a VirtualService that no request can reach (IST0130, IST0131).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::LazyLock,
};

use serde::Serialize;

use super::Findings;
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{HttpMatchRequest, HttpRoute, StringMatch, VirtualService},
    path::FieldPath,
};

/// Finds what is never used. Only matches that are the same are compared, and of HTTP also prefixes that cover others.
pub(super) fn validate(spec: &VirtualService, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    let http: Vec<Rule> = spec.http.iter().map(rule_of).collect();
    section(root.field("http"), &http, findings);
    prefixes(root.field("http"), &spec.http, findings);
    let plain = |matches: Vec<String>| Rule { name: None, matches };
    let tcp: Vec<Rule> = spec.tcp.iter().map(|route| plain(route.matches.iter().map(json).collect())).collect();
    section(root.field("tcp"), &tcp, findings);
    let tls: Vec<Rule> = spec.tls.iter().map(|route| plain(route.matches.iter().map(json).collect())).collect();
    section(root.field("tls"), &tls, findings);
}

/// A rule: its name, and its matches in a form that can be compared.
struct Rule {
    name: Option<String>,
    matches: Vec<String>,
}

/// A match in a form that can be compared; its name does not count.
fn nameless(one: &HttpMatchRequest) -> String {
    json(&HttpMatchRequest { name: None, ..one.clone() })
}

fn rule_of(route: &HttpRoute) -> Rule {
    Rule { name: route.name.clone(), matches: route.matches.iter().map(nameless).collect() }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What a message calls a rule or match: its name, else its number.
fn label(name: Option<&String>, index: usize) -> String {
    name.filter(|name| !name.is_empty()).map_or_else(|| format!("#{index}"), |name| format!("{name:?}"))
}

fn unreachable(path: FieldPath<'_>, rule: &str, reason: &str, findings: &mut Findings<'_>) {
    let finding = Diagnostic::on(Code::UnreachableRule, findings.object(), path, &[&rule, &reason]);
    findings.push(finding);
}

fn ineffective(path: FieldPath<'_>, wanted: &str, rule: &str, first: &str, findings: &mut Findings<'_>) {
    let finding = Diagnostic::on(Code::IneffectiveMatch, findings.object(), path, &[&wanted, &rule, &first]);
    findings.push(finding);
}

fn section(path: FieldPath<'_>, rules: &[Rule], findings: &mut Findings<'_>) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut matches_all = false;
    for (index, rule) in rules.iter().enumerate() {
        let (at, name) = (path.index(index), label(rule.name.as_ref(), index));
        if rule.matches.is_empty() {
            if matches_all {
                unreachable(at, &name, "only the last rule can be without matches", findings);
            }
            matches_all = true;
            continue;
        }
        let mut repeated = 0;
        let matches = at.field("match");
        for (number, wanted) in rule.matches.iter().enumerate() {
            if matches_all {
                unreachable(at, &name, "a rule before it matches everything", findings);
            } else if let Some(first) = seen.get(wanted.as_str()) {
                let first = label(rules[*first].name.as_ref(), *first);
                ineffective(matches.index(number), &format!("#{number}"), &name, &first, findings);
                repeated += 1;
            } else {
                seen.insert(wanted, index);
            }
        }
        if repeated == rule.matches.len() {
            unreachable(at, &name, "all its matches are those of rules before it", findings);
        }
    }
}

/// A match by the prefix of a path, with what else it asks for.
struct Prefix<'a> {
    rule: usize,
    number: usize,
    path: &'a str,
    wanted: &'a HttpMatchRequest,
}

/// Finds prefixes that are covered by the prefix of a match before.
fn prefixes(path: FieldPath<'_>, routes: &[HttpRoute], findings: &mut Findings<'_>) {
    let mut before: Vec<Prefix<'_>> = Vec::new();
    let mut seen = HashSet::new();
    for (rule, route) in routes.iter().enumerate() {
        if route.matches.is_empty() {
            return; // whatever follows is unreachable, and has been reported
        }
        for (number, wanted) in route.matches.iter().enumerate() {
            let Some(StringMatch::Prefix(prefix)) = &wanted.uri else { continue };
            if !seen.insert(nameless(wanted)) {
                continue; // the same match stands before, and is reported as such
            }
            let covering = before
                .iter()
                .filter(|other| other.path != prefix && prefix.starts_with(other.path) && covers(other.wanted, wanted));
            for other in covering.collect::<Vec<_>>() {
                let first = label(routes[other.rule].name.as_ref(), other.rule);
                let first = format!("{first} (prefix {:?} of match #{})", other.path, other.number);
                let at = path.index(rule);
                let at = at.field("match");
                let name = label(route.name.as_ref(), rule);
                let own = label(wanted.name.as_ref(), number);
                ineffective(at.index(number), &own, &name, &first, findings);
            }
            before.push(Prefix { rule, number, path: prefix, wanted });
        }
    }
}

/// Whether all that `first` asks for beside the path, `later` asks for as well.
fn covers(first: &HttpMatchRequest, later: &HttpMatchRequest) -> bool {
    let everyone = first.source_labels.is_empty() && first.source_namespace.is_none() && first.gateways.is_empty();
    let same_callers = first.source_labels == later.source_labels
        && first.source_namespace == later.source_namespace
        && first.gateways == later.gateways;
    (everyone || same_callers)
        && first.port == later.port
        && (first.scheme.is_none() || first.scheme == later.scheme)
        && same_or_wider(Some(method(first)), Some(method(later)))
        && same_or_wider(first.authority.as_ref(), later.authority.as_ref())
        && all_same_or_wider(&first.headers, &later.headers)
        && all_same_or_wider(&first.query_params, &later.query_params)
        && all_same_or_wider(&first.without_headers, &later.without_headers)
}

/// The method that a match asks for; as Istio compares them, GET when it does not say.
fn method(wanted: &HttpMatchRequest) -> &StringMatch {
    static GET: LazyLock<StringMatch> = LazyLock::new(|| StringMatch::Exact("GET".to_owned()));
    wanted.method.as_ref().unwrap_or(&GET)
}

fn same_or_wider(first: Option<&StringMatch>, later: Option<&StringMatch>) -> bool {
    match (first, later) {
        (None, None) => true,
        (Some(StringMatch::Prefix(wide)), Some(StringMatch::Prefix(narrow) | StringMatch::Exact(narrow))) => {
            narrow.starts_with(wide.as_str())
        }
        (first, later) => first == later,
    }
}

fn all_same_or_wider(first: &BTreeMap<String, StringMatch>, later: &BTreeMap<String, StringMatch>) -> bool {
    first.len() == later.len() && first.iter().all(|(key, text)| same_or_wider(Some(text), later.get(key)))
}
