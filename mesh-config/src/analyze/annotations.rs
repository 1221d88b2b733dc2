//! Annotations of Istio's that do not exist, stand in the wrong place, or have a wrong value (IST0107, IST0108, IST0125,
//! IST0135).

use std::sync::Arc;

use super::{AnalysisContext, Analyzer, Inputs, annotation_table, workload::INJECT};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Kind, Object, Pod},
    path::FieldPath,
    suggest,
};

/// Checks the annotations of the platform's objects.
#[derive(Debug)]
pub(super) struct Annotations;

/// Kinds whose annotations are checked.
const KINDS: [Kind; 4] = [Kind::Namespace, Kind::Service, Kind::Pod, Kind::Deployment];

impl Analyzer for Annotations {
    fn name(&self) -> &'static str {
        "annotations"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each(KINDS)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        for kind in KINDS {
            for object in context.snapshot().of_kind(kind) {
                let names = object.meta.annotations.iter().filter(|(name, _)| is_istio(name));
                names.for_each(|(name, value)| annotation(object, name, value, findings));
            }
        }
    }
}

/// Whether an annotation is in Istio's name space.
fn is_istio(name: &str) -> bool {
    name == "kubernetes.io/ingress.class" || name.split('/').next().is_some_and(|domain| domain.ends_with("istio.io"))
}

fn annotation(object: &Arc<Object>, name: &str, value: &str, findings: &mut Vec<Diagnostic>) {
    let root = FieldPath::root();
    let path = root.field("metadata");
    let path = path.field("annotations");
    let path = path.field(name);
    let Some(known) = annotation_table::find(name) else {
        let mut finding = Diagnostic::on(Code::UnknownAnnotation, object, path, &[&name]);
        finding.help = suggest::nearest(name, annotation_table::names()).map(|near| format!("did you mean {near:?}?"));
        findings.push(finding);
        return;
    };
    // Who sets the label as well knows that the annotation goes away.
    let replaced = name == INJECT && object.meta.labels.contains_key(INJECT);
    if known.deprecated && !replaced {
        let instead = if name == INJECT { ": use the label of the same name" } else { "" };
        findings.push(Diagnostic::on(Code::DeprecatedAnnotation, object, path, &[&name, &instead]));
    }
    if known.is_alpha() && !is_set_by_mesh(object, name) {
        findings.push(Diagnostic::on(Code::AlphaAnnotation, object, path, &[&name]));
    }
    if known.kinds.contains(&"Any") {
        return;
    }
    if !known.kinds.contains(&object.kind().as_str()) {
        findings.push(Diagnostic::on(Code::MisplacedAnnotation, object, path, &[&name, &known.kinds.join(", ")]));
    } else if let Some(fault) = known.fault(value) {
        findings.push(Diagnostic::on(Code::InvalidAnnotation, object, path, &[&name, &fault]));
    }
}

/// Annotations that the injector sets when traffic is redirected by a plugin of the network, not by an init container.
const SET_BY_INJECTION: [&str; 4] = [
    "sidecar.istio.io/interceptionMode",
    "traffic.sidecar.istio.io/includeInboundPorts",
    "traffic.sidecar.istio.io/excludeInboundPorts",
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
];

/// Whether an annotation was set by the control plane rather than by the user.
fn is_set_by_mesh(object: &Object, name: &str) -> bool {
    let redirects = |pod: &Pod| pod.spec.init_containers.iter().any(|one| one.name == "istio-init");
    name == "sidecar.istio.io/status"
        || (SET_BY_INJECTION.contains(&name) && object.spec_as::<Pod>().is_some_and(|pod| !redirects(pod)))
}
