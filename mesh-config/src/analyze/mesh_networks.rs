//! Networks of the mesh with endpoints of registries that do not exist (IST0126).

use std::collections::BTreeSet;

use super::{AnalysisContext, Analyzer, Inputs, Link};
use crate::{
    diagnostic::{Code, Diagnostic},
    model::{Kind, MeshNetworks, Secret},
    path::FieldPath,
};

/// Looks for the registries that MeshNetworks names: Istio's own, and those of remote clusters' Secrets.
#[derive(Debug)]
pub(super) struct MeshNetworkRegistry;

/// Registries that there always are.
const BUILT_IN: [&str; 3] = ["Kubernetes", "External", "Mock"];
/// The label of Secrets that give access to remote clusters; their keys are the clusters' names.
const REMOTE: &str = "istio/multiCluster";

impl Analyzer for MeshNetworkRegistry {
    fn name(&self) -> &'static str {
        "meshnetworks.registry"
    }

    fn inputs(&self) -> Inputs {
        Inputs::each([Kind::MeshNetworks]).reads([Kind::MeshNetworks], [Kind::Secret], Link::All)
    }

    fn analyze(&self, context: &AnalysisContext<'_>, findings: &mut Vec<Diagnostic>) {
        let snapshot = context.snapshot();
        let remote = snapshot
            .all::<Secret>()
            .filter(|secret| secret.object.meta.labels.get(REMOTE).is_some_and(|value| value == "true"));
        let mut known: BTreeSet<&str> = BUILT_IN.into();
        known.extend(
            remote.flat_map(|secret| secret.spec.data.keys().chain(secret.spec.string_data.keys())).map(String::as_str),
        );
        let root = FieldPath::spec();
        let networks = root.field("networks");
        for found in snapshot.all::<MeshNetworks>() {
            for (name, network) in &found.spec.networks {
                let path = networks.field(name);
                let path = path.field("endpoints");
                for (index, endpoint) in network.endpoints.iter().enumerate() {
                    let Some(registry) = endpoint.from_registry.as_deref() else { continue };
                    if !known.contains(registry) {
                        let at = path.index(index);
                        let args: [&dyn std::fmt::Display; 2] = [&registry, name];
                        let at = at.field("fromRegistry");
                        findings.push(Diagnostic::on(Code::UnknownRegistry, found.object, at, &args));
                    }
                }
            }
        }
    }
}
