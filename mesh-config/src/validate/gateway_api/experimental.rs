//! The rules of the experimental kinds with names of their own (`gateway.networking.x-k8s.io`).

use super::{backend_tls_policy, name, reference, session};
use crate::{
    model::{
        Object,
        gateway_api::{RequestRate, XBackend, XBackendTls, XBackendTrafficPolicy, XMesh},
    },
    path::FieldPath,
    validate::{Findings, rules},
};

/// Checks an `XMesh`.
pub(in crate::validate) fn mesh(_: &Object, spec: &XMesh, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    if !name::is_domain_path(&spec.controller_name) {
        let message = format_args!("invalid controller {:?}: write DOMAIN/PATH", spec.controller_name);
        findings.error(root.field("controllerName"), message);
    }
    if let Some(target) = &spec.parameters_ref {
        reference::object(root.field("parametersRef"), target, findings);
    }
    rules::max_len(root.field("description"), spec.description.as_deref().unwrap_or_default(), 64, findings);
}

/// Checks an `XBackendTrafficPolicy`.
pub(in crate::validate) fn traffic_policy(_: &Object, spec: &XBackendTrafficPolicy, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    let targets = root.field("targetRefs");
    if spec.target_refs.is_empty() {
        findings.error(targets, "at least one target is required");
    }
    rules::max_items(targets, spec.target_refs.len(), 16, findings);
    for (index, target) in spec.target_refs.iter().enumerate() {
        let path = targets.index(index);
        reference::full(path, target.group.as_deref(), &target.kind, &target.name, findings);
        if spec.target_refs[..index].contains(target) {
            findings.error(path, "this target is referred to twice");
        }
    }
    if let Some(constraint) = &spec.retry_constraint {
        let path = root.field("retryConstraint");
        if let Some(budget) = &constraint.budget {
            let path = path.field("budget");
            if budget.percent.is_some_and(|percent| !(0..=100).contains(&percent)) {
                findings.error(path.field("percent"), "must be from 0 to 100");
            }
            interval(path.field("interval"), budget.interval.as_deref(), 1_000, "from 1s to 1h", findings);
        }
        if let Some(RequestRate { count, interval: each }) = &constraint.min_retry_rate {
            let path = path.field("minRetryRate");
            if count.is_some_and(|count| !(1..=1_000_000).contains(&count)) {
                findings.error(path.field("count"), "must be from 1 to 1000000");
            }
            interval(path.field("interval"), each.as_deref(), 1, "longer than 0s, and 1h at most", findings);
        }
    }
    if let Some(persistence) = &spec.session_persistence {
        session::validate(root.field("sessionPersistence"), persistence, findings);
    }
}

/// Checks an interval of so many milliseconds at least.
fn interval(path: FieldPath<'_>, text: Option<&str>, least: u64, words: &str, findings: &mut Findings<'_>) {
    name::duration(path, text, findings);
    let Some(span) = text.and_then(milliseconds) else { return };
    if !(least..=3_600_000).contains(&span) {
        findings.error(path, format_args!("must be {words}"));
    }
}

/// A duration of GEP-2257, if it is one.
fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut all = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u64 = rest[..end].parse().ok()?;
        let letters = &rest[end..];
        let unit_end = letters.find(|letter: char| letter.is_ascii_digit()).unwrap_or(letters.len());
        let unit = match &letters[..unit_end] {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        all = all.checked_add(number.checked_mul(unit)?)?;
        rest = &letters[unit_end..];
    }
    Some(all)
}

/// Checks an `XBackend`.
pub(in crate::validate) fn backend(_: &Object, spec: &XBackend, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    let kind = spec.backend_type.as_deref();
    if kind.is_none() {
        findings.error(root.field("type"), "the type is required: ExternalHostname or EndpointSelector");
    }
    name::word(root.field("type"), kind, &["ExternalHostname", "EndpointSelector"], findings);
    for (field, given, wanted) in [
        ("externalHostname", spec.external_hostname.is_some(), "ExternalHostname"),
        ("endpointSelector", spec.endpoint_selector.is_some(), "EndpointSelector"),
    ] {
        match (given, kind == Some(wanted)) {
            (true, false) => findings.error(root.field(field), format_args!("{field} does not belong to the type")),
            (false, true) => findings.error(root, format_args!("{field} is required for the type")),
            _ => {}
        }
    }
    match spec.port.and_then(|port| port.number) {
        None => findings.error(root.field("port"), "a port is required"),
        Some(number) => rules::port(root.field("port"), number, findings),
    }
    if let Some(external) = &spec.external_hostname {
        let path = root.field("externalHostname");
        let path = path.field("hostname");
        name::precise_host(path, &external.hostname, findings);
        if external.hostname.ends_with(".cluster.local") {
            findings.error(path, "the host must be outside of the cluster");
        } else if rules::is_ip(&external.hostname) {
            findings.error(path, "the host must be a name, not an address");
        }
    }
    if let Some(selector) = &spec.endpoint_selector {
        let path = root.field("endpointSelector");
        if selector.match_labels.is_empty() {
            findings.error(path.field("matchLabels"), "at least one label is required");
        }
        rules::max_items(path.field("matchLabels"), selector.match_labels.len(), 64, findings);
    }
    let protocol = spec.protocol.as_deref();
    match (protocol, spec.tls.is_some()) {
        (Some("H2C"), true) => findings.error(root.field("tls"), "H2C is plain text: remove tls, or use HTTP2"),
        (Some(name @ ("HTTP2" | "WSS")), false) => findings.error(root, format_args!("tls is required for {name}")),
        _ => {}
    }
    if let Some(how) = &spec.tls {
        tls(root.field("tls"), how, findings);
    }
}

fn tls(path: FieldPath<'_>, how: &XBackendTls, findings: &mut Findings<'_>) {
    let mode = how.mode.as_deref();
    name::word(path.field("mode"), mode, &["None", "ServerOnly", "ClientAndServer"], findings);
    let own = path.field("clientCertificateRef");
    match (&how.client_certificate_ref, mode == Some("ClientAndServer")) {
        (Some(_), false) => findings.error(own, "clientCertificateRef needs mode ClientAndServer"),
        (None, true) => findings.error(path, "clientCertificateRef is required for mode ClientAndServer"),
        (Some(secret), true) => reference::secret(own, secret, findings),
        (None, false) => {}
    }
    if let Some(validation) = &how.validation {
        backend_tls_policy::validation(path.field("validation"), validation, false, findings);
    }
}
