//! TLS towards servers whose certificate is not verified against authorities of one's own (IST0128, IST0129).

use super::{AnalysisContext, Analyzer, Inputs};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{ClientTlsMode, ClientTlsSettings, DestinationRule, Kind},
    path::FieldPath,
};

/// Finds TLS of DestinationRules without authorities.
#[derive(Debug)]
pub(super) struct ServerVerification;

impl Analyzer for ServerVerification {
    fn name(&self) -> &'static str {
        "destinationrule.server-verification"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::DestinationRule])
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let root = FieldPath::spec();
        let path = root.field("trafficPolicy");
        for rule in context.snapshot().all::<DestinationRule>() {
            let Some(policy) = &rule.spec.traffic_policy else { continue };
            // A Secret brings its authorities, and is read only by workloads that are selected.
            let selected = rule.spec.workload_selector.is_some();
            if let Some(mode) = policy.tls.as_ref().and_then(|tls| unverified(tls, selected)) {
                let args: [&dyn std::fmt::Display; 2] = [&mode, &rule.spec.host];
                findings.push(Diagnostic::on(Code::NoServerVerification, rule.object, path.field("tls"), &args));
            }
            let ports = path.field("portLevelSettings");
            for (index, port) in policy.port_level_settings.iter().enumerate() {
                if let Some(mode) = port.tls.as_ref().and_then(|tls| unverified(tls, selected)) {
                    let number = port.port.map_or(0, |port| port.number);
                    let args: [&dyn std::fmt::Display; 3] = [&mode, &rule.spec.host, &number];
                    let at = ports.index(index);
                    findings.push(Diagnostic::on(
                        Code::NoServerVerificationOnPort,
                        rule.object,
                        at.field("tls"),
                        &args,
                    ));
                }
            }
        }
    }
}

/// The mode, when it verifies against nothing that is named.
fn unverified(tls: &ClientTlsSettings, selected: bool) -> Option<&'static str> {
    let mode = match tls.mode {
        ClientTlsMode::Simple => "SIMPLE",
        ClientTlsMode::Mutual => "MUTUAL",
        ClientTlsMode::Disable | ClientTlsMode::IstioMutual => return None,
    };
    let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let named = given(&tls.ca_certificates) || (selected && given(&tls.credential_name));
    if named { None } else { Some(mode) }
}
