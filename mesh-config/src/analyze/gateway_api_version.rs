//! Definitions of the Gateway API that are too old (IST0176).

use super::{AnalysisContext, Analyzer, Inputs};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{CustomResourceDefinition, Kind},
    path::FieldPath,
};

/// Compares the versions of the Gateway API's definitions with the least that Istio takes.
#[derive(Debug)]
pub(super) struct GatewayApiVersion;

const VERSION: &str = "gateway.networking.k8s.io/bundle-version";

/// Definitions and the least version that is needed. Source: Istio's minimum versions of Gateway API definitions.
const LEAST: [(&str, [u64; 3]); 3] = [
    ("grpcroutes.gateway.networking.k8s.io", [1, 1, 0]),
    ("backendtlspolicies.gateway.networking.k8s.io", [1, 4, 0]),
    ("tlsroutes.gateway.networking.k8s.io", [1, 5, 0]),
];

impl Analyzer for GatewayApiVersion {
    fn name(&self) -> &'static str {
        "gatewayapi.version"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::CustomResourceDefinition])
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        for found in context.snapshot().all::<CustomResourceDefinition>() {
            let object = found.object;
            let Some((name, least)) = LEAST.iter().find(|(name, _)| *name == object.name()) else { continue };
            let Some(text) = object.meta.annotations.get(VERSION) else { continue };
            if version(text).is_some_and(|found| found < *least) {
                let root = FieldPath::root();
                let path = root.field("metadata");
                let path = path.field("annotations");
                let least = least.map(|part| part.to_string()).join(".");
                let args: [&dyn std::fmt::Display; 3] = [name, text, &least];
                findings.push(Diagnostic::on(Code::OldGatewayApi, object, path.field(VERSION), &args));
            }
        }
    }
}

/// The numbers of a version, without what comes before its release.
fn version(text: &str) -> Option<[u64; 3]> {
    let numbers = text.strip_prefix('v').unwrap_or(text).split(['-', '+']).next()?;
    let mut parts = numbers.split('.').map(|part| part.parse::<u64>().ok());
    let version = [parts.next()??, parts.next().unwrap_or(Some(0))?, parts.next().unwrap_or(Some(0))?];
    parts.next().is_none().then_some(version)
}
