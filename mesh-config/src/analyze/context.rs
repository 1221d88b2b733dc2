//! What analyzers look things up in.

use std::collections::{BTreeSet, HashMap};

use crate::{
    diagnostic::{Code, Diagnostic},
    hosts::{DEFAULT_CLUSTER_DOMAIN, full_host, host_covers, is_visible},
    model::{Destination, Object, Service, ServiceEntry, VirtualService},
    path::FieldPath,
    snapshot::Snapshot,
};

/// The configuration with the indexes that several analyzers need.
#[derive(Debug)]
pub struct AnalysisContext<'a> {
    snapshot: &'a Snapshot,
    /// Services by their full host name, those with exact names.
    exact: HashMap<String, Vec<HostEntry>>,
    /// Services whose host is a wildcard.
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

impl<'a> AnalysisContext<'a> {
    /// Indexes a configuration.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot) -> Self {
        let mut context = Self { snapshot, exact: HashMap::new(), wildcard: Vec::new() };
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
            context.exact.entry(host).or_default().push(entry);
        }
        for service in snapshot.all::<ServiceEntry>() {
            for host in &service.spec.hosts {
                let entry = HostEntry {
                    namespace: service.object.namespace().to_owned(),
                    export_to: service.spec.export_to.clone(),
                    ports: service.spec.ports.iter().map(|port| port.number).collect(),
                };
                if host.starts_with('*') {
                    context.wildcard.push((host.clone(), entry));
                } else {
                    context.exact.entry(host.clone()).or_default().push(entry);
                }
            }
        }
        context
    }

    /// The configuration.
    #[must_use]
    pub fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// Services with this full host name that are seen from a namespace; those with the exact name if there are any.
    pub(super) fn services(&self, host: &str, viewer: &str) -> Vec<&HostEntry> {
        let visible = |entry: &&HostEntry| is_visible(&entry.export_to, &entry.namespace, viewer);
        let exact: Vec<_> = self.exact.get(host).into_iter().flatten().filter(visible).collect();
        if !exact.is_empty() {
            return exact;
        }
        let covering = self.wildcard.iter().filter(|(pattern, _)| host_covers(pattern, host));
        covering.map(|(_, entry)| entry).filter(visible).collect()
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

/// The finding that something an object refers to is not there.
pub(super) fn not_found(object: &Object, path: FieldPath<'_>, what: &str, name: &str) -> Diagnostic {
    Diagnostic::on(Code::ReferencedResourceNotFound, object, path, &[&what, &name])
}
