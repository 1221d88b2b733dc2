//! The listeners of a `Gateway` or `ListenerSet`.

use super::{external_auth, filter, name, reference};
use crate::{
    model::gateway_api::{
        AllowedRoutes, Listener, ListenerFilter, ListenerFilterType, ListenerTls, ListenerTlsMode, RouteNamespaces,
    },
    path::FieldPath,
    validate::{Findings, rules},
};

/// Checks listeners: names are unique, and so are port, protocol and host together.
pub(super) fn validate(list: &[Listener], needs_port: bool, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    let path = root.field("listeners");
    if list.is_empty() {
        findings.error(path, "at least one listener is required");
    }
    rules::max_items(path, list.len(), 64, findings);
    for (index, entry) in list.iter().enumerate() {
        let path = path.index(index);
        listener(path, entry, needs_port, findings);
        let before = &list[..index];
        if before.iter().any(|other| other.name == entry.name) {
            findings.error(path.field("name"), format_args!("the listener name {:?} stands twice", entry.name));
        }
        let place = |listener: &Listener| (listener.port, listener.protocol.clone(), listener.hostname.clone());
        if entry.port.is_some() && before.iter().any(|other| place(other) == place(entry)) {
            findings.error(path, "another listener has the same port, protocol and hostname");
        }
    }
}

fn listener(path: FieldPath<'_>, listener: &Listener, needs_port: bool, findings: &mut Findings<'_>) {
    if listener.name.is_empty() {
        findings.error(path.field("name"), "the name is required");
    } else {
        name::section(path.field("name"), Some(&listener.name), findings);
    }
    match listener.port {
        Some(port) if needs_port || port != 0 => rules::port(path.field("port"), port, findings),
        None if needs_port => findings.error(path.field("port"), "the port is required"),
        _ => {}
    }
    if !is_protocol(&listener.protocol) {
        findings.error(path.field("protocol"), format_args!("invalid protocol {:?}", listener.protocol));
        findings.help("use HTTP, HTTPS, TLS, TCP or UDP");
    }
    if let Some(host) = &listener.hostname {
        name::host(path.field("hostname"), host, findings);
        if matches!(listener.protocol.as_str(), "TCP" | "UDP") {
            findings.error(path.field("hostname"), format_args!("{} has no hostname", listener.protocol));
        }
    }
    tls(path, listener, findings);
    if let Some(allowed) = &listener.allowed_routes {
        allowed_routes(path.field("allowedRoutes"), allowed, findings);
    }
    if let Some(filters) = &listener.filters {
        let path = path.field("filters");
        if !matches!(listener.protocol.as_str(), "HTTP" | "HTTPS") {
            findings.error(path, "filters need protocol HTTP or HTTPS");
        }
        let path = path.field("requests");
        rules::max_items(path, filters.requests.len(), 16, findings);
        filters
            .requests
            .iter()
            .enumerate()
            .for_each(|(index, entry)| request_filter(path.index(index), entry, findings));
    }
}

/// Whether a text is a protocol: a word, or an implementation's own `DOMAIN/NAME`.
fn is_protocol(text: &str) -> bool {
    let bytes = text.as_bytes();
    let word = |bytes: &[u8]| bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let edges =
        bytes.first().is_some_and(u8::is_ascii_alphanumeric) && bytes.last().is_some_and(u8::is_ascii_alphanumeric);
    match text.split_once('/') {
        Some((domain, own)) => {
            name::is_domain(domain) && !own.is_empty() && own.bytes().all(|byte| byte.is_ascii_alphanumeric())
        }
        None => text.len() <= 255 && edges && word(bytes),
    }
}

fn tls(path: FieldPath<'_>, listener: &Listener, findings: &mut Findings<'_>) {
    let at = path.field("tls");
    let Some(tls) = &listener.tls else {
        if listener.protocol == "TLS" {
            findings.error(path, "tls is required for the protocol TLS");
        }
        return;
    };
    match listener.protocol.as_str() {
        "HTTP" | "TCP" | "UDP" => findings.error(at, format_args!("{} has no TLS", listener.protocol)),
        "HTTPS" if tls.mode == Some(ListenerTlsMode::Passthrough) => {
            findings.error(at.field("mode"), "HTTPS needs mode Terminate");
        }
        _ => {}
    }
    settings(at, tls, findings);
}

fn settings(path: FieldPath<'_>, tls: &ListenerTls, findings: &mut Findings<'_>) {
    let terminates = tls.mode != Some(ListenerTlsMode::Passthrough);
    if terminates && tls.certificate_refs.is_empty() && tls.options.is_empty() {
        findings.error(path, "certificateRefs or options are required for mode Terminate");
    }
    let refs = path.field("certificateRefs");
    rules::max_items(refs, tls.certificate_refs.len(), 64, findings);
    tls.certificate_refs
        .iter()
        .enumerate()
        .for_each(|(index, target)| reference::secret(refs.index(index), target, findings));
    if let Some(validation) = &tls.frontend_validation {
        super::gateway::frontend_validation(path.field("frontendValidation"), validation, findings);
    }
    name::options(path.field("options"), &tls.options, findings);
}

fn allowed_routes(path: FieldPath<'_>, allowed: &AllowedRoutes, findings: &mut Findings<'_>) {
    if let Some(given) = &allowed.namespaces {
        namespaces(path.field("namespaces"), given, &["All", "Selector", "Same"], findings);
    }
    let kinds = path.field("kinds");
    rules::max_items(kinds, allowed.kinds.len(), 8, findings);
    for (index, entry) in allowed.kinds.iter().enumerate() {
        name::group(kinds.index(index), entry.group.as_deref(), findings);
        name::kind(kinds.index(index), &entry.kind, findings);
    }
}

/// Checks which namespaces are meant.
pub(super) fn namespaces(
    path: FieldPath<'_>,
    namespaces: &RouteNamespaces,
    words: &[&str],
    findings: &mut Findings<'_>,
) {
    name::word(path.field("from"), namespaces.from.as_deref(), words, findings);
    if let Some(selector) = &namespaces.selector {
        let path = path.field("selector");
        let path = path.field("matchExpressions");
        for (index, entry) in selector.match_expressions.iter().enumerate() {
            let path = path.index(index);
            if entry.key.is_empty() {
                findings.error(path.field("key"), "the key is required");
            }
            if entry.operator.is_empty() {
                findings.error(path.field("operator"), "the operator is required");
            }
        }
    }
}

fn request_filter(path: FieldPath<'_>, entry: &ListenerFilter, findings: &mut Findings<'_>) {
    let is = |wanted| entry.filter_type == Some(wanted);
    let rows = [
        ("externalAuth", entry.external_auth.is_some(), is(ListenerFilterType::ExternalAuth)),
        ("extensionRef", entry.extension_ref.is_some(), is(ListenerFilterType::ExtensionRef)),
    ];
    filter::union(path, entry.filter_type.is_some(), &rows, findings);
    if let Some(auth) = &entry.external_auth {
        external_auth::validate(path.field("externalAuth"), auth, findings);
    }
    if let Some(target) = &entry.extension_ref {
        reference::local(path.field("extensionRef"), target, findings);
    }
}
