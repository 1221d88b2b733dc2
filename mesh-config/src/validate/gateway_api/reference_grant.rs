//! The rules of `ReferenceGrant`.

use super::{name, reference};
use crate::{
    model::{Object, gateway_api::ReferenceGrant},
    path::FieldPath,
    validate::{Findings, rules},
};

/// Checks a `ReferenceGrant`.
pub(in crate::validate) fn validate(_: &Object, spec: &ReferenceGrant, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    for (field, count) in [("from", spec.from.len()), ("to", spec.to.len())] {
        if count == 0 {
            findings.error(root.field(field), "at least one entry is required");
        }
        rules::max_items(root.field(field), count, 16, findings);
    }
    let from = root.field("from");
    for (index, entry) in spec.from.iter().enumerate() {
        let path = from.index(index);
        reference::group_kind(path, entry.group.as_deref(), &entry.kind, findings);
        name::namespace(path, Some(&entry.namespace), findings);
    }
    let to = root.field("to");
    for (index, entry) in spec.to.iter().enumerate() {
        let path = to.index(index);
        reference::group_kind(path, entry.group.as_deref(), &entry.kind, findings);
        if let Some(given) = &entry.name {
            name::object(path, given, findings);
        }
    }
}
