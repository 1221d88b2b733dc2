//! The rules of `GatewayClass`.

use super::{name, reference};
use crate::{
    model::{Object, gateway_api::GatewayClass},
    path::FieldPath,
    validate::{Findings, rules},
};

/// Checks a `GatewayClass`.
pub(in crate::validate) fn validate(_: &Object, spec: &GatewayClass, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    if !name::is_domain_path(&spec.controller_name) {
        findings.error(
            root.field("controllerName"),
            format_args!("invalid controller {:?}: write DOMAIN/PATH", spec.controller_name),
        );
    }
    if let Some(target) = &spec.parameters_ref {
        reference::object(root.field("parametersRef"), target, findings);
    }
    rules::max_len(root.field("description"), spec.description.as_deref().unwrap_or_default(), 64, findings);
}
