//! The rules of `AuthorizationPolicy`.

use super::{Findings, rules, selector};
use crate::{
    model::{AuthorizationAction, AuthorizationPolicy, Condition, Object, Operation, Rule, Source},
    path::FieldPath,
};

/// The annotation that makes a policy only report.
pub(super) const DRY_RUN: &str = "istio.io/dry-run";

/// Checks an `AuthorizationPolicy`.
pub(super) fn validate(object: &Object, spec: &AuthorizationPolicy, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    selector::policy_target(spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs, findings);
    action(object, spec, findings);
    let rules = root.field("rules");
    for (index, entry) in spec.rules.iter().enumerate() {
        rule(rules.index(index), entry, findings);
        if spec.action == AuthorizationAction::Custom {
            custom_rule(rules.index(index), entry, findings);
        }
    }
}

fn action(object: &Object, spec: &AuthorizationPolicy, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    if let Some(value) = object.meta.annotations.get(DRY_RUN) {
        let root = FieldPath::root();
        let path = root.field("metadata");
        let path = path.field("annotations");
        if rules::boolean(value).is_none() {
            findings.error(path.field(DRY_RUN), format_args!("{value:?} must be true or false"));
        }
        if matches!(spec.action, AuthorizationAction::Custom | AuthorizationAction::Audit) {
            findings.error(path.field(DRY_RUN), "only ALLOW and DENY can be run dry");
        }
    }
    let custom = spec.action == AuthorizationAction::Custom;
    match &spec.provider {
        Some(provider) if custom && provider.name.is_empty() => {
            let path = root.field("provider");
            findings.error(path.field("name"), "the name of the provider is required");
        }
        Some(_) if !custom => findings.error(root.field("provider"), "a provider needs action CUSTOM"),
        None if custom => findings.error(root, "provider is required for action CUSTOM"),
        _ => {}
    }
    if spec.rules.is_empty() && spec.action != AuthorizationAction::Allow {
        findings.error(root, "without rules the policy never matches");
        findings.help("add an empty rule ({}) to match every request");
    }
}

/// Checks what a rule asks for when an outer authorizer decides, which comes before identities and tokens are known.
fn custom_rule(path: FieldPath<'_>, rule: &Rule, findings: &mut Findings<'_>) {
    let from = path.field("from");
    for (index, source) in
        rule.from.iter().enumerate().filter_map(|(index, entry)| Some((index, entry.source.as_ref()?)))
    {
        let path = from.index(index);
        let path = path.field("source");
        for (field, list) in [
            ("namespaces", &source.namespaces),
            ("notNamespaces", &source.not_namespaces),
            ("principals", &source.principals),
            ("notPrincipals", &source.not_principals),
            ("requestPrincipals", &source.request_principals),
            ("notRequestPrincipals", &source.not_request_principals),
            ("serviceAccounts", &source.service_accounts),
            ("notServiceAccounts", &source.not_service_accounts),
        ] {
            if !list.is_empty() {
                findings.error(path.field(field), format_args!("{field} is not supported for action CUSTOM"));
            }
        }
    }
    let when = path.field("when");
    let late = ["source.namespace", "source.principal", "source.serviceAccount", "request.auth."];
    for (index, entry) in rule.when.iter().enumerate() {
        if late.iter().any(|prefix| entry.key.starts_with(prefix)) {
            let path = when.index(index);
            findings.error(path.field("key"), format_args!("{} is not supported for action CUSTOM", entry.key));
        }
    }
}

fn rule(path: FieldPath<'_>, rule: &Rule, findings: &mut Findings<'_>) {
    for (field, empty, given) in [("from", rule.from.is_empty(), "from"), ("to", rule.to.is_empty(), "to")] {
        if empty && findings.object().positions.contains(&path.field(given).to_string()) {
            findings.error(path.field(field), format_args!("{field} must not be empty: remove it to match anything"));
        }
    }
    let from = path.field("from");
    for (index, entry) in rule.from.iter().enumerate() {
        let path = from.index(index);
        match &entry.source {
            Some(caller) => source(path.field("source"), caller, findings),
            None => findings.error(path, "source is required"),
        }
    }
    let to = path.field("to");
    for (index, entry) in rule.to.iter().enumerate() {
        let path = to.index(index);
        match &entry.operation {
            Some(what) => operation(path.field("operation"), what, findings),
            None => findings.error(path, "operation is required"),
        }
    }
    let when = path.field("when");
    for (index, entry) in rule.when.iter().enumerate() {
        condition(when.index(index), entry, findings);
    }
}

