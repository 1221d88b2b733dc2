//! ServiceEntries that disagree on the protocol of a port (IST0177).

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Kind, Object, ServiceEntry},
    path::FieldPath,
};

/// Finds hosts and ports that several ServiceEntries, seen by the same namespaces, give different protocols.
#[derive(Debug)]
pub(super) struct ServiceEntryProtocol;

/// Every namespace.
const ALL: &str = "*";

/// Who says what of a host and port.
type Claims<'a> = Vec<(String, &'a Arc<Object>)>;

impl Analyzer for ServiceEntryProtocol {
    fn name(&self) -> &'static str {
        "serviceentry.protocol"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::ServiceEntry]).reads([Kind::ServiceEntry], [Kind::ServiceEntry], Link::Host)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let mut index: BTreeMap<(String, u32, String), Claims<'_>> = BTreeMap::new();
        for entry in context.snapshot().all::<ServiceEntry>() {
            let namespace = entry.object.namespace();
            let export = &entry.spec.export_to;
            let scopes: BTreeSet<&str> = if export.is_empty() || export.iter().any(|to| to == ALL) {
                [ALL].into()
            } else {
                export.iter().map(|to| if to == "." { namespace } else { to }).collect()
            };
            for (scope, host, port) in scopes.iter().flat_map(|scope| {
                entry
                    .spec
                    .hosts
                    .iter()
                    .flat_map(move |host| entry.spec.ports.iter().map(move |port| (scope, host, port)))
            }) {
                let protocol = port.protocol.as_deref().unwrap_or_default().to_ascii_uppercase();
                let key = (host.clone(), port.number, (*scope).to_owned());
                index.entry(key).or_default().push((protocol, entry.object));
            }
        }
        let mut reported = HashSet::new();
        for ((host, port, scope), claims) in &index {
            let everywhere = index.get(&(host.clone(), *port, ALL.to_owned())).filter(|_| scope != ALL);
            let claims: Vec<_> = claims.iter().chain(everywhere.into_iter().flatten()).collect();
            let protocols: BTreeSet<_> = claims.iter().map(|(protocol, _)| protocol.as_str()).collect();
            if protocols.len() < 2 {
                continue;
            }
            let names: BTreeSet<_> =
                claims.iter().map(|(_, object)| format!("{}/{}", object.namespace(), object.name())).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            let protocols = protocols.into_iter().collect::<Vec<_>>().join(", ");
            for (_, object) in claims.into_iter().filter(|(_, object)| reported.insert(object.key())) {
                let path = FieldPath::spec();
                let args: [&dyn std::fmt::Display; 4] = [&names, host, port, &protocols];
                findings.push(Diagnostic::on(Code::ConflictingServiceEntries, object, path.field("ports"), &args));
            }
        }
    }
}
