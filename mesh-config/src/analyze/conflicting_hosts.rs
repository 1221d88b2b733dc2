//! Several VirtualServices with the same host for sidecars (IST0109).

use std::{collections::BTreeMap, sync::Arc};

use super::{AnalysisContext, Analyzer};
use crate::{
    diagnostic::{Code, Diagnostic},
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host},
    model::{Object, VirtualService},
    path::FieldPath,
};

/// Where VirtualServices name a host: the object and the index within its hosts.
type Mentions<'a> = Vec<(&'a Arc<Object>, usize)>;

/// Finds hosts that several VirtualServices define for sidecars.
#[derive(Debug)]
pub(super) struct ConflictingHosts;

impl Analyzer for ConflictingHosts {
    fn name(&self) -> &'static str {
        "virtualservice.conflicting-hosts"
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        // By the namespace that sees the host (`*`: all) and the host.
        let mut owners: BTreeMap<(String, String), Mentions<'_>> = BTreeMap::new();
        for service in context.snapshot().all::<VirtualService>() {
            let for_sidecars =
                service.spec.gateways.is_empty() || service.spec.gateways.iter().any(|name| name == "mesh");
            if !for_sidecars {
                continue;
            }
            let namespace = service.object.namespace();
            let everywhere = service.spec.export_to.is_empty() || service.spec.export_to.iter().any(|to| to == "*");
            for (index, host) in service.spec.hosts.iter().enumerate() {
                let host = full_host(host, namespace, DEFAULT_CLUSTER_DOMAIN);
                let scopes = match everywhere {
                    true => vec!["*"],
                    false => service.spec.export_to.iter().map(|to| if to == "." { namespace } else { to }).collect(),
                };
                for scope in scopes.into_iter().filter(|scope| *scope != "~") {
                    owners.entry((scope.to_owned(), host.clone())).or_default().push((service.object, index));
                }
            }
        }
        for ((_, host), owners) in owners {
            if owners.windows(2).all(|pair| pair[0].0.key() == pair[1].0.key()) {
                continue;
            }
            let names: Vec<_> =
                owners.iter().map(|(object, _)| format!("{}/{}", object.namespace(), object.name())).collect();
            for (object, index) in &owners {
                let hosts = FieldPath::spec();
                let hosts = hosts.field("hosts");
                let args: [&dyn std::fmt::Display; 2] = [&names.join(", "), &host];
                findings.push(Diagnostic::on(Code::ConflictingVirtualServiceHosts, object, hosts.index(*index), &args));
            }
        }
    }
}
