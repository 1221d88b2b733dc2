//! The rules of `PeerAuthentication`.

use super::{Findings, rules, selector};
use crate::{
    model::{Object, PeerAuthentication},
    path::FieldPath,
};

/// Checks a `PeerAuthentication`.
pub(super) fn validate(object: &Object, spec: &PeerAuthentication, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    selector::policy_target(spec.selector.as_ref(), None, &[], findings);
    let ports = root.field("portLevelMtls");
    if spec.port_level_mtls.is_empty() {
        if object.positions.contains("spec.portLevelMtls") {
            findings.error(ports, "at least one port is required");
        }
        return;
    }
    let selects = spec.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty());
    if !selects {
        findings.error(ports, "modes for single ports need a selector with matchLabels");
    }
    for number in spec.port_level_mtls.keys() {
        rules::port(ports.field(&number.to_string()), *number, findings);
    }
}
