//! Deployments whose services disagree (IST0116, IST0137).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    AnalysisContext, Analyzer, Inputs, Link,
    workload::{has_proxy, is_injected},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Deployment, DeploymentSpec, Kind, Object, Service, labels_match},
    path::FieldPath,
    snapshot::{Snapshot, Typed},
};

/// Finds deployments of the mesh whose services give one port several protocols or numbers.
#[derive(Debug)]
pub(super) struct DeploymentServices;

/// The label of proxies that the control plane runs for services, which belong to all of them.
const WAYPOINT: (&str, &str) = ("gateway.istio.io/managed", "istio.io-mesh-controller");

impl Analyzer for DeploymentServices {
    fn name(&self) -> &'static str {
        "deployment.services"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::Deployment]).reads([Kind::Deployment], [Kind::Namespace], Link::Namespace).reads(
            [Kind::Deployment],
            [Kind::Service],
            Link::SelectedBy,
        )
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let snapshot = context.snapshot();
        for deployment in snapshot.all::<Deployment>() {
            let (object, spec) = (deployment.object, &deployment.spec.spec);
            let waypoint = object.meta.labels.get(WAYPOINT.0).is_some_and(|value| value == WAYPOINT.1);
            let template = &spec.template;
            let inside = has_proxy(&template.spec.containers)
                || is_injected(snapshot, object.namespace(), &template.metadata.labels, &template.metadata.annotations);
            if inside && !waypoint {
                let services = services(snapshot, object, spec);
                protocols(object, &services, findings);
                target_ports(object, &services, findings);
            }
        }
    }
}

fn services<'a>(snapshot: &'a Snapshot, object: &Object, spec: &DeploymentSpec) -> Vec<Typed<'a, Service>> {
    let labels = &spec.template.metadata.labels;
    let all = snapshot.all_in::<Service>(object.namespace());
    all.filter(|found| !found.spec.spec.selector.is_empty() && labels_match(&found.spec.spec.selector, labels))
        .collect()
}

fn named(service: &Typed<'_, Service>) -> String {
    format!("{}/{}", service.object.namespace(), service.object.name())
}

fn protocols(object: &Object, services: &[Typed<'_, Service>], findings: &mut Vec<Diagnostic>) {
    let mut ports: BTreeMap<u16, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
    for service in services {
        for port in &service.spec.spec.ports {
            let protocol = port.protocol.as_deref().filter(|protocol| !protocol.is_empty()).unwrap_or("TCP");
            ports.entry(port.port).or_default().entry(protocol).or_default().insert(named(service));
        }
    }
    for (port, protocols) in ports.into_iter().filter(|(_, protocols)| protocols.len() > 1) {
        let names: BTreeSet<_> = protocols.into_values().flatten().collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let args: [&dyn std::fmt::Display; 3] = [&object.name(), &port, &names];
        findings.push(Diagnostic::on(Code::ServicesDisagreeOnProtocol, object, FieldPath::root(), &args));
    }
}

fn target_ports(object: &Object, services: &[Typed<'_, Service>], findings: &mut Vec<Diagnostic>) {
    let mut targets: BTreeMap<String, BTreeMap<u16, String>> = BTreeMap::new();
    for service in services {
        for port in &service.spec.spec.ports {
            let target = port.target_port.as_ref().map(ToString::to_string);
            let target = target.filter(|target| !matches!(target.as_str(), "" | "0"));
            let target = target.unwrap_or_else(|| port.port.to_string());
            targets.entry(target).or_default().insert(port.port, named(service));
        }
    }
    for (target, ports) in targets.into_iter().filter(|(_, ports)| ports.len() > 1) {
        let numbers = ports.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let names: BTreeSet<_> = ports.into_values().collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let args: [&dyn std::fmt::Display; 4] = [&object.name(), &names, &target, &numbers];
        findings.push(Diagnostic::on(Code::ServicesDisagreeOnPort, object, FieldPath::root(), &args));
    }
}
