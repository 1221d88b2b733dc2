//! Which workloads or resources an object is for.

use std::collections::BTreeMap;

use super::{Findings, rules};
use crate::{
    model::{LabelSelector, PolicyTargetReference},
    path::FieldPath,
};

/// Checks labels that select workloads: keys and values as Kubernetes has them, no wildcards.
pub(super) fn labels(path: FieldPath<'_>, labels: &BTreeMap<String, String>, findings: &mut Findings<'_>) {
    for (key, value) in labels {
        if key.is_empty() {
            findings.error(path, "the key of a label must not be empty");
        } else if !is_key(key) {
            findings.error(path.field(key), format_args!("invalid label {key:?}: it must be [prefix/]name"));
        }
        if key.contains('*') || value.contains('*') {
            findings.error(path.field(key), "a wildcard is not supported in a selector");
        } else if !is_value(value) {
            let message = format!("invalid value {value:?}: it must be letters, digits, '-', '_' and '.', at most 63");
            findings.error(path.field(key), message);
        }
    }
}

fn is_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').unwrap_or(("a", key));
    rules::host_fault(prefix).is_none() && !name.is_empty() && is_value(name)
}

fn is_value(value: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Checks what a policy is for: workloads by label, or resources by reference, not both.
pub(super) fn policy_target(
    selector: Option<&LabelSelector>,
    single: Option<&PolicyTargetReference>,
    many: &[PolicyTargetReference],
    findings: &mut Findings<'_>,
) {
    let spec = FieldPath::spec();
    if let Some(selector) = selector {
        let path = spec.field("selector");
        labels(path.field("matchLabels"), &selector.match_labels, findings);
    }
    let given = [selector.is_some(), single.is_some(), !many.is_empty()];
    if given.iter().filter(|given| **given).count() > 1 {
        findings.error(spec, "only one of selector, targetRef and targetRefs can be set");
    }
    if let Some(single) = single {
        reference(spec.field("targetRef"), single, findings);
    }
    let refs = spec.field("targetRefs");
    for (index, target) in many.iter().enumerate() {
        reference(refs.index(index), target, findings);
    }
    if many.len() > 16 {
        findings.error(refs, "at most 16 targets can be named");
    }
}

/// The resources that policies can be bound to, by group.
const TARGETS: [(&str, &str); 4] = [
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("", "Service"),
    ("networking.istio.io", "ServiceEntry"),
];

fn reference(path: FieldPath<'_>, target: &PolicyTargetReference, findings: &mut Findings<'_>) {
    if target.name.is_empty() {
        findings.error(path.field("name"), "the name of the target is required");
    }
    let group = if target.group == "core" { "" } else { &target.group };
    if !TARGETS.contains(&(group, &target.kind)) {
        let named = format!("{}/{}", target.group, target.kind);
        findings.error(path.field("kind"), format_args!("a policy cannot be bound to {named:?}"));
        findings.help("use Gateway or GatewayClass of gateway.networking.k8s.io, Service, or ServiceEntry");
    }
    if target.namespace.as_deref().is_some_and(|namespace| !namespace.is_empty()) {
        findings.error(path.field("namespace"), "a target in another namespace is not supported: leave it out");
    }
}
