//! What analyzers look things up in.

use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::{BTreeSet, HashMap},
};

use super::workload::{DEFAULT_INGRESS, INGRESS_LABEL, SYSTEM_NAMESPACE, Workloads, has_workloads};
use crate::{
    diagnostic::{Code, Diagnostic},
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host, host_covers, is_visible},
    model::{ConfigMap, Destination, IstioOperator, MeshConfig, Object, Service, ServiceEntry, VirtualService},
    parse::parse_mesh_config,
    path::FieldPath,
    snapshot::Snapshot,
};

/// The configuration, or a part of it, with the indexes that several analyzers need.
#[derive(Debug)]
pub struct AnalysisContext<'a> {
    snapshot: &'a Snapshot,
    surroundings: Cow<'a, Surroundings>,
    whole: &'a Snapshot,
    hosts: OnceCell<Hosts>,
}

/// Services by their full host name.
#[derive(Debug, Default)]
struct Hosts {
    exact: HashMap<String, Vec<HostEntry>>,
    /// Those whose host is a wildcard.
    wildcard: Vec<(String, HostEntry)>,
}

/// A service as destinations see it.
#[derive(Clone, Debug)]
pub(super) struct HostEntry {
    namespace: String,
    export_to: Vec<String>,
    pub(super) ports: BTreeSet<u32>,
}

/// Where Services say which namespaces see them.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// Ports of the gateway that is assumed when the configuration has none.
pub(super) const INGRESS_PORTS: [u32; 4] = [80, 443, 31400, 15443];

/// The settings of the mesh in a configuration: of the ConfigMap `istio`, else of a `MeshConfig`, else of an
/// `IstioOperator`.
pub(crate) fn mesh_settings(snapshot: &Snapshot) -> Option<MeshConfig> {
    let installed = snapshot.find::<ConfigMap>(SYSTEM_NAMESPACE, "istio");
    let text = installed.and_then(|found| found.spec.data.get("mesh"));
    // The control plane itself would refuse it; that is its own finding to make.
    let installed = text.and_then(|text| parse_mesh_config("mesh", text).ok());
    let written = || snapshot.all::<MeshConfig>().next().map(|found| found.spec.clone());
    let told = || snapshot.all::<IstioOperator>().find_map(|found| found.spec.mesh_config.clone());
    installed.or_else(written).or_else(told)
}

/// What matters to the whole configuration at once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Surroundings {
    /// The settings of the mesh.
    pub(super) mesh: MeshConfig,
    /// Whether a workload of the gateway that Istio's samples use is there.
    has_ingress: bool,
    /// Whether any workload is there.
    has_workloads: bool,
}

impl Surroundings {
    /// Those of a configuration, with the settings that it has.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self::in_mesh(snapshot, mesh_settings(snapshot).unwrap_or_default())
    }

    fn in_mesh(snapshot: &Snapshot, mesh: MeshConfig) -> Self {
        let (key, value) = INGRESS_LABEL;
        let has_ingress = snapshot.with_label(key, value).next().is_some();
        Self { mesh, has_ingress, has_workloads: has_workloads(snapshot) }
    }
}

impl<'a> AnalysisContext<'a> {
    /// A configuration. The settings of the mesh are those that it holds, if any.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot) -> Self {
        Self::made(snapshot, snapshot, Cow::Owned(Surroundings::of(snapshot)))
    }

    /// A configuration in a mesh with these settings.
    #[must_use]
    pub fn with_mesh(snapshot: &'a Snapshot, mesh: &MeshConfig) -> Self {
        Self::made(snapshot, snapshot, Cow::Owned(Surroundings::in_mesh(snapshot, mesh.clone())))
    }

    /// A configuration, or a part of one, in the surroundings of the whole.
    pub(super) fn within(snapshot: &'a Snapshot, whole: &'a Snapshot, surroundings: &'a Surroundings) -> Self {
        Self::made(snapshot, whole, Cow::Borrowed(surroundings))
    }

    fn made(snapshot: &'a Snapshot, whole: &'a Snapshot, surroundings: Cow<'a, Surroundings>) -> Self {
        Self { snapshot, whole, surroundings, hosts: OnceCell::new() }
    }

    /// The settings of the mesh.
    #[must_use]
    pub fn mesh(&self) -> &MeshConfig {
        &self.surroundings.mesh
    }

    /// The workloads of the whole configuration.
    pub(super) fn workloads(&self) -> Workloads<'a> {
        Workloads::new(self.whole, self.surroundings.has_ingress)
    }

    /// Whether there are any in the whole configuration, beside the gateway that is assumed.
    pub(super) fn has_workloads(&self) -> bool {
        self.surroundings.has_workloads
    }

    fn hosts(&self) -> &Hosts {
        self.hosts.get_or_init(|| Hosts::of(self.snapshot))
    }

    /// Whether a host, which may be a wildcard, is that of a service or covers one.
    pub(super) fn is_known_host(&self, host: &str, viewer: &str) -> bool {
        !self.services(host, viewer).is_empty()
            || (host.starts_with('*')
                && (self.hosts().exact.keys().any(|known| host_covers(host, known))
                    || self.hosts().wildcard.iter().any(|(known, _)| host_covers(host, known))))
    }

    /// The whole configuration, for what [`Inputs::looks_up`](super::Inputs::looks_up) names.
    #[must_use]
    pub fn whole(&self) -> &'a Snapshot {
        self.whole
    }

    /// The configuration, or as much of it as is shown.
    #[must_use]
    pub fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// Services with this full host name that are seen from a namespace; those with the exact name if there are any.
    pub(super) fn services(&self, host: &str, viewer: &str) -> Vec<&HostEntry> {
        let visible = |entry: &&HostEntry| is_visible(&entry.export_to, &entry.namespace, viewer);
        let exact: Vec<_> = self.hosts().exact.get(host).into_iter().flatten().filter(visible).collect();
        if !exact.is_empty() {
            return exact;
        }
        let covering = self.hosts().wildcard.iter().filter(|(pattern, _)| host_covers(pattern, host));
        covering.map(|(_, entry)| entry).filter(visible).collect()
    }
}

