//! The rules of `MeshConfig`. Source: Istio's `ValidateMeshConfig`.

mod provider;
mod proxy;
mod schema;

use serde_json::Value;

use super::{Findings, locality, mesh_networks, rules};
use crate::{
    diagnostic::Diagnostic,
    model::{ConfigMap, Duration, IstioOperator, LocalityLbSetting, MeshConfig, Object},
    parse::{parse_mesh_config, parse_mesh_networks},
    path::FieldPath,
    suggest,
};

/// Checks a `MeshConfig`.
pub(super) fn validate(_: &Object, spec: &MeshConfig, findings: &mut Findings<'_>) {
    settings(FieldPath::spec(), &spec.settings, findings);
}

/// Checks the settings in the ConfigMap that the control plane reads: `istio`, or `istio-REVISION`.
pub(super) fn validate_installed(object: &Object, spec: &ConfigMap, findings: &mut Findings<'_>) {
    if object.name() != "istio" && !object.name().starts_with("istio-") {
        return;
    }
    let root = FieldPath::root();
    let data = root.field("data");
    if let Some(text) = spec.data.get("mesh") {
        match parse_mesh_config("mesh", text) {
            Ok(mesh) => settings(data.field("mesh"), &mesh.settings, findings),
            Err(finding) => findings.error(data.field("mesh"), finding.message),
        }
    }
    if let Some(text) = spec.data.get("meshNetworks") {
        let path = data.field("meshNetworks");
        match parse_mesh_networks(text) {
            Ok(networks) => mesh_networks::networks(path, &networks, findings),
            Err(fault) => findings.error(path, fault),
        }
    }
}

/// What an `IstioOperator` may hold. Source: `istio/istio`, operator/pkg/apis/types.go, and the fields of older versions.
const OPERATOR: [&str; 14] = [
    "profile",
    "installPackagePath",
    "hub",
    "tag",
    "resourceSuffix",
    "namespace",
    "revision",
    "compatibilityVersion",
    "defaultRevision",
    "meshConfig",
    "components",
    "addonComponents",
    "values",
    "unvalidatedValues",
];

/// Checks the settings of the mesh in what the installer is told.
pub(super) fn validate_operator(_: &Object, spec: &IstioOperator, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    for name in spec.spec.as_object().into_iter().flat_map(|fields| fields.keys()) {
        if !OPERATOR.contains(&name.as_str()) {
            findings.error(root.field(name), format_args!("unknown field {name:?}"));
            if let Some(near) = suggest::nearest(name, OPERATOR) {
                findings.help(format!("did you mean {near:?}?"));
            }
        }
    }
    let path = root.field("meshConfig");
    match &spec.mesh_config {
        Some(mesh) => settings(path, &mesh.settings, findings),
        None if !field(&spec.spec, "meshConfig").is_null() => findings.error(path, "expected a mapping"),
        None => {}
    }
}

/// Checks the settings of a mesh in a file of their own, whose root they are.
pub(crate) fn validate_file(object: &Object) -> Vec<Diagnostic> {
    let mut findings = Findings::new(object);
    if let Some(mesh) = object.spec_as::<MeshConfig>() {
        settings(FieldPath::root(), &mesh.settings, &mut findings);
    }
    findings.into_diagnostics()
}

/// Checks the settings of a mesh, wherever they were written.
fn settings(root: FieldPath<'_>, given: &Value, findings: &mut Findings<'_>) {
    schema::fields(root, given, schema::MESH, findings);
    port(root, given, "proxyListenPort", findings);
    port(root, given, "proxyInboundListenPort", findings);
    if let Some(span) = span(given, "connectTimeout") {
        let path = root.field("connectTimeout");
        rules::duration(path, Some(span), findings);
        if span > Duration::from_millis(3_600_000) {
            findings.error(path, "must be 1h at most");
        }
    }
    if let Some(span) = span(given, "protocolDetectionTimeout").filter(|span| !span.is_zero()) {
        rules::duration(root.field("protocolDetectionTimeout"), Some(span), findings);
    }
    proxy::validate(root.field("defaultConfig"), field(given, "defaultConfig"), findings);
    if let Ok(setting) = serde_json::from_value::<LocalityLbSetting>(field(given, "localityLbSetting").clone()) {
        locality::setting(root.field("localityLbSetting"), &setting, findings);
    } else if !field(given, "localityLbSetting").is_null() {
        findings.error(root.field("localityLbSetting"), "not settings of a balancer of localities");
    }
    let services = root.field("serviceSettings");
    for (index, service) in items(given, "serviceSettings").enumerate() {
        let path = services.index(index);
        let hosts = path.field("hosts");
        for (index, host) in texts(service, "hosts").enumerate() {
            rules::wildcard_host(hosts.index(index), host, findings);
        }
    }
    trust_domains(root, given, findings);
    if let Some(ca) = given.get("ca").filter(|ca| !ca.is_null()) {
        let path = root.field("ca");
        address(path.field("address"), text(ca, "address").unwrap_or_default(), findings);
        if let Some(span) = span(ca, "requestTimeout") {
            rules::duration(path.field("requestTimeout"), Some(span), findings);
        }
        tls(path, ca, findings);
    }
    let sources = root.field("configSources");
    for (index, source) in items(given, "configSources").enumerate() {
        tls(sources.index(index), source, findings);
    }
    provider::validate(root.field("extensionProviders"), given, findings);
    versions(root, given, findings);
}

