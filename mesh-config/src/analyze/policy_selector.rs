//! Policies that select the pods of a Kubernetes Gateway by label (IST0166).

use std::collections::BTreeMap;

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{
        AuthorizationPolicy, Kind, LabelSelector, Object, RequestAuthentication, Telemetry, WasmPlugin, labels_match,
    },
    path::FieldPath,
};

/// Finds selectors that have no effect on Kubernetes Gateways, which are bound by reference.
#[derive(Debug)]
pub(super) struct PolicySelector;

/// The kinds of policies whose selectors are looked at.
const KINDS: [Kind; 4] = [Kind::RequestAuthentication, Kind::AuthorizationPolicy, Kind::Telemetry, Kind::WasmPlugin];

/// The label that the pods of a Kubernetes Gateway carry.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

impl Analyzer for PolicySelector {
    fn name(&self) -> &'static str {
        "policy.selector"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each(KINDS).reads(KINDS, [Kind::Pod], Link::Selects)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let snapshot = context.snapshot();
        let mut gateways: BTreeMap<&str, Vec<&BTreeMap<String, String>>> = BTreeMap::new();
        for pod in snapshot.of_kind(Kind::Pod).filter(|pod| pod.meta.labels.contains_key(GATEWAY_NAME)) {
            gateways.entry(pod.namespace()).or_default().push(&pod.meta.labels);
        }
        let mut check = |object: &Object, selector: Option<&LabelSelector>, bound: bool| {
            let Some(selector) = selector.filter(|_| !bound) else { return };
            let pods = gateways.get(object.namespace()).into_iter().flatten();
            for labels in pods.filter(|labels| labels_match(&selector.match_labels, labels)) {
                let path = FieldPath::spec();
                let args: [&dyn std::fmt::Display; 1] = [&labels[GATEWAY_NAME]];
                findings.push(Diagnostic::on(Code::IneffectiveSelector, object, path.field("selector"), &args));
            }
        };
        for found in snapshot.all::<RequestAuthentication>() {
            let bound = found.spec.target_ref.is_some() || !found.spec.target_refs.is_empty();
            check(found.object, found.spec.selector.as_ref(), bound);
        }
        for found in snapshot.all::<AuthorizationPolicy>() {
            let bound = found.spec.target_ref.is_some() || !found.spec.target_refs.is_empty();
            check(found.object, found.spec.selector.as_ref(), bound);
        }
        for found in snapshot.all::<Telemetry>() {
            let bound = found.spec.target_ref.is_some() || !found.spec.target_refs.is_empty();
            check(found.object, found.spec.selector.as_ref(), bound);
        }
        for found in snapshot.all::<WasmPlugin>() {
            let bound = found.spec.target_ref.is_some() || !found.spec.target_refs.is_empty();
            check(found.object, found.spec.selector.as_ref(), bound);
        }
    }
}
