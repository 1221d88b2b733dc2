//! Webhooks of an external control plane with addresses that do not work (IST0163, IST0164).

use std::net::IpAddr;

use super::{AnalysisContext, Analyzer, Inputs};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Kind, MutatingWebhookConfiguration, Object, ValidatingWebhookConfiguration, Webhook},
    path::FieldPath,
};

/// Checks the addresses of Istio's webhooks. Names are not looked up: the files may be checked anywhere.
#[derive(Debug)]
pub(super) struct ExternalControlPlane;

impl Analyzer for ExternalControlPlane {
    fn name(&self) -> &'static str {
        "webhook.external-control-plane"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::ValidatingWebhookConfiguration, Kind::MutatingWebhookConfiguration])
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        for found in context.snapshot().all::<ValidatingWebhookConfiguration>() {
            let name = found.object.name();
            if name == "istiod-default-validator" || name.starts_with("istio-validator") {
                findings.extend(first_fault(found.object, &found.spec.webhooks));
            }
        }
        for found in context.snapshot().all::<MutatingWebhookConfiguration>() {
            if found.object.name().starts_with("istio-sidecar-injector") {
                findings.extend(first_fault(found.object, &found.spec.webhooks));
            }
        }
    }
}

/// What is wrong with the first webhook that has a fault; all of them lead to the same control plane.
fn first_fault(object: &Object, webhooks: &[Webhook]) -> Option<Diagnostic> {
    let root = FieldPath::root();
    let path = root.field("webhooks");
    webhooks.iter().enumerate().find_map(|(index, webhook)| {
        let at = path.index(index);
        let at = at.field("clientConfig");
        let report = |code, args: &[&dyn std::fmt::Display]| Some(Diagnostic::on(code, object, at.field("url"), args));
        let blank = |url: &str| report(Code::ExternalControlPlaneAddress, &[&url, &webhook.name, &"is blank"]);
        match webhook.client_config.url.as_deref() {
            None if webhook.client_config.service.is_none() => blank(""),
            None => None,
            Some(url) => match host(url) {
                None => report(Code::ExternalControlPlaneAddress, &[&url, &webhook.name, &"is not a URL"]),
                Some(host) if host.parse::<IpAddr>().is_ok() => {
                    report(Code::ExternalControlPlaneIp, &[&url, &webhook.name])
                }
                Some(_) => None,
            },
        }
    })
}

/// The host of a URL.
fn host(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.strip_prefix('[') {
        Some(literal) => literal.split(']').next()?,
        None => authority.split(':').next()?,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!scheme.is_empty() && !host.is_empty() && host.chars().all(plain)).then_some(host)
}
