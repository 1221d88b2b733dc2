//! Gateways whose certificates do not exist (IST0101) or cannot be used (IST0161).

use base64::Engine as _;

use super::{AnalysisContext, Analyzer, Inputs, Link, context::not_found, inputs::WORKLOADS};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Gateway, Kind, Secret},
    path::FieldPath,
};

/// Looks for the Secrets that Gateways name, in the namespace of their workloads.
#[derive(Debug)]
pub(super) struct GatewayCredential;

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
                    Some(secret) if !holds_certificate(secret.spec) => {
                        let args: [&dyn std::fmt::Display; 2] = [&name, &namespace];
                        findings.push(Diagnostic::on(Code::InvalidGatewayCredential, gateway.object, at, &args));
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

/// Whether a Secret holds a certificate and a private key, under the names of either form.
fn holds_certificate(secret: &Secret) -> bool {
    let pem = |keys: [&str; 2], label: &str| {
        let value = keys.iter().find_map(|key| secret.value(key));
        value.and_then(|value| String::from_utf8(value).ok()).is_some_and(|text| is_pem(&text, label))
    };
    pem(["tls.crt", "cert"], "CERTIFICATE") && pem(["tls.key", "key"], "PRIVATE KEY")
}

/// Whether a text has a PEM block of a label whose content is one whole DER structure.
fn is_pem(text: &str, label: &str) -> bool {
    let Some((_, rest)) = text.split_once("-----BEGIN ") else { return false };
    let Some((found, rest)) = rest.split_once("-----") else { return false };
    let Some((body, _)) = rest.split_once("-----END ") else { return false };
    let compact: String = body.split_whitespace().collect();
    let Ok(der) = base64::engine::general_purpose::STANDARD.decode(compact) else { return false };
    found.ends_with(label) && is_sequence(&der)
}

/// Whether bytes are one DER sequence from the first to the last.
fn is_sequence(der: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = der else { return false };
    if *length < 0x80 {
        return rest.len() == usize::from(*length);
    }
    let count = usize::from(*length & 0x7f);
    if count > 4 || rest.len() < count {
        return false;
    }
    let size = rest[..count].iter().fold(0_usize, |size, byte| (size << 8) | usize::from(*byte));
    rest.len() - count == size
}
