//! Which mode of mutual TLS a workload's port accepts (PeerAuthentication).

use std::{collections::BTreeMap, sync::Arc};

use mesh_config::{
    Snapshot,
    model::{MutualTlsMode, Object, PeerAuthentication},
    precedence::oldest_first,
};

use super::MeshOptions;
use crate::discovery::Labels;

/// What a port accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    /// Plaintext only.
    Disable,
    /// Both.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

/// All PeerAuthentications.
#[derive(Debug)]
pub(super) struct PeerModes {
    mesh: Mode,
    namespaces: BTreeMap<String, Mode>,
    workloads: BTreeMap<String, Vec<Selected>>,
}

#[derive(Debug)]
struct Selected {
    object: Arc<Object>,
    selector: Labels,
}

/// The modes of one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkloadModes {
    default: Mode,
    ports: BTreeMap<u32, Mode>,
}

impl PeerModes {
    /// Of several of the same reach, the oldest holds, as in Istio.
    pub(super) fn read(snapshot: &Snapshot, options: &MeshOptions) -> Self {
        let root = &options.root_namespace;
        let mut all = Self { mesh: Mode::Permissive, namespaces: BTreeMap::new(), workloads: BTreeMap::new() };
        let mut policies: Vec<_> = snapshot.all::<PeerAuthentication>().collect();
        policies.sort_by(|one, other| oldest_first(one.object, other.object));
        let mut wide = BTreeMap::new();
        for policy in policies {
            let namespace = policy.object.namespace();
            let labels = policy.spec.selector.as_ref().map(|s| &s.match_labels).filter(|labels| !labels.is_empty());
            if let Some(labels) = labels {
                let selector = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                let selected = Selected { object: Arc::clone(policy.object), selector };
                all.workloads.entry(namespace.to_owned()).or_default().push(selected);
            } else {
                wide.entry(namespace.to_owned()).or_insert(policy.spec.mtls.map(|m| m.mode).unwrap_or_default());
            }
        }
        all.mesh = resolve(wide.remove(root).unwrap_or_default(), Mode::Permissive);
        all.namespaces = wide.into_iter().map(|(ns, mode)| (ns, resolve(mode, all.mesh))).collect();
        all
    }

    /// The modes of a workload with `labels` in `namespace`.
    pub(super) fn workload(&self, namespace: &str, labels: &Labels) -> WorkloadModes {
        let inherited = self.namespaces.get(namespace).copied().unwrap_or(self.mesh);
        // In the root namespace a selector reaches that namespace only, as in Istio.
        let own = self.workloads.get(namespace).into_iter().flatten();
        let own = own.filter(|policy| labels.matches(&policy.selector));
        let spec = own.filter_map(|policy| policy.object.spec_as::<PeerAuthentication>()).next();
        let Some(spec) = spec else { return WorkloadModes { default: inherited, ports: BTreeMap::new() } };
        let default = resolve(spec.mtls.map(|m| m.mode).unwrap_or_default(), inherited);
        let ports = spec.port_level_mtls.iter().map(|(&port, mtls)| (port, resolve(mtls.mode, default)));
        WorkloadModes { default, ports: ports.collect() }
    }
}

impl WorkloadModes {
    /// The mode of the workload's own port.
    pub(super) fn port(&self, port: u16) -> Mode {
        self.ports.get(&u32::from(port)).copied().unwrap_or(self.default)
    }

    /// The mode of ports without one of their own.
    pub(super) fn default(&self) -> Mode {
        self.default
    }
}

fn resolve(mode: MutualTlsMode, inherited: Mode) -> Mode {
    match mode {
        MutualTlsMode::Unset => inherited,
        MutualTlsMode::Disable => Mode::Disable,
        MutualTlsMode::Permissive => Mode::Permissive,
        MutualTlsMode::Strict => Mode::Strict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_config::model::{LabelSelector, MutualTls, ObjectMeta};

    fn policy(namespace: &str, app: Option<&str>, mode: MutualTlsMode, ports: &[(u32, MutualTlsMode)]) -> Arc<Object> {
        let meta = ObjectMeta {
            name: app.unwrap_or("default").into(),
            namespace: Some(namespace.into()),
            ..ObjectMeta::default()
        };
        let spec = PeerAuthentication {
            selector: app.map(|app| LabelSelector { match_labels: [("app".to_owned(), app.to_owned())].into() }),
            mtls: Some(MutualTls { mode }),
            port_level_mtls: ports.iter().map(|&(port, mode)| (port, MutualTls { mode })).collect(),
        };
        Arc::new(Object::new(meta, spec))
    }

    #[test]
    fn workload_then_namespace_then_mesh() {
        use MutualTlsMode::{Disable, Permissive, Strict, Unset};
        let snapshot = [
            policy("istio-system", None, Strict, &[]),
            policy("a", None, Permissive, &[]),
            policy("b", None, Unset, &[]),
            policy("a", Some("x"), Unset, &[(9080, Disable)]),
            policy("b", Some("x"), Disable, &[(9080, Unset)]),
        ];
        let modes = PeerModes::read(&snapshot.into_iter().collect(), &MeshOptions::default());
        let x: Labels = [("app", "x")].into_iter().collect();
        let of = |namespace: &str, labels: &Labels, port| modes.workload(namespace, labels).port(port);
        assert_eq!(of("c", &x, 80), Mode::Strict);
        assert_eq!(of("a", &Labels::default(), 80), Mode::Permissive);
        assert_eq!(of("b", &Labels::default(), 80), Mode::Strict);
        assert_eq!(of("a", &x, 80), Mode::Permissive);
        assert_eq!(of("a", &x, 9080), Mode::Disable);
        assert_eq!(of("b", &x, 9080), Mode::Disable);
    }
}
