//! Sidecars for the same workloads, for none, or for workloads without sidecar (IST0110, IST0111, IST0167, IST0101).

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    AnalysisContext, Analyzer, Inputs, Link,
    context::not_found,
    inputs::WORKLOADS,
    workload::{is_ambient_namespace, is_ambient_pod, print_selector},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Kind, Namespace, Object, ObjectKey, Sidecar, labels_match},
    path::FieldPath,
};

/// Finds Sidecars that conflict, or have no effect.
#[derive(Debug)]
pub(super) struct SidecarSelector;

impl Analyzer for SidecarSelector {
    fn name(&self) -> &'static str {
        "sidecar.selector"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::Sidecar]).looks_up([Kind::Sidecar], WORKLOADS, Link::Namespace).reads(
            [Kind::Sidecar],
            [Kind::Sidecar, Kind::Namespace],
            Link::Namespace,
        )
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let mut by_pod: BTreeMap<&ObjectKey, (&Arc<Object>, Vec<&Arc<Object>>)> = BTreeMap::new();
        let mut by_namespace: BTreeMap<&str, Vec<&Arc<Object>>> = BTreeMap::new();
        let root = FieldPath::spec();
        for sidecar in context.snapshot().all::<Sidecar>() {
            let namespace = sidecar.object.namespace();
            let selector = sidecar.spec.workload_selector.as_ref().map(|selector| &selector.labels);
            let Some(selector) = selector.filter(|labels| !labels.is_empty()) else {
                by_namespace.entry(namespace).or_default().push(sidecar.object);
                continue;
            };
            let workloads = context.workloads().in_namespace(namespace);
            let selected: Vec<_> = workloads.filter(|found| labels_match(selector, found.labels)).collect();
            if selected.is_empty() {
                let at = root.field("workloadSelector");
                findings.push(not_found(sidecar.object, at, "selector", &print_selector(selector)));
            }
            for pod in selected.into_iter().filter_map(|found| found.pod) {
                by_pod.entry(pod.key()).or_insert((pod, Vec::new())).1.push(sidecar.object);
            }
        }
        let mut reported = HashSet::new();
        for (pod, sidecars) in by_pod.into_values() {
            if is_ambient_pod(pod) {
                let why = "the workload has no sidecar: its traffic is captured by the node";
                ineffective(&sidecars, why, &mut reported, findings);
            } else if sidecars.len() > 1 {
                let (namespace, names) = (pod.namespace(), names(&sidecars));
                for sidecar in sidecars {
                    let args: [&dyn std::fmt::Display; 3] = [&names, &namespace, &pod.name()];
                    let at = root.field("workloadSelector");
                    findings.push(Diagnostic::on(Code::ConflictingSidecarSelectors, sidecar, at, &args));
                }
            }
        }
        for (namespace, sidecars) in by_namespace {
            let found = context.snapshot().find::<Namespace>("", namespace);
            if found.is_some_and(|found| is_ambient_namespace(found.object)) {
                let why = "the namespace has no sidecars: its traffic is captured by the node";
                ineffective(&sidecars, why, &mut reported, findings);
            } else if sidecars.len() > 1 {
                let names = names(&sidecars);
                for sidecar in sidecars {
                    let args: [&dyn std::fmt::Display; 2] = [&names, &namespace];
                    findings.push(Diagnostic::on(Code::SeveralDefaultSidecars, sidecar, FieldPath::root(), &args));
                }
            }
        }
    }
}

/// The names of some objects, in order.
pub(super) fn names(objects: &[&Arc<Object>]) -> String {
    objects.iter().map(|object| object.name()).collect::<Vec<_>>().join(", ")
}

fn ineffective<'a>(
    sidecars: &[&'a Arc<Object>],
    why: &str,
    reported: &mut HashSet<&'a ObjectKey>,
    findings: &mut Vec<Diagnostic>,
) {
    for sidecar in sidecars.iter().filter(|sidecar| reported.insert(sidecar.key())) {
        findings.push(Diagnostic::on(Code::IneffectivePolicy, sidecar, FieldPath::root(), &[&why]));
    }
}
