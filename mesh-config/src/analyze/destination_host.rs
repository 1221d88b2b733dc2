//! Routes to services that do not exist, or whose port is not clear (IST0101, IST0112).

use super::{
    AnalysisContext, Analyzer, Inputs, Link,
    context::{destinations, not_found},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host},
    model::{Destination, Kind, Object, VirtualService},
    path::FieldPath,
    suggest,
};

/// Finds destinations of VirtualServices that name no service, or not its port.
#[derive(Debug)]
pub(super) struct DestinationHost;

impl Analyzer for DestinationHost {
    fn name(&self) -> &'static str {
        "virtualservice.destination-host"
    }

    fn inputs(&self) -> Inputs {
        // Services of the namespace are proposed when a name is misspelt.
        Inputs::each([Kind::VirtualService])
            .reads([Kind::VirtualService], [Kind::Service, Kind::ServiceEntry], Link::Destination)
            .reads([Kind::VirtualService], [Kind::Service], Link::Namespace)
    }

    fn is_blocking(&self) -> bool {
        true
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        for service in context.snapshot().all::<VirtualService>() {
            let own = service.object.namespace();
            let mut viewers: Vec<&str> =
                service.spec.export_to.iter().map(|to| if to == "." { own } else { to.as_str() }).collect();
            if viewers.is_empty() || viewers.contains(&"*") {
                viewers.push(own);
            }
            destinations(service.spec, |path, destination| {
                findings.extend(check(context, service.object, &viewers, path, destination));
            });
        }
    }
}

fn check(
    context: &AnalysisContext<'_>,
    object: &Object,
    viewers: &[&str],
    path: FieldPath<'_>,
    destination: &Destination,
) -> Option<Diagnostic> {
    let host = full_host(&destination.host, object.namespace(), DEFAULT_CLUSTER_DOMAIN);
    // The rules of the object count in the namespaces that it is exported to.
    let seen = viewers.iter().map(|viewer| context.services(&host, viewer)).find(|services| !services.is_empty());
    let services = seen.unwrap_or_default();
    if services.is_empty() {
        let finding = not_found(object, path.field("host"), "host", &destination.host);
        return Some(finding.with_help(missing_host_help(context, object, destination)));
    }
    if services.iter().any(|service| service.ports.is_empty()) {
        return None; // a service without listed ports takes any
    }
    match &destination.port {
        Some(port) if !services.iter().any(|service| service.ports.contains(&port.number)) => {
            let named = format!("{}:{}", destination.host, port.number);
            let ports: Vec<_> = services.iter().flat_map(|service| &service.ports).map(ToString::to_string).collect();
            let finding = not_found(object, path.field("port").field("number"), "host:port", &named);
            Some(finding.with_help(format!("the service's ports are: {}", ports.join(", "))))
        }
        None if services.iter().all(|service| service.ports.len() > 1) => {
            let ports: Vec<_> = services[0].ports.iter().map(ToString::to_string).collect();
            let args: [&dyn std::fmt::Display; 2] = [&destination.host, &format!("[{}]", ports.join(" "))];
            Some(Diagnostic::on(Code::DestinationPortRequired, object, path, &args))
        }
        _ => None,
    }
}

fn missing_host_help(context: &AnalysisContext<'_>, object: &Object, destination: &Destination) -> String {
    let services = context.snapshot().in_namespace(crate::model::Kind::Service, object.namespace());
    let names: Vec<&str> = services.map(|service| service.name()).collect();
    match suggest::nearest(&destination.host, names) {
        Some(near) => format!("did you mean {near:?}?"),
        None => "add a Service or ServiceEntry with this host, or correct the name".to_owned(),
    }
}
