//! The rules of `DestinationRule`.

use super::{Findings, rules, selector, traffic_policy};
use crate::{
    model::{DestinationRule, Object},
    path::FieldPath,
};

/// Checks a `DestinationRule`.
pub(super) fn validate(_: &Object, spec: &DestinationRule, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    rules::wildcard_host(root.field("host"), &spec.host, findings);
    rules::export_to(&spec.export_to, false, findings);
    if spec.workload_selector.is_some() && spec.export_to.iter().any(|entry| entry != ".") {
        findings.error(root.field("exportTo"), "with a workloadSelector, exportTo can only be \".\"");
    }
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy::validate(root.field("trafficPolicy"), policy, findings);
    }
    let subsets = root.field("subsets");
    for (index, subset) in spec.subsets.iter().enumerate() {
        let path = subsets.index(index);
        rules::label(path.field("name"), "subset name", &subset.name, findings);
        if spec.subsets[..index].iter().any(|other| other.name == subset.name) {
            findings.error(path.field("name"), format_args!("the subset {:?} is defined twice", subset.name));
        }
        selector::labels(path.field("labels"), &subset.labels, findings);
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy::validate(path.field("trafficPolicy"), policy, findings);
        }
    }
    if let Some(workloads) = &spec.workload_selector {
        let path = root.field("workloadSelector");
        selector::labels(path.field("matchLabels"), &workloads.match_labels, findings);
    }
}
