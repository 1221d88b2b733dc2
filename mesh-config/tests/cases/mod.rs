//! What tests of analyzers share: small configurations, and what is found in them.
#![allow(dead_code)] // no test uses all of it

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mesh_config::{MeshConfig, analyze_all, analyze_all_in, load_str};

/// Findings of some codes, as `CODE Kind namespace/name path`, in order.
pub(crate) fn found(text: &str, mesh: Option<&MeshConfig>, codes: &[&str]) -> Vec<String> {
    let loaded = load_str("case.yaml", text);
    let across = match mesh {
        Some(mesh) => analyze_all_in(loaded.all_objects(), mesh),
        None => analyze_all(loaded.all_objects()),
    };
    let all = loaded.diagnostics.iter().chain(&across).filter(|finding| codes.contains(&finding.code.as_str()));
    let mut all: Vec<_> = all
        .map(|finding| format!("{} {} {}", finding.code, finding.resource, finding.path).trim().to_owned())
        .collect();
    all.sort();
    all
}

/// Checks that a configuration gives these findings of their codes and of `others`, and no more.
pub(crate) fn check(text: &str, others: &[&str], expected: &[&str]) {
    let mut codes: Vec<&str> =
        expected.iter().filter_map(|row| row.split(' ').next()).chain(others.iter().copied()).collect();
    codes.dedup();
    assert_eq!(found(text, None, &codes), expected, "{text}");
}

/// An object in one line of YAML.
pub(crate) fn object(kind: &str, name: &str, rest: &str) -> String {
    let group = match kind {
        "Pod" | "Service" | "Namespace" | "Secret" | "ConfigMap" => "v1",
        "Deployment" => "apps/v1",
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => "admissionregistration.k8s.io/v1",
        "CustomResourceDefinition" => "apiextensions.k8s.io/v1",
        "Telemetry" => "telemetry.istio.io/v1",
        "EnvoyFilter" => "networking.istio.io/v1alpha3",
        "RequestAuthentication" | "AuthorizationPolicy" => "security.istio.io/v1",
        _ => "networking.istio.io/v1",
    };
    format!("---\napiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}}}\n{rest}\n")
}

pub(crate) fn labelled(kind: &str, name: &str, metadata: &str, rest: &str) -> String {
    object(kind, name, rest).replace(&format!("{{name: {name}}}"), &format!("{{name: {name}, {metadata}}}"))
}

/// PEM texts of a certificate that holds from 1970 until `ending` (`YYYYMMDDhhmmssZ`) and of a private key, with no more in
/// them than their forms ask for. The key does not tell whose it is.
pub(crate) fn pem(ending: &str) -> (String, String) {
    let validity = der(0x30, &[&der(0x17, &[b"700101000000Z"]), &der(0x18, &[ending.as_bytes()])]);
    let empty = der(0x30, &[]);
    let key = der(0x30, &[&empty, &der(3, &[b"\0k"])]);
    let fields = der(0x30, &[&der(2, &[&[1]]), &empty, &empty, &validity, &empty, &key]);
    let certificate = der(0x30, &[&fields, &empty, &der(3, &[&[0]])]);
    let private = der(0x30, &[&der(2, &[&[1]]), &der(4, &[b"k"])]);
    (armour("CERTIFICATE", &certificate), armour("EC PRIVATE KEY", &private))
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[tag, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

fn armour(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\\n{}\\n-----END {label}-----", STANDARD.encode(der))
}
