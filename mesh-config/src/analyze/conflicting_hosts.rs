//! Several VirtualServices with the same host for sidecars (IST0109).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host, host_covers},
    model::{Kind, Object, VirtualService},
    path::FieldPath,
};

/// Finds hosts that several VirtualServices define for sidecars, and names each of these once.
///
/// Those that are seen by the same namespaces conflict when their hosts are the same. One that is seen by a single
/// namespace also conflicts with one that is seen by all when their hosts overlap.
#[derive(Debug)]
pub(super) struct ConflictingHosts;

/// Every namespace.
const ALL: &str = "*";

/// Where VirtualServices name a host: the object and the index within its hosts.
type Mentions<'a> = Vec<(&'a Arc<Object>, usize)>;

/// Mentions by the namespace that sees them ([`ALL`]: every one) and by the full host.
type ByScope<'a> = BTreeMap<String, BTreeMap<String, Mentions<'a>>>;

impl Analyzer for ConflictingHosts {
    fn name(&self) -> &'static str {
        "virtualservice.conflicting-hosts"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::VirtualService]).reads([Kind::VirtualService], [Kind::VirtualService], Link::Host)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let scopes = collect(context);
        let nothing = BTreeMap::new();
        let everywhere = scopes.get(ALL).unwrap_or(&nothing);
        let mut reported = BTreeSet::new();
        for (scope, hosts) in &scopes {
            for (host, mentions) in hosts {
                let mut mentions = mentions.clone();
                if scope != ALL {
                    let overlap = |other: &str| host_covers(host, other) || host_covers(other, host);
                    mentions.extend(everywhere.iter().filter(|(other, _)| overlap(other)).flat_map(|(_, list)| list));
                }
                let keys: BTreeSet<_> = mentions.iter().map(|(object, _)| object.key()).collect();
                if keys.len() < 2 {
                    continue;
                }
                let names: Vec<_> = keys.iter().map(|key| format!("{}/{}", key.namespace, key.name)).collect();
                for (object, index) in mentions.into_iter().filter(|(object, _)| reported.insert(object.key())) {
                    let path = FieldPath::spec();
                    let path = path.field("hosts");
                    let args: [&dyn std::fmt::Display; 2] = [&names.join(", "), host];
                    findings.push(Diagnostic::on(
                        Code::ConflictingVirtualServiceHosts,
                        object,
                        path.index(index),
                        &args,
                    ));
                }
            }
        }
    }
}

fn collect<'a>(context: &AnalysisContext<'a>) -> ByScope<'a> {
    let mut scopes = ByScope::new();
    for service in context.snapshot().all::<VirtualService>() {
        let spec = service.spec;
        let for_sidecars = spec.gateways.is_empty() || spec.gateways.iter().any(|name| name == "mesh");
        if !for_sidecars {
            continue;
        }
        let namespace = service.object.namespace();
        let seen_by: Vec<&str> = if spec.export_to.is_empty() || spec.export_to.iter().any(|to| to == ALL) {
            vec![ALL]
        } else {
            spec.export_to.iter().map(|to| if to == "." { namespace } else { to }).collect()
        };
        for (index, host) in spec.hosts.iter().enumerate() {
            let host = full_host(host, namespace, DEFAULT_CLUSTER_DOMAIN);
            for scope in &seen_by {
                let hosts = scopes.entry((*scope).to_owned()).or_default();
                hosts.entry(host.clone()).or_default().push((service.object, index));
            }
        }
    }
    scopes
}
