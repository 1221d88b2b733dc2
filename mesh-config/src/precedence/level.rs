//! Settings of the mesh, of a namespace, of a workload.

use std::{collections::BTreeMap, sync::Arc};

use super::{WorkloadRef, oldest_first};
use crate::{
    model::{KindSpec, MutualTlsMode, Object, PeerAuthentication, ProxyConfig, Sidecar, Telemetry, labels_match},
    snapshot::{Snapshot, Typed},
};

/// Kinds whose objects hold for the mesh, a namespace, or the workloads that a selector picks.
pub trait Leveled: KindSpec {
    /// The labels of the workloads that the object is for; `None` for all of the namespace.
    fn selector(&self) -> Option<&BTreeMap<String, String>>;

    /// Whether the object is bound to something else than workloads, such as a gateway by reference.
    fn is_bound(&self) -> bool {
        false
    }
}

impl Leveled for PeerAuthentication {
    fn selector(&self) -> Option<&BTreeMap<String, String>> {
        self.selector.as_ref().map(|selector| &selector.match_labels)
    }
}

impl Leveled for Telemetry {
    fn selector(&self) -> Option<&BTreeMap<String, String>> {
        self.selector.as_ref().map(|selector| &selector.match_labels)
    }

    fn is_bound(&self) -> bool {
        self.target_ref.is_some() || !self.target_refs.is_empty()
    }
}

impl Leveled for Sidecar {
    fn selector(&self) -> Option<&BTreeMap<String, String>> {
        self.workload_selector.as_ref().map(|selector| &selector.labels)
    }
}

impl Leveled for ProxyConfig {
    fn selector(&self) -> Option<&BTreeMap<String, String>> {
        self.selector.as_ref().map(|selector| &selector.match_labels)
    }
}

/// The objects of a kind that hold for a workload, one a level at most.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Levels<'a> {
    /// Of the root namespace, for the mesh.
    pub mesh: Option<&'a Arc<Object>>,
    /// Of the workload's namespace.
    pub namespace: Option<&'a Arc<Object>>,
    /// For the workload itself.
    pub workload: Option<&'a Arc<Object>>,
}

impl<'a> Levels<'a> {
    /// The objects from the nearest to the farthest.
    pub fn nearest_first(&self) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        [self.workload, self.namespace, self.mesh].into_iter().flatten()
    }
}

/// Whether a selector, if there is one, is of the level that is looked at.
type Fits<'f> = &'f dyn Fn(Option<&BTreeMap<String, String>>) -> bool;

/// The objects of a kind that hold for a workload; of several at one level the oldest.
///
/// An object without selector holds for its namespace, in the root namespace for the mesh; with one, for workloads of its
/// own namespace. An empty selector is as none.
#[must_use]
pub fn levels<'a, T: Leveled>(snapshot: &'a Snapshot, root: &str, workload: WorkloadRef<'_>) -> Levels<'a> {
    let oldest = |namespace: &str, fits: Fits<'_>| {
        let all = snapshot.all_in::<T>(namespace).filter(|found: &Typed<'_, T>| {
            !found.spec.is_bound() && fits(found.spec.selector().filter(|labels| !labels.is_empty()))
        });
        all.map(|found| found.object).min_by(|one, other| oldest_first(one, other))
    };
    let own = workload.namespace;
    Levels {
        mesh: oldest(root, &|selector| selector.is_none()),
        namespace: if own == root { None } else { oldest(own, &|selector| selector.is_none()) },
        workload: oldest(own, &|selector| selector.is_some_and(|selector| labels_match(selector, workload.labels))),
    }
}

/// The mode of mutual TLS that holds for a port of a workload: that of its port, else the nearest that is set, else
/// `PERMISSIVE`.
#[must_use]
pub fn mutual_tls_mode(snapshot: &Snapshot, root: &str, workload: WorkloadRef<'_>, port: u32) -> MutualTlsMode {
    let levels = levels::<PeerAuthentication>(snapshot, root, workload);
    let spec = |object: &'_ Arc<Object>| object.spec_as::<PeerAuthentication>().cloned().unwrap_or_default();
    let of_port = levels.workload.and_then(|object| spec(object).port_level_mtls.get(&port).copied());
    let nearest = levels.nearest_first().filter_map(|object| spec(object).mtls);
    let set = of_port.into_iter().chain(nearest).map(|mtls| mtls.mode);
    set.into_iter().find(|mode| *mode != MutualTlsMode::Unset).unwrap_or(MutualTlsMode::Permissive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precedence::tests::snapshot;

    fn policy(namespace: &str, name: &str, spec: &str) -> String {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: \
             {namespace}}}\nspec: {spec}\n"
        )
    }

    #[test]
    fn the_nearest_mode_that_is_set_counts() {
        let labels = BTreeMap::from([("app".to_owned(), "x".to_owned())]);
        let mode = |text: &str, port| {
            let workload = WorkloadRef { namespace: "a", labels: &labels };
            mutual_tls_mode(&snapshot(text), "istio-system", workload, port)
        };
        let mesh = policy("istio-system", "default", "{mtls: {mode: STRICT}}");
        assert_eq!(mode("", 80), MutualTlsMode::Permissive);
        assert_eq!(mode(&mesh, 80), MutualTlsMode::Strict);
        let namespace = mesh.clone() + &policy("a", "default", "{mtls: {mode: DISABLE}}");
        assert_eq!(mode(&namespace, 80), MutualTlsMode::Disable);
        let unset = mesh.clone() + &policy("a", "default", "{mtls: {mode: UNSET}}");
        assert_eq!(mode(&unset, 80), MutualTlsMode::Strict);
        let selected =
            "{selector: {matchLabels: {app: x}}, mtls: {mode: UNSET}, portLevelMtls: {80: {mode: PERMISSIVE}}}";
        let workload = namespace.clone() + &policy("a", "own", selected);
        assert_eq!((mode(&workload, 80), mode(&workload, 81)), (MutualTlsMode::Permissive, MutualTlsMode::Disable));
        let others = namespace + &policy("a", "own", &selected.replace("app: x", "app: y"));
        assert_eq!(mode(&others, 80), MutualTlsMode::Disable);
    }

    #[test]
    fn one_a_level_the_oldest() {
        let sidecar = |namespace: &str, name: &str, second: u32| {
            format!(
                "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: {name}, namespace: {namespace}, \
                 creationTimestamp: '2024-01-01T00:00:{second:02}Z'}}\nspec: {{egress: [{{hosts: ['*/*']}}]}}\n"
            )
        };
        let all = snapshot(&(sidecar("a", "new", 2) + &sidecar("a", "old", 1) + &sidecar("istio-system", "mesh", 3)));
        let labels = BTreeMap::new();
        let found = levels::<Sidecar>(&all, "istio-system", WorkloadRef { namespace: "a", labels: &labels });
        let names: Vec<_> = found.nearest_first().map(|object| object.name()).collect();
        assert_eq!(names, ["old", "mesh"]);
        let found = levels::<Sidecar>(&all, "istio-system", WorkloadRef { namespace: "istio-system", labels: &labels });
        assert_eq!(found.nearest_first().count(), 1);
    }
}
