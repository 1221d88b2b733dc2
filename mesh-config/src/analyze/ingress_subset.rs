//! Subsets that are set for sidecars and have no effect at a gateway (IST0140).

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Kind, VirtualService},
    path::FieldPath,
};

/// Finds routes at gateways to hosts whose subsets another VirtualService chooses, which only sidecars apply.
#[derive(Debug)]
pub(super) struct IngressSubset;

impl Analyzer for IngressSubset {
    fn name(&self) -> &'static str {
        "virtualservice.ingress-subset"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::VirtualService]).reads([Kind::VirtualService], [Kind::VirtualService], Link::Destination)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let given = |subset: &Option<String>| subset.as_deref().is_some_and(|subset| !subset.is_empty());
        let mut chosen: std::collections::HashMap<&str, Vec<String>> = std::collections::HashMap::new();
        for service in context.snapshot().all::<VirtualService>() {
            let targets = service.spec.http.iter().flat_map(|route| &route.route);
            for target in targets.filter_map(|target| target.destination.as_ref()) {
                if given(&target.subset) && service.spec.hosts.contains(&target.host) {
                    let name = format!("{}/{}", service.object.namespace(), service.object.name());
                    chosen.entry(&target.host).or_default().push(name);
                }
            }
        }
        let root = FieldPath::spec();
        let http = root.field("http");
        for service in context.snapshot().all::<VirtualService>().filter(|one| !one.spec.gateways.is_empty()) {
            let own = format!("{}/{}", service.object.namespace(), service.object.name());
            for (index, route) in service.spec.http.iter().enumerate() {
                let path = http.index(index);
                let path = path.field("route");
                for (index, target) in route.route.iter().enumerate() {
                    let Some(target) = target.destination.as_ref().filter(|target| !given(&target.subset)) else {
                        continue;
                    };
                    for other in chosen.get(target.host.as_str()).into_iter().flatten() {
                        let at = path.index(index);
                        let args: [&dyn std::fmt::Display; 2] = [other, &own];
                        let at = at.field("destination");
                        findings.push(Diagnostic::on(Code::IngressSubsetIgnored, service.object, at, &args));
                    }
                }
            }
        }
    }
}
