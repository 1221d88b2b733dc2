//! Telemetries for the same workloads, or for none (IST0159, IST0160, IST0101).

use std::{collections::BTreeMap, sync::Arc};

use super::{
    AnalysisContext, Analyzer, Inputs, Link, context::not_found, inputs::WORKLOADS, sidecar_selector::names,
    workload::print_selector,
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Kind, Object, ObjectKey, Telemetry, labels_match},
    path::FieldPath,
};

/// Finds Telemetries of which only one can count.
#[derive(Debug)]
pub(super) struct TelemetrySelector;

impl Analyzer for TelemetrySelector {
    fn name(&self) -> &'static str {
        "telemetry.selector"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::Telemetry]).looks_up([Kind::Telemetry], WORKLOADS, Link::Namespace).reads(
            [Kind::Telemetry],
            [Kind::Telemetry],
            Link::Namespace,
        )
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let mut by_pod: BTreeMap<&ObjectKey, Vec<&Arc<Object>>> = BTreeMap::new();
        let mut by_namespace: BTreeMap<&str, Vec<&Arc<Object>>> = BTreeMap::new();
        let root = FieldPath::spec();
        for telemetry in context.snapshot().all::<Telemetry>() {
            let (object, spec) = (telemetry.object, telemetry.spec);
            let namespace = object.namespace();
            let Some(selector) = &spec.selector else {
                if spec.target_ref.is_none() && spec.target_refs.is_empty() {
                    by_namespace.entry(namespace).or_default().push(object);
                }
                continue;
            };
            let labels = &selector.match_labels;
            if labels.is_empty() {
                continue;
            }
            let workloads = context.workloads().in_namespace(namespace);
            let selected: Vec<_> = workloads.filter(|found| labels_match(labels, found.labels)).collect();
            if selected.is_empty() {
                findings.push(not_found(object, root.field("selector"), "selector", &print_selector(labels)));
            }
            for pod in selected.into_iter().filter_map(|found| found.pod) {
                by_pod.entry(pod.key()).or_default().push(object);
            }
        }
        for (pod, telemetries) in by_pod.into_iter().filter(|(_, telemetries)| telemetries.len() > 1) {
            let names = names(&telemetries);
            for telemetry in telemetries {
                let args: [&dyn std::fmt::Display; 3] = [&names, &pod.namespace, &pod.name];
                let at = root.field("selector");
                findings.push(Diagnostic::on(Code::ConflictingTelemetrySelectors, telemetry, at, &args));
            }
        }
        for (namespace, telemetries) in by_namespace.into_iter().filter(|(_, telemetries)| telemetries.len() > 1) {
            let names = names(&telemetries);
            for telemetry in telemetries {
                let args: [&dyn std::fmt::Display; 2] = [&names, &namespace];
                findings.push(Diagnostic::on(Code::SeveralDefaultTelemetries, telemetry, FieldPath::root(), &args));
            }
        }
    }
}
