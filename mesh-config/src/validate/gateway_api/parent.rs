//! What routes are attached to.

use super::name;
use crate::{
    model::gateway_api::ParentReference,
    path::FieldPath,
    validate::{Findings, rules},
};

/// What names a parent, with the defaults put in; a namespace that is not given is that of the route.
fn parent(reference: &ParentReference) -> (&str, &str, &str, &str) {
    (
        reference.group.as_deref().unwrap_or("gateway.networking.k8s.io"),
        reference.kind.as_deref().unwrap_or("Gateway"),
        reference.namespace.as_deref().unwrap_or_default(),
        &reference.name,
    )
}

/// The part of a parent: section and port, where empty and 0 mean all.
fn part(reference: &ParentReference) -> (&str, u32) {
    (reference.section_name.as_deref().unwrap_or_default(), reference.port.unwrap_or_default())
}

/// Checks the parents of a route: several references to the same one must name different parts of it, in the same way.
pub(super) fn validate(list: &[ParentReference], use_defaults: Option<&str>, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    let path = root.field("parentRefs");
    rules::max_items(path, list.len(), 32, findings);
    for (index, reference) in list.iter().enumerate() {
        single(path.index(index), reference, findings);
        let same = || list[..index].iter().filter(|other| parent(other) == parent(reference));
        let (section, port) = part(reference);
        let apart = |other: &ParentReference| {
            let (other_section, other_port) = part(other);
            other_section.is_empty() == section.is_empty() && (other_port == 0) == (port == 0)
        };
        if same().any(|other| part(other) == (section, port)) {
            findings.error(path.index(index), "the same part of this parent is referred to twice");
            findings.help("name different listeners with sectionName or port, or remove one reference");
        } else if !same().all(apart) {
            findings.error(path.index(index), "references to the same parent must all have sectionName, or all port");
        }
    }
    name::word(root.field("useDefaultGateways"), use_defaults, &["All", "None"], findings);
}

/// Checks one reference.
pub(super) fn single(path: FieldPath<'_>, reference: &ParentReference, findings: &mut Findings<'_>) {
    name::group(path, reference.group.as_deref(), findings);
    name::kind(path, reference.kind.as_deref().unwrap_or("Gateway"), findings);
    name::object(path, &reference.name, findings);
    name::namespace(path, reference.namespace.as_deref(), findings);
    name::section(path.field("sectionName"), reference.section_name.as_deref(), findings);
    if let Some(port) = reference.port {
        rules::port(path.field("port"), port, findings);
    }
}