/// A field, under either of its names; `null` when it is left out.
fn field<'v>(value: &'v Value, name: &str) -> &'v Value {
    let given = value.as_object().and_then(|fields| {
        fields.get(name).or_else(|| fields.iter().find(|(key, _)| schema::camel(key) == name).map(|(_, value)| value))
    });
    given.unwrap_or(&Value::Null)
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    field(value, name).as_str()
}

fn span(value: &Value, name: &str) -> Option<Duration> {
    text(value, name)?.parse().ok()
}

fn items<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    field(value, name).as_array().into_iter().flatten()
}

fn texts<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v str> {
    items(value, name).filter_map(Value::as_str)
}

/// A port that is left out has its default.
fn port(path: FieldPath<'_>, value: &Value, name: &str, findings: &mut Findings<'_>) {
    if let Some(number) = field(value, name).as_i64() {
        rules::port(path.field(name), u32::try_from(number).unwrap_or(u32::MAX), findings);
    }
}

/// `HOST:PORT`; the host may be that of the node.
fn address(path: FieldPath<'_>, text: &str, findings: &mut Findings<'_>) {
    let fault = match text.rsplit_once(':') {
        None => Some("expected HOST:PORT".to_owned()),
        Some((host, port)) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let known = host == "$(HOST_IP)" || rules::is_ip(host);
            match port.parse::<u16>() {
                Ok(1..) if known => None,
                Ok(1..) => rules::host_fault(host),
                _ => Some(format!("invalid port {port:?}")),
            }
        }
    };
    if let Some(fault) = fault {
        findings.error(path, format_args!("invalid address {text:?}: {fault}"));
    }
}

fn tls(path: FieldPath<'_>, value: &Value, findings: &mut Findings<'_>) {
    let given = field(value, "tlsSettings");
    if given.is_null() {
        return;
    }
    let path = path.field("tlsSettings");
    match serde_json::from_value(given.clone()) {
        Ok(settings) => super::traffic_policy::client_tls(path, &settings, findings),
        Err(error) => findings.error(path, error),
    }
}

fn trust_domains(root: FieldPath<'_>, given: &Value, findings: &mut Findings<'_>) {
    let path = root.field("trustDomain");
    let domain = |path: FieldPath<'_>, text: &str, findings: &mut Findings<'_>| {
        if let Some(fault) = rules::host_fault(text) {
            findings.error(path, format_args!("invalid trust domain {text:?}: {fault}"));
        }
    };
    match field(given, "trustDomain") {
        Value::String(text) if text.is_empty() => findings.error(path, "must not be empty"),
        Value::String(text) => domain(path, text, findings),
        _ => {}
    }
    let aliases = root.field("trustDomainAliases");
    for (index, alias) in texts(given, "trustDomainAliases").enumerate() {
        domain(aliases.index(index), alias, findings);
    }
}

const CURVES: [&str; 4] = ["P-256", "P-384", "P-521", "X25519"];

fn versions(root: FieldPath<'_>, given: &Value, findings: &mut Findings<'_>) {
    let mesh = root.field("meshMTLS");
    if items(field(given, "meshMTLS"), "ecdhCurves").next().is_some() {
        findings.error(mesh.field("ecdhCurves"), "curves can be set in tlsDefaults only");
    }
    let defaults = root.field("tlsDefaults");
    let curves = defaults.field("ecdhCurves");
    let all: Vec<&str> = texts(field(given, "tlsDefaults"), "ecdhCurves").collect();
    for (index, curve) in all.iter().enumerate() {
        if !CURVES.contains(curve) {
            findings.warning(curves.index(index), format_args!("unknown curve {curve:?}"));
            findings.help(format!("the curves are: {}", CURVES.join(", ")));
        }
        if all[..index].contains(curve) {
            findings.warning(curves.index(index), format_args!("the curve {curve:?} is given twice"));
        }
    }
}
