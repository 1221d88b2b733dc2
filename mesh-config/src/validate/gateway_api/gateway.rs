//! The rules of `Gateway` and `ListenerSet`.

use super::{listener, name, parent, reference};
use crate::{
    model::{
        Object,
        gateway_api::{
            FrontendTlsConfig, FrontendValidation, Gateway, GatewayAddress, GatewayInfrastructure, GatewayTls,
            ListenerSet,
        },
    },
    path::FieldPath,
    validate::{Findings, rules},
};

/// Checks a `Gateway`.
pub(in crate::validate) fn validate(_: &Object, spec: &Gateway, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    if spec.gateway_class_name.is_empty() {
        findings.error(root.field("gatewayClassName"), "the name of the GatewayClass is required");
    }
    rules::max_len(root.field("gatewayClassName"), &spec.gateway_class_name, 253, findings);
    listener::validate(&spec.listeners, true, findings);
    addresses(&spec.addresses, findings);
    if let Some(marks) = &spec.infrastructure {
        infrastructure(root.field("infrastructure"), marks, findings);
    }
    if let Some(namespaces) = spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.as_ref()) {
        let path = root.field("allowedListeners");
        listener::namespaces(path.field("namespaces"), namespaces, &["All", "Selector", "Same", "None"], findings);
    }
    if let Some(settings) = &spec.tls {
        tls(root.field("tls"), settings, findings);
    }
    name::word(root.field("defaultScope"), spec.default_scope.as_deref(), &["All", "None"], findings);
}

/// Checks a `ListenerSet`.
pub(in crate::validate) fn validate_listener_set(_: &Object, spec: &ListenerSet, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    match &spec.parent_ref {
        Some(reference) => parent::single(root.field("parentRef"), reference, findings),
        None => findings.error(root.field("parentRef"), "the gateway is required"),
    }
    listener::validate(&spec.listeners, false, findings);
}

fn addresses(list: &[GatewayAddress], findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    let path = root.field("addresses");
    rules::max_items(path, list.len(), 16, findings);
    for (index, address) in list.iter().enumerate() {
        let path = path.index(index);
        let form = |address: &GatewayAddress| address.address_type.clone().unwrap_or_else(|| "IPAddress".to_owned());
        let (own, value) = (form(address), address.value.as_deref());
        if !matches!(own.as_str(), "IPAddress" | "Hostname" | "NamedAddress") && !name::is_domain_path(&own) {
            findings.error(path.field("type"), format_args!("unknown type of address {own:?}"));
        }
        match (own.as_str(), value) {
            ("IPAddress", Some(value)) if !rules::is_ip(value) => {
                findings.error(path.field("value"), format_args!("{value:?} is no IP address"));
            }
            ("Hostname", Some(value)) => name::host(path.field("value"), value, findings),
            _ => {}
        }
        let named = matches!(own.as_str(), "IPAddress" | "Hostname") && value.is_some();
        if named && list[..index].iter().any(|other| form(other) == own && other.value == address.value) {
            findings.error(path.field("value"), "the address stands twice");
        }
        let reach = address.routability.as_deref().unwrap_or_default();
        let reserved = reach.split('/').next().is_some_and(|domain| domain == "k8s.io" || domain.ends_with(".k8s.io"));
        if !matches!(reach, "" | "Cluster") && (!name::is_domain_path(reach) || reserved) {
            findings.error(path.field("routability"), format_args!("unknown routability {reach:?}"));
        }
    }
}

fn infrastructure(path: FieldPath<'_>, marks: &GatewayInfrastructure, findings: &mut Findings<'_>) {
    let labels = path.field("labels");
    rules::max_items(labels, marks.labels.len(), 8, findings);
    for (key, value) in &marks.labels {
        if !name::is_label_key(key) {
            findings.error(labels.field(key), format_args!("invalid label {key:?}: it must be [DOMAIN/]NAME"));
        }
        if !name::is_label_value(value) {
            findings.error(labels.field(key), format_args!("invalid value {value:?} of a label"));
        }
    }
    let annotations = path.field("annotations");
    rules::max_items(annotations, marks.annotations.len(), 16, findings);
    for (key, value) in &marks.annotations {
        if !name::is_label_key(key) {
            findings
                .error(annotations.field(key), format_args!("invalid annotation {key:?}: it must be [DOMAIN/]NAME"));
        }
        rules::max_len(annotations.field(key), value, 4096, findings);
    }
    if let Some(target) = &marks.parameters_ref {
        reference::local(path.field("parametersRef"), target, findings);
    }
}

fn tls(path: FieldPath<'_>, tls: &GatewayTls, findings: &mut Findings<'_>) {
    if let Some(target) = tls.backend.as_ref().and_then(|backend| backend.client_certificate_ref.as_ref()) {
        let path = path.field("backend");
        reference::secret(path.field("clientCertificateRef"), target, findings);
    }
    let Some(frontend) = &tls.frontend else { return };
    let path = path.field("frontend");
    match &frontend.default {
        Some(config) => frontend_config(path.field("default"), config, findings),
        None => findings.error(path.field("default"), "settings for all ports are required"),
    }
    let path = path.field("perPort");
    rules::max_items(path, frontend.per_port.len(), 64, findings);
    for (index, entry) in frontend.per_port.iter().enumerate() {
        let path = path.index(index);
        rules::port(path.field("port"), entry.port, findings);
        if frontend.per_port[..index].iter().any(|other| other.port == entry.port) {
            findings.error(path.field("port"), format_args!("port {} stands twice", entry.port));
        }
        match &entry.tls {
            Some(config) => frontend_config(path.field("tls"), config, findings),
            None => findings.error(path.field("tls"), "tls is required"),
        }
    }
}

fn frontend_config(path: FieldPath<'_>, config: &FrontendTlsConfig, findings: &mut Findings<'_>) {
    if let Some(validation) = &config.validation {
        frontend_validation(path.field("validation"), validation, findings);
    }
}

/// Checks how clients are verified.
pub(super) fn frontend_validation(path: FieldPath<'_>, how: &FrontendValidation, findings: &mut Findings<'_>) {
    name::word(path.field("mode"), how.mode.as_deref(), &["AllowValidOnly", "AllowInsecureFallback"], findings);
    let path = path.field("caCertificateRefs");
    if how.ca_certificate_refs.is_empty() {
        findings.error(path, "at least one set of authorities is required");
    }
    rules::max_items(path, how.ca_certificate_refs.len(), 16, findings);
    for (index, target) in how.ca_certificate_refs.iter().enumerate() {
        let path = path.index(index);
        reference::object(path, target, findings);
        let bundle = target.group.as_deref() == Some("certificates.k8s.io") && target.kind == "ClusterTrustBundle";
        if bundle && target.namespace.is_some() {
            findings.error(path.field("namespace"), "a ClusterTrustBundle has no namespace");
        }
    }
}
