//! Telemetries without a provider (IST0157), or with one that is no longer supported (IST0002).

use super::{AnalysisContext, Analyzer, Inputs};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Kind, Telemetry},
    path::FieldPath,
};

/// Checks the providers of Telemetries against the settings of the mesh.
#[derive(Debug)]
pub(super) struct TelemetryProvider;

impl Analyzer for TelemetryProvider {
    fn name(&self) -> &'static str {
        "telemetry.provider"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::Telemetry])
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let mesh = context.mesh();
        let no_default = mesh.default_providers.access_logging.is_empty();
        let unsupported = |name: &str| {
            mesh.extension_providers.iter().any(|provider| provider.lightstep.is_some() && provider.name == name)
        };
        let root = FieldPath::spec();
        for telemetry in context.snapshot().all::<Telemetry>() {
            let object = telemetry.object;
            let logging = root.field("accessLogging");
            let silent = telemetry.spec.access_logging.iter().enumerate();
            let silent = silent.filter(|(_, logging)| logging.disabled != Some(true) && logging.providers.is_empty());
            for (index, _) in silent.filter(|_| no_default) {
                let args: [&dyn std::fmt::Display; 2] = [&object.name(), &object.namespace()];
                findings.push(Diagnostic::on(Code::NoTelemetryProvider, object, logging.index(index), &args));
            }
            let tracing = root.field("tracing");
            for (index, entry) in telemetry.spec.tracing.iter().enumerate() {
                let at = tracing.index(index);
                let at = at.field("providers");
                for (index, provider) in entry.providers.iter().enumerate() {
                    if unsupported(&provider.name) {
                        let what = format!("the LightStep provider {:?}: use OpenTelemetry", provider.name);
                        findings.push(Diagnostic::on(Code::Deprecated, object, at.index(index), &[&what]));
                    }
                }
            }
        }
    }
}
