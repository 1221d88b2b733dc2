//! Ports of Services whose names do not tell the protocol (IST0118, IST0150).

use super::{
    AnalysisContext, Analyzer, Inputs,
    workload::{is_control_plane, is_system_namespace},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Kind, Service},
    path::FieldPath,
    protocol,
};

/// Checks the names of Services' ports.
#[derive(Debug)]
pub(super) struct PortName;

impl Analyzer for PortName {
    fn name(&self) -> &'static str {
        "service.port-name"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::Service])
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let root = FieldPath::spec();
        let ports = root.field("ports");
        for service in context.snapshot().all::<Service>() {
            if is_system_namespace(service.object.namespace()) || is_control_plane(service.object) {
                continue;
            }
            let external = service.spec.spec.service_type.as_deref() == Some("ExternalName");
            for (index, port) in service.spec.spec.ports.iter().enumerate() {
                let name = port.name.as_deref().unwrap_or_default();
                let told = protocol::is_told(port.port, name, port.protocol.as_deref(), port.app_protocol.as_deref());
                if told && !(external && name == "tcp") {
                    continue;
                }
                let code = if external { Code::ExternalNamePort } else { Code::PortNameConvention };
                let target = port.target_port.as_ref().map_or_else(|| port.port.to_string(), ToString::to_string);
                let args: [&dyn std::fmt::Display; 3] = [&name, &port.port, &target];
                findings.push(Diagnostic::on(code, service.object, ports.index(index), &args));
            }
        }
    }
}
