//! Gateways that serve the same certificate (IST0138).

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Gateway, Kind, ServerTlsSettings, labels_match},
    path::FieldPath,
};

/// Finds certificates that several Gateways of the same workloads serve: over a reused HTTP/2 connection, requests for
/// the one reach the other.
#[derive(Debug)]
pub(super) struct GatewayCertificate;

impl Analyzer for GatewayCertificate {
    fn name(&self) -> &'static str {
        "gateway.certificate"
    }

    fn inputs(&self) -> Inputs {
        let gateways = [Kind::Gateway];
        Inputs::each(gateways).reads(gateways, gateways, Link::SameNames)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let root = FieldPath::spec();
        let servers = root.field("servers");
        for gateway in context.snapshot().all::<Gateway>() {
            for other in context.snapshot().all::<Gateway>() {
                if gateway.object.key() == other.object.key()
                    || !labels_match(&gateway.spec.selector, &other.spec.selector)
                {
                    continue;
                }
                for (index, server) in gateway.spec.servers.iter().enumerate() {
                    let Some(own) = &server.tls else { continue };
                    let shared = other.spec.servers.iter().filter_map(|server| server.tls.as_ref());
                    for _ in shared.filter(|tls| same_certificate(own, tls)) {
                        let [a, b] = [gateway.object.key(), other.object.key()];
                        let names = format!("{}/{}, {}/{}", a.namespace, a.name, b.namespace, b.name);
                        let at = servers.index(index);
                        let at = at.field("tls");
                        findings.push(Diagnostic::on(Code::DuplicateGatewayCertificate, gateway.object, at, &[&names]));
                    }
                }
            }
        }
    }
}

fn same_certificate(one: &ServerTlsSettings, other: &ServerTlsSettings) -> bool {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    match (given(&one.credential_name), given(&other.credential_name)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => {
            let files = |tls: &ServerTlsSettings| Some((given(&tls.server_certificate)?, given(&tls.private_key)?));
            files(one).is_some() && files(one) == files(other)
        }
        _ => false,
    }
}
