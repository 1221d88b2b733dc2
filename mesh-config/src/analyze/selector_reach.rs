//! Objects whose selector selects no workload (MESH0108).

use std::collections::BTreeMap;

use super::{
    AnalysisContext, Analyzer, Inputs, Link, context::root_namespace, inputs::WORKLOADS, workload::print_selector,
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{
        DestinationRule, EnvoyFilter, Kind, LabelSelector, Object, PeerAuthentication, ProxyConfig,
        RequestAuthentication, TrafficExtension, WasmPlugin, labels_match,
    },
    path::FieldPath,
};

/// Finds objects that select workloads of which none is there.
///
/// A namespace without any workload in the files is not judged. AuthorizationPolicies, Sidecars and Telemetries have
/// findings of Istio's own.
#[derive(Debug)]
pub(super) struct SelectorReach;

const SUBJECTS: [Kind; 7] = [
    Kind::PeerAuthentication,
    Kind::RequestAuthentication,
    Kind::WasmPlugin,
    Kind::TrafficExtension,
    Kind::ProxyConfig,
    Kind::EnvoyFilter,
    Kind::DestinationRule,
];

impl Analyzer for SelectorReach {
    fn name(&self) -> &'static str {
        "selector.reach"
    }

    fn inputs(&self) -> Inputs {
        // Those of its namespace tell whether the namespace is judged; those of the whole mesh are found by label.
        Inputs::each(SUBJECTS)
            .only(|object| selector(object).is_some())
            .looks_up(SUBJECTS, WORKLOADS, Link::Namespace)
            .looks_up(SUBJECTS, WORKLOADS, Link::Selects)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        for object in SUBJECTS.into_iter().flat_map(|kind| context.snapshot().of_kind(kind)) {
            let Some((field, labels)) = selector(object) else { continue };
            let everywhere = object.namespace() == root_namespace(context) && object.kind() != Kind::DestinationRule;
            let is_there = if everywhere {
                !context.has_workloads() || context.workloads().selected(&labels).next().is_some()
            } else {
                let mut own = context.workloads().in_namespace(object.namespace()).peekable();
                own.peek().is_none() || own.any(|found| labels_match(&labels, found.labels))
            };
            if !is_there {
                let root = FieldPath::spec();
                let args: [&dyn std::fmt::Display; 1] = [&print_selector(&labels)];
                findings.push(Diagnostic::on(Code::SelectorWithoutWorkloads, object, root.field(field), &args));
            }
        }
    }
}

/// The field that selects, and its labels, when there are any.
fn selector(object: &Object) -> Option<(&'static str, BTreeMap<String, String>)> {
    let labels = |selector: &Option<LabelSelector>| selector.as_ref().map(|selector| selector.match_labels.clone());
    let (field, found) = if let Some(spec) = object.spec_as::<PeerAuthentication>() {
        ("selector", labels(&spec.selector))
    } else if let Some(spec) = object.spec_as::<RequestAuthentication>() {
        ("selector", labels(&spec.selector))
    } else if let Some(spec) = object.spec_as::<WasmPlugin>() {
        ("selector", labels(&spec.selector))
    } else if let Some(spec) = object.spec_as::<TrafficExtension>() {
        ("selector", labels(&spec.selector))
    } else if let Some(spec) = object.spec_as::<ProxyConfig>() {
        ("selector", labels(&spec.selector))
    } else if let Some(spec) = object.spec_as::<DestinationRule>() {
        ("workloadSelector", labels(&spec.workload_selector))
    } else if let Some(spec) = object.spec_as::<EnvoyFilter>() {
        let labels = spec.spec.pointer("/workloadSelector/labels")?.as_object()?;
        let text = |(key, value): (&String, &serde_json::Value)| Some((key.clone(), value.as_str()?.to_owned()));
        ("workloadSelector", labels.iter().map(text).collect())
    } else {
        return None;
    };
    found.filter(|labels| !labels.is_empty()).map(|labels| (field, labels))
}
