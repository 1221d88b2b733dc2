//! References of the Gateway API's kinds to other objects.

use super::name;
use crate::{
    model::gateway_api::{
        BackendObjectReference, BackendRef, LocalObjectReference, ObjectReference, SecretObjectReference,
    },
    path::FieldPath,
    validate::{Findings, rules},
};

const WEIGHT_LIMIT: i32 = 1_000_000;

/// A reference to a backend, from whichever type.
pub(super) struct Backend<'a> {
    pub(super) group: Option<&'a str>,
    pub(super) kind: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) namespace: Option<&'a str>,
    pub(super) port: Option<u32>,
}

impl<'a> From<&'a BackendObjectReference> for Backend<'a> {
    fn from(from: &'a BackendObjectReference) -> Self {
        Self {
            group: from.group.as_deref(),
            kind: from.kind.as_deref(),
            name: &from.name,
            namespace: from.namespace.as_deref(),
            port: from.port,
        }
    }
}

impl Backend<'_> {
    /// Checks it; a Service needs a port.
    pub(super) fn check(&self, path: FieldPath<'_>, findings: &mut Findings<'_>) {
        name::group(path, self.group, findings);
        name::kind(path, self.kind.unwrap_or("Service"), findings);
        name::object(path, self.name, findings);
        name::namespace(path, self.namespace, findings);
        let (group, kind) = (self.group.unwrap_or_default(), self.kind.unwrap_or("Service"));
        match self.port {
            Some(port) => rules::port(path.field("port"), port, findings),
            None if group.is_empty() && kind == "Service" => {
                findings.error(path, "the port is required for a Service");
            }
            None => {}
        }
        if self.port.is_some() && group == "gateway.networking.x-k8s.io" && kind == "XBackend" {
            findings.error(path.field("port"), "an XBackend takes no port");
        }
    }
}

/// Checks a backend that must be there.
pub(super) fn required_backend(
    path: FieldPath<'_>,
    backend: Option<&BackendObjectReference>,
    findings: &mut Findings<'_>,
) {
    match backend {
        Some(backend) => Backend::from(backend).check(path.field("backendRef"), findings),
        None => findings.error(path.field("backendRef"), "the backend is required"),
    }
}

/// Checks the weight of a backend.
pub(super) fn weight(path: FieldPath<'_>, weight: Option<i32>, findings: &mut Findings<'_>) {
    if let Some(weight) = weight.filter(|weight| !(0..=WEIGHT_LIMIT).contains(weight)) {
        findings.error(path.field("weight"), format_args!("weight {weight} must be between 0 and {WEIGHT_LIMIT}"));
    }
}

/// Checks the backends of a rule below HTTP.
pub(super) fn backends(path: FieldPath<'_>, list: &[BackendRef], findings: &mut Findings<'_>) {
    rules::max_items(path, list.len(), 16, findings);
    for (index, entry) in list.iter().enumerate() {
        let path = path.index(index);
        let backend = Backend {
            group: entry.group.as_deref(),
            kind: entry.kind.as_deref(),
            name: &entry.name,
            namespace: entry.namespace.as_deref(),
            port: entry.port,
        };
        backend.check(path, findings);
        weight(path, entry.weight, findings);
    }
}

/// Checks a group that must be there, though it may be empty.
fn required_group(path: FieldPath<'_>, group: Option<&str>, findings: &mut Findings<'_>) {
    if group.is_none() {
        findings.error(path.field("group"), "the API group is required; it is \"\" for the core group");
    }
    name::group(path, group, findings);
}

/// Checks group, kind and name, all of which must be there.
pub(super) fn full(path: FieldPath<'_>, group: Option<&str>, kind: &str, name: &str, findings: &mut Findings<'_>) {
    required_group(path, group, findings);
    name::kind(path, kind, findings);
    name::object(path, name, findings);
}

/// Checks group and kind, both of which must be there.
pub(super) fn group_kind(path: FieldPath<'_>, group: Option<&str>, kind: &str, findings: &mut Findings<'_>) {
    required_group(path, group, findings);
    name::kind(path, kind, findings);
}

/// Checks a reference within the namespace.
pub(super) fn local(path: FieldPath<'_>, target: &LocalObjectReference, findings: &mut Findings<'_>) {
    full(path, target.group.as_deref(), &target.kind, &target.name, findings);
}

/// Checks a reference to any namespace.
pub(super) fn object(path: FieldPath<'_>, target: &ObjectReference, findings: &mut Findings<'_>) {
    full(path, target.group.as_deref(), &target.kind, &target.name, findings);
    name::namespace(path, target.namespace.as_deref(), findings);
}

/// Checks a reference to a certificate.
pub(super) fn secret(path: FieldPath<'_>, target: &SecretObjectReference, findings: &mut Findings<'_>) {
    name::group(path, target.group.as_deref(), findings);
    name::kind(path, target.kind.as_deref().unwrap_or("Secret"), findings);
    name::object(path, &target.name, findings);
    name::namespace(path, target.namespace.as_deref(), findings);
}
