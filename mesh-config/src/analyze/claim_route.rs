//! Routing by the claims of tokens that nothing verifies (IST0149).

use super::{AnalysisContext, Analyzer, Inputs, Link, inputs::WORKLOADS, workload::SYSTEM_NAMESPACE};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Gateway, Kind, RequestAuthentication, VirtualService, labels_match},
    path::FieldPath,
};

/// Finds VirtualServices that route by claims at gateways without a RequestAuthentication.
#[derive(Debug)]
pub(super) struct ClaimRoute;

/// How headers that stand for claims begin.
const CLAIM: &str = "@request.auth.claims";

impl Analyzer for ClaimRoute {
    fn name(&self) -> &'static str {
        "virtualservice.claim-route"
    }

    fn inputs(&self) -> Inputs {
        let services = [Kind::VirtualService];
        Inputs::each(services)
            .only(|object| object.spec_as().is_some_and(|spec| claim(spec).is_some()))
            .looks_up(services, [Kind::Gateway], Link::Names)
            .looks_up(services, [Kind::RequestAuthentication], Link::In(SYSTEM_NAMESPACE))
            .looks_up([Kind::Gateway], WORKLOADS, Link::Selects)
            .looks_up(WORKLOADS, [Kind::RequestAuthentication], Link::Namespace)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let whole = context.whole();
        let root = FieldPath::spec();
        let path = root.field("gateways");
        for service in context.snapshot().all::<VirtualService>() {
            let Some(claim) = claim(service.spec) else { continue };
            for (index, reference) in service.spec.gateways.iter().enumerate().filter(|(_, name)| *name != "mesh") {
                let own = service.object.namespace();
                let (namespace, name) = reference.split_once('/').unwrap_or((own, reference));
                let namespace = if namespace == "." { own } else { namespace };
                let Some(gateway) = whole.find::<Gateway>(namespace, name) else { continue };
                for workload in context.workloads().selected(&gateway.spec.selector) {
                    let system = whole.all_in::<RequestAuthentication>(SYSTEM_NAMESPACE);
                    let mut policies = system.chain(whole.all_in::<RequestAuthentication>(workload.namespace));
                    let verified = policies.any(|policy| {
                        let selector = policy.spec.selector.as_ref().map(|selector| &selector.match_labels);
                        selector.is_none_or(|selector| labels_match(selector, workload.labels))
                    });
                    if !verified {
                        let gateway = format!("{namespace}/{name}");
                        let args: [&dyn std::fmt::Display; 3] = [&claim, &gateway, &workload.name];
                        let code = Code::ClaimRoutingWithoutTokens;
                        findings.push(Diagnostic::on(code, service.object, path.index(index), &args));
                    }
                }
            }
        }
    }
}

/// The first claim that decides about a route.
fn claim(spec: &VirtualService) -> Option<&str> {
    let conditions = spec.http.iter().flat_map(|route| &route.matches);
    let mut names = conditions.flat_map(|one| one.headers.keys().chain(one.without_headers.keys()));
    names.find(|name| name.starts_with(CLAIM)).map(String::as_str)
}
