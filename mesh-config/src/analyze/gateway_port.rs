//! Gateways whose workloads do not exist (IST0101), or whose ports are not those of their service (IST0162).

use std::collections::BTreeSet;

use super::{
    AnalysisContext, Analyzer, Inputs, Link,
    context::{INGRESS_PORTS, not_found},
    inputs::WORKLOADS,
    workload::{DEFAULT_INGRESS, SYSTEM_NAMESPACE, Workload, print_selector},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Gateway, Kind, Service, labels_match},
    path::FieldPath,
    snapshot::Snapshot,
};

/// Compares the ports of Gateways with those of the services in front of their workloads.
#[derive(Debug)]
pub(super) struct GatewayPort;

impl Analyzer for GatewayPort {
    fn name(&self) -> &'static str {
        "gateway.port"
    }

    fn inputs(&self) -> Inputs {
        let gateways = [Kind::Gateway];
        Inputs::each(gateways)
            .looks_up(gateways, WORKLOADS, Link::Selects)
            .looks_up(WORKLOADS, [Kind::Service], Link::SelectedBy)
            // Those of the gateway that is assumed.
            .looks_up(gateways, [Kind::Service], Link::In(SYSTEM_NAMESPACE))
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let root = FieldPath::spec();
        for gateway in context.snapshot().all::<Gateway>() {
            let selector = print_selector(&gateway.spec.selector);
            let workloads: Vec<_> = context.workloads().selected(&gateway.spec.selector).collect();
            if workloads.is_empty() {
                let finding = not_found(gateway.object, root.field("selector"), "selector", &selector);
                findings.push(finding.with_help("no pod or deployment of these files has these labels"));
                continue;
            }
            let ports: BTreeSet<u32> =
                workloads.iter().flat_map(|workload| service_ports(context.whole(), workload)).collect();
            let servers = root.field("servers");
            for (index, server) in gateway.spec.servers.iter().enumerate() {
                let Some(port) = server.port.as_ref().filter(|port| !ports.contains(&port.number)) else { continue };
                let at = servers.index(index);
                let at = at.field("port");
                let args: [&dyn std::fmt::Display; 2] = [&port.number, &selector];
                findings.push(Diagnostic::on(Code::GatewayPortNotInService, gateway.object, at.field("number"), &args));
            }
        }
    }
}

/// The TCP ports of the services in front of a workload.
fn service_ports(snapshot: &Snapshot, workload: &Workload<'_>) -> Vec<u32> {
    let mut ports: Vec<u32> = Vec::new();
    for service in snapshot.all_in::<Service>(workload.namespace) {
        if labels_match(&service.spec.spec.selector, workload.labels) {
            let tcp = service.spec.spec.ports.iter().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
            ports.extend(tcp.map(|port| u32::from(port.port)));
        }
    }
    if ports.is_empty() && workload.pod.is_none() && workload.name == DEFAULT_INGRESS {
        ports.extend(INGRESS_PORTS);
    }
    ports
}
