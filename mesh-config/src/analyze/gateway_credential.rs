//! Gateways whose certificates do not exist (IST0101), cannot be used (IST0161),
//! have the private key of another certificate (MESH0113) or end soon (MESH0103).

use std::time::{Duration, SystemTime};

use super::{AnalysisContext, Analyzer, Clock, Inputs, Link, context::not_found, inputs::WORKLOADS};
use crate::{
    certificate::{Certificate, PrivateKey},
    diagnostic::{Code, Diagnostic},
    model::{Gateway, Kind, Secret},
    path::FieldPath,
};

/// Looks for the Secrets that Gateways name, in the namespace of their workloads.
#[derive(Debug)]
pub(super) struct GatewayCredential(pub(super) Clock);

/// How long before its end a certificate is reported.
const NOTICE: Duration = Duration::from_secs(30 * 86_400);

impl Analyzer for GatewayCredential {
    fn name(&self) -> &'static str {
        "gateway.credential"
    }

    fn inputs(&self) -> Inputs {
        let gateways = [Kind::Gateway];
        Inputs::each(gateways).looks_up(gateways, WORKLOADS, Link::Selects).looks_up(
            gateways,
            [Kind::Secret],
            Link::Names,
        )
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let root = FieldPath::spec();
        let servers = root.field("servers");
        for gateway in context.snapshot().all::<Gateway>() {
            // Without workloads it is not known where Secrets are looked for; that is another finding.
            let first = context.workloads().selected(&gateway.spec.selector).next();
            let Some(namespace) = first.map(|workload| workload.namespace) else { continue };
            for (index, server) in gateway.spec.servers.iter().enumerate() {
                let name = server.tls.as_ref().and_then(|tls| tls.credential_name.as_deref());
                let Some(name) = name.filter(|name| !name.is_empty()) else { continue };
                let at = servers.index(index);
                let at = at.field("tls");
                let at = at.field("credentialName");
                match context.whole().find::<Secret>(namespace, name.trim_start_matches("kubernetes://")) {
                    None => {
                        let finding = not_found(gateway.object, at, "credentialName", name);
                        findings.push(finding.with_help(format!("the Secret must be in namespace {namespace:?}")));
                    }
                    Some(secret) => {
                        let names = format!("{namespace}/{}", secret.object.name());
                        match state(secret.spec, self.0.now()) {
                            State::Good => {}
                            State::Bad(why) => {
                                let args: [&dyn std::fmt::Display; 2] = [&names, &why];
                                findings.push(Diagnostic::on(
                                    Code::InvalidGatewayCredential,
                                    gateway.object,
                                    at,
                                    &args,
                                ));
                            }
                            State::KeyOfAnother => {
                                findings.push(Diagnostic::on(Code::KeyOfAnother, gateway.object, at, &[&names]));
                            }
                            State::Ending(days) => {
                                let args: [&dyn std::fmt::Display; 2] = [&names, &days];
                                findings.push(Diagnostic::on(Code::CertificateEnding, gateway.object, at, &args));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What is to be said of a Secret.
enum State {
    Good,
    Bad(&'static str),
    /// The private key is not that of the certificate.
    KeyOfAnother,
    /// The certificate ends in so many days.
    Ending(u64),
}

/// Looks at the certificate and the private key of a Secret, under the names of either form.
fn state(secret: &Secret, now: SystemTime) -> State {
    let text = |keys: [&str; 2]| {
        let value = keys.iter().find_map(|key| secret.value(key));
        value.and_then(|value| String::from_utf8(value).ok())
    };
    let certificate = text(["tls.crt", "cert"]).and_then(|text| Certificate::from_pem(&text));
    let key = text(["tls.key", "key"]).and_then(|text| PrivateKey::from_pem(&text));
    let (Some(certificate), Some(key)) = (certificate, key) else {
        return State::Bad("it holds no certificate with its private key, in tls.crt and tls.key");
    };
    if now < certificate.not_before {
        return State::Bad("the certificate does not hold yet");
    }
    match certificate.not_after.duration_since(now) {
        Err(_) => State::Bad("the certificate has ended"),
        Ok(_) if certificate.belongs_to(&key) == Some(false) => State::KeyOfAnother,
        Ok(left) if left < NOTICE => State::Ending(left.as_secs() / 86_400),
        Ok(_) => State::Good,
    }
}