fn source(path: FieldPath<'_>, source: &Source, findings: &mut Findings<'_>) {
    if *source == Source::default() {
        findings.error(path, "at least one field of the source is required");
    }
    for (field, list) in [
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
        ("trustDomains", &source.trust_domains),
        ("notTrustDomains", &source.not_trust_domains),
    ] {
        rules::not_empty(path.field(field), list, findings);
    }
    for (field, list) in [
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
    ] {
        let path = path.field(field);
        list.iter().enumerate().for_each(|(index, block)| rules::subnet(path.index(index), block, findings));
    }
    let accounts =
        [("serviceAccounts", &source.service_accounts), ("notServiceAccounts", &source.not_service_accounts)];
    for (field, list) in accounts {
        let path = path.field(field);
        for (index, account) in list.iter().enumerate() {
            service_account(path.index(index), account, findings);
        }
    }
    let identities = !source.principals.is_empty()
        || !source.not_principals.is_empty()
        || !source.namespaces.is_empty()
        || !source.not_namespaces.is_empty();
    if accounts.iter().any(|(_, list)| !list.is_empty()) && identities {
        findings.error(path, "serviceAccounts exclude principals and namespaces");
        findings.help("use two sources");
    }
}

/// Checks `NAMESPACE/ACCOUNT` or `ACCOUNT`, without wildcards.
fn service_account(path: FieldPath<'_>, account: &str, findings: &mut Findings<'_>) {
    let parts = account.split('/').count();
    if account.split('/').any(str::is_empty) || parts > 2 || account.contains('*') {
        findings.error(path, format_args!("invalid service account {account:?}: write ACCOUNT or NAMESPACE/ACCOUNT"));
    }
}

fn operation(path: FieldPath<'_>, operation: &Operation, findings: &mut Findings<'_>) {
    if *operation == Operation::default() {
        findings.error(path, "at least one field of the operation is required");
    }
    for (field, list) in [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
        ("paths", &operation.paths),
        ("notPaths", &operation.not_paths),
    ] {
        rules::not_empty(path.field(field), list, findings);
    }
    for (field, list) in [("ports", &operation.ports), ("notPorts", &operation.not_ports)] {
        let path = path.field(field);
        for (index, text) in list.iter().enumerate() {
            port(path.index(index), text, findings);
        }
    }
    for (field, list) in [("paths", &operation.paths), ("notPaths", &operation.not_paths)] {
        let path = path.field(field);
        for (index, text) in list.iter().enumerate().filter(|(_, text)| text.contains(['{', '}'])) {
            template(path.index(index), text, findings);
        }
    }
}

fn port(path: FieldPath<'_>, text: &str, findings: &mut Findings<'_>) {
    if !text.parse().is_ok_and(|number: u32| (1..=65535).contains(&number)) {
        findings.error(path, format_args!("{text:?} must be a port between 1 and 65535"));
    }
}

/// Checks a path with `{*}` and `{**}`: each a whole segment, `{**}` once and after every `{*}`.
fn template(path: FieldPath<'_>, text: &str, findings: &mut Findings<'_>) {
    let mut rest_seen = false;
    for segment in text.split('/') {
        let fault = match segment {
            "{*}" | "{**}" if rest_seen => Some("nothing but plain segments may follow {**}"),
            "{**}" => {
                rest_seen = true;
                None
            }
            "{*}" => None,
            _ if segment.contains(['{', '}']) => Some("{*} and {**} must be whole segments"),
            _ if segment.contains('*') => Some("a template must not have * beside {*} and {**}"),
            _ => None,
        };
        if let Some(fault) = fault {
            findings.error(path, format_args!("invalid path template {text:?}: {fault}"));
            return;
        }
    }
}

/// Attributes that conditions can be on, those of maps without their key. Source: Istio's authorization conditions.
const ATTRIBUTES: [&str; 12] = [
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "source.trustDomain",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "destination.port",
    "connection.sni",
];

fn condition(path: FieldPath<'_>, condition: &Condition, findings: &mut Findings<'_>) {
    let key = condition.key.as_str();
    let at = path.field("key");
    let of_map = |name: &str| {
        key.strip_prefix(name).is_some_and(|rest| rest.len() > 2 && rest.starts_with('[') && rest.ends_with(']'))
    };
    let map =
        of_map("request.headers") || of_map("request.auth.claims") || key.starts_with("experimental.envoy.filters.");
    if key.is_empty() {
        findings.error(at, "the key is required");
    } else if !map && !ATTRIBUTES.contains(&key) {
        findings.error(at, format_args!("unknown attribute {key:?}"));
        if let Some(near) = crate::suggest::nearest(key, ATTRIBUTES) {
            findings.help(format!("did you mean {near:?}?"));
        }
    }
    if condition.values.is_empty() && condition.not_values.is_empty() {
        findings.error(path, "at least one of values and notValues is required");
    }
    for (field, list) in [("values", &condition.values), ("notValues", &condition.not_values)] {
        let path = path.field(field);
        rules::not_empty(path, list, findings);
        for (index, value) in list.iter().enumerate().filter(|(_, value)| !value.is_empty()) {
            match key {
                "source.ip" | "remote.ip" | "destination.ip" => rules::subnet(path.index(index), value, findings),
                "destination.port" => port(path.index(index), value, findings),
                _ => {}
            }
        }
    }
}
