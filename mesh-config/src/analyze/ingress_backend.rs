//! Ingresses whose requests lead nowhere (MESH0114).

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Ingress, IngressBackend, IngressClass, Kind, Object, Service},
    path::FieldPath,
    snapshot::Snapshot,
};

/// Finds Ingresses that Istio carries out and whose backends are not there, or have no such port.
#[derive(Debug)]
pub(super) struct IngressBackends;

/// The annotation that named the class before `ingressClassName` did.
const CLASS: &str = "kubernetes.io/ingress.class";

impl Analyzer for IngressBackends {
    fn name(&self) -> &'static str {
        "ingress.backend"
    }

    fn inputs(&self) -> Inputs {
        let kinds = [Kind::Ingress];
        Inputs::each(kinds).reads(kinds, [Kind::Service, Kind::IngressClass], Link::Names)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let snapshot = context.snapshot();
        for ingress in snapshot.all::<Ingress>() {
            let annotation = ingress.object.meta.annotations.get(CLASS).map(String::as_str);
            let class = ingress.spec.spec.ingress_class_name.as_deref();
            let class = class.and_then(|class| snapshot.find::<IngressClass>("", class)).map(|class| class.spec);
            if !ingress.spec.is_istios(context.mesh(), annotation, class) {
                continue;
            }
            for (place, backend) in ingress.spec.backends() {
                check(snapshot, ingress.object, place, backend, findings);
            }
        }
    }
}

fn check(
    snapshot: &Snapshot,
    object: &Object,
    place: Option<(usize, usize)>,
    backend: &IngressBackend,
    findings: &mut Vec<Diagnostic>,
) {
    let Some((field, fault)) = fault(snapshot, object.namespace(), backend) else { return };
    let root = FieldPath::spec();
    let mut report = |backend: FieldPath<'_>| {
        let service = backend.field("service");
        let at = if field.is_empty() { backend } else { service.field(field) };
        findings.push(Diagnostic::on(Code::IngressBackend, object, at, &[&fault]));
    };
    match place {
        None => report(root.field("defaultBackend")),
        Some((rule, path)) => {
            let rules = root.field("rules");
            let rule = rules.index(rule);
            let http = rule.field("http");
            let paths = http.field("paths");
            report(paths.index(path).field("backend"));
        }
    }
}

/// What is wrong with a backend, and with which field of its service.
fn fault(snapshot: &Snapshot, namespace: &str, backend: &IngressBackend) -> Option<(&'static str, String)> {
    let Some(wanted) = &backend.service else {
        return Some(("", "Istio sends requests to Services only".to_owned()));
    };
    let Some(service) = snapshot.find::<Service>(namespace, &wanted.name) else {
        return Some(("name", format!("the Service {:?} is not there", wanted.name)));
    };
    let ports = &service.spec.spec.ports;
    let fits = ports.iter().any(|port| match (&wanted.port.name, wanted.port.number) {
        (Some(name), _) if !name.is_empty() => port.name.as_ref() == Some(name),
        (_, Some(number)) => port.port == number,
        (_, None) => false,
    });
    let port = wanted.port.name.clone().or(wanted.port.number.map(|number| number.to_string())).unwrap_or_default();
    (!fits).then(|| ("port", format!("the Service {:?} has no port {port:?}", wanted.name)))
}