impl Hosts {
    fn of(snapshot: &Snapshot) -> Self {
        let mut hosts = Self::default();
        for service in snapshot.all::<Service>() {
            let exported = service.object.meta.annotations.get(EXPORT_TO);
            let entry = HostEntry {
                namespace: service.object.namespace().to_owned(),
                export_to: exported
                    .map(|list| list.split(',').map(|one| one.trim().to_owned()).collect())
                    .unwrap_or_default(),
                ports: service.spec.spec.ports.iter().map(|port| u32::from(port.port)).collect(),
            };
            let host = full_host(service.object.name(), service.object.namespace(), DEFAULT_CLUSTER_DOMAIN);
            hosts.exact.entry(host).or_default().push(entry);
        }
        for service in snapshot.all::<ServiceEntry>() {
            for host in &service.spec.hosts {
                let entry = HostEntry {
                    namespace: service.object.namespace().to_owned(),
                    export_to: service.spec.export_to.clone(),
                    ports: service.spec.ports.iter().map(|port| port.number).collect(),
                };
                if host.starts_with('*') {
                    hosts.wildcard.push((host.clone(), entry));
                } else {
                    hosts.exact.entry(host.clone()).or_default().push(entry);
                }
            }
        }
        let ingress = full_host(DEFAULT_INGRESS, SYSTEM_NAMESPACE, DEFAULT_CLUSTER_DOMAIN);
        hosts.exact.entry(ingress).or_insert_with(|| {
            let namespace = SYSTEM_NAMESPACE.to_owned();
            vec![HostEntry { namespace, export_to: Vec::new(), ports: INGRESS_PORTS.into() }]
        });
        hosts
    }
}

/// Calls back with every destination of a VirtualService and its path.
pub(super) fn destinations(spec: &VirtualService, mut visit: impl FnMut(FieldPath<'_>, &Destination)) {
    let root = FieldPath::spec();
    let http = root.field("http");
    for (index, route) in spec.http.iter().enumerate() {
        let path = http.index(index);
        let (routes, mirrors) = (path.field("route"), path.field("mirrors"));
        for (index, target) in route.route.iter().enumerate() {
            if let Some(destination) = &target.destination {
                visit(routes.index(index).field("destination"), destination);
            }
        }
        if let Some(mirror) = &route.mirror {
            visit(path.field("mirror"), mirror);
        }
        for (index, mirror) in route.mirrors.iter().enumerate() {
            if let Some(destination) = &mirror.destination {
                visit(mirrors.index(index).field("destination"), destination);
            }
        }
    }
    let tls = spec.tls.iter().map(|route| &route.route).enumerate().map(|(index, route)| ("tls", index, route));
    let tcp = spec.tcp.iter().map(|route| &route.route).enumerate().map(|(index, route)| ("tcp", index, route));
    for (section, index, routes) in tls.chain(tcp) {
        let section = root.field(section);
        let path = section.index(index);
        let path = path.field("route");
        for (index, target) in routes.iter().enumerate() {
            if let Some(destination) = &target.destination {
                visit(path.index(index).field("destination"), destination);
            }
        }
    }
}

/// The namespace whose policies are for the whole mesh.
pub(super) fn root_namespace<'a>(context: &'a AnalysisContext<'_>) -> &'a str {
    &context.mesh().root_namespace
}

/// The finding that something an object refers to is not there.
pub(super) fn not_found(object: &Object, path: FieldPath<'_>, what: &str, name: &str) -> Diagnostic {
    Diagnostic::on(Code::ReferencedResourceNotFound, object, path, &[&what, &name])
}
