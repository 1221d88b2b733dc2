//! Virtual hosts: which host name leads to which routes.

use std::collections::{BTreeMap, BTreeSet};

use mesh_config::model::{Gateway, Object, Server, VirtualService};
use mesh_xds_api::envoy::config::route::v3::{RouteConfiguration, VirtualHost, virtual_host::TlsRequirementType};

use super::{
    OutboundPolicy, names,
    route::{self, RouteKey},
    view::{View, VirtualServiceEntry, role},
};
use crate::discovery::{Resolution, Service, ServiceRecord};

/// Route configuration and the objects it was made from.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) config: RouteConfiguration,
    pub(super) objects: Vec<&'a Object>,
}

/// Routes of a sidecar's HTTP port.
pub(super) fn sidecar<'a>(view: &View<'a>, port: u16) -> Table<'a> {
    let mut objects = Vec::new();
    let mut hosts = Hosts::default();
    let serving = |record: &&&ServiceRecord| record.service.port(port).is_some_and(|p| p.protocol.is_http());
    let records: Vec<&ServiceRecord> = view.services.iter().filter(serving).copied().collect();
    // Full names first: a short name of one service must not take the full name of another.
    hosts.reserve(records.iter().map(|record| record.service.hostname()));
    for record in &records {
        let service = &record.service;
        let entry = view.virtual_service(service.hostname());
        let routes = entry.map(|entry| own_routes(view, entry, &view.roles, port)).unwrap_or_default();
        let routes = if routes.is_empty() {
            let cluster = names::outbound_cluster(port, "", service.hostname());
            let hash_policy = view.at_port(port).hash_policy(service, port, "");
            vec![route::default_route(route::Destined { cluster, hash_policy })]
        } else {
            objects.extend(entry.map(|entry| &*entry.object));
            routes
        };
        hosts.add(service.hostname(), port, domains(view, service), routes);
    }
    if port == 80 {
        // Hosts that no service has can only be meant for plain web traffic, as in Istio.
        for entry in &view.virtual_services {
            for host in entry.hosts.iter().filter(|host| view.service(host).is_none()) {
                let covered = view.services.iter().any(|r| names::host_covers(host, r.service.hostname()));
                let routes = own_routes(view, entry, &view.roles, port);
                if !covered && !routes.is_empty() {
                    hosts.add(host, port, vec![host.clone()], routes);
                    objects.push(&*entry.object);
                }
            }
        }
    }
    let mut virtual_hosts = hosts.virtual_hosts;
    if !hosts.taken.contains("*") {
        virtual_hosts.push(unknown_hosts(view));
    }
    Table { config: configuration(port.to_string(), virtual_hosts), objects: unique(objects) }
}

/// Routes of a gateway's port: the servers are those of one route configuration.
pub(super) fn gateway<'a>(view: &View<'a>, name: String, port: u16, servers: &[(&'a Object, &'a Server)]) -> Table<'a> {
    let mut objects = Vec::new();
    let mut routes_of: BTreeMap<(bool, std::cmp::Reverse<usize>, String), Vec<_>> = BTreeMap::new();
    for entry in &view.virtual_services {
        let Some(spec) = entry.spec() else { continue };
        let mut matched: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for &(gateway, server) in servers {
            let role = role(gateway);
            let only = BTreeSet::from([role.clone()]);
            if !route::concerns(&spec.gateways, entry.object.namespace(), &only) {
                continue;
            }
            for host in served_hosts(gateway, server, entry) {
                matched.entry(host).or_default().insert(role.clone());
            }
        }
        for (host, roles) in matched {
            let (wild, length) = names::specificity(&host);
            let routes = own_routes(view, entry, &roles, port);
            routes_of.entry((wild, length, host)).or_default().extend(routes);
            objects.push(&*entry.object);
        }
    }
    let mut hosts = Hosts::default();
    for ((_, _, host), routes) in routes_of {
        hosts.add(&host, port, vec![host.clone()], routes);
    }
    let mut virtual_hosts = hosts.virtual_hosts;
    let redirects = servers.iter().any(|(_, server)| server.tls.as_ref().is_some_and(|tls| tls.https_redirect));
    if redirects {
        for host in &mut virtual_hosts {
            host.require_tls = TlsRequirementType::All.into();
        }
    }
    if virtual_hosts.is_empty() {
        // Nothing is bound to the port: every request is answered with 404.
        virtual_hosts.push(VirtualHost {
            name: format!("blackhole:{port}"),
            domains: vec!["*".to_owned()],
            require_tls: if redirects { TlsRequirementType::All } else { TlsRequirementType::None }.into(),
            ..Default::default()
        });
    }
    Table { config: configuration(name, virtual_hosts), objects: unique(objects) }
}

/// Gateways of a node that have no servers on a port still answer there; this lists what a server serves of an object.
fn served_hosts(gateway: &Object, server: &Server, entry: &VirtualServiceEntry) -> Vec<String> {
    let mut hosts = Vec::new();
    for pattern in &server.hosts {
        let (namespace, pattern) = pattern.split_once('/').unwrap_or(("*", pattern));
        let namespace = if namespace == "." { gateway.namespace() } else { namespace };
        if namespace != "*" && namespace != entry.object.namespace() {
            continue;
        }
        let pattern = pattern.to_ascii_lowercase();
        for host in &entry.hosts {
            // The narrower of the two is what is served.
            if names::host_covers(&pattern, host) {
                hosts.push(host.clone());
            } else if names::host_covers(host, &pattern) {
                hosts.push(pattern.clone());
            }
        }
    }
    hosts
}

fn own_routes(
    view: &View<'_>,
    entry: &VirtualServiceEntry,
    roles: &BTreeSet<String>,
    port: u16,
) -> Vec<mesh_xds_api::envoy::config::route::v3::Route> {
    let Some(spec) = entry.object.spec_as::<VirtualService>() else { return Vec::new() };
    route::routes(&RouteKey {
        object: &entry.object,
        spec,
        gateways: roles,
        port,
        namespace: &view.node.namespace,
        labels: &view.labels,
        destinations: &view.at_port(port),
    })
}

fn configuration(name: String, virtual_hosts: Vec<VirtualHost>) -> RouteConfiguration {
    RouteConfiguration {
        name,
        virtual_hosts,
        // Routes may name clusters that come later, or never: that fails requests, not the configuration.
        validate_clusters: Some(false),
        // Callers may come by a port that was mapped on the way.
        ignore_port_in_host_matching: true,
        ..Default::default()
    }
}

/// Requests for hosts nobody declared.
fn unknown_hosts(view: &View<'_>) -> VirtualHost {
    let domains = vec!["*".to_owned()];
    let allowed = view.context.options.outbound_policy == OutboundPolicy::AllowAny && view.node.is_redirected();
    if allowed {
        let routes = vec![route::forward_once("allow_any", names::PASSTHROUGH_CLUSTER)];
        VirtualHost { name: "allow_any".to_owned(), domains, routes, ..Default::default() }
    } else {
        let routes = vec![route::answer_all("block_all", 502)];
        VirtualHost { name: "block_all".to_owned(), domains, routes, ..Default::default() }
    }
}

/// Names by which the node's workload may call a service. Source: Istio's alternative virtual hosts.
fn domains(view: &View<'_>, service: &Service) -> Vec<String> {
    let full = service.hostname();
    let mut domains = vec![full.to_owned()];
    let suffix = format!(".{}.svc.{}", service.namespace(), view.context.options.cluster_domain);
    if let Some(name) = full.strip_suffix(&suffix).filter(|name| !name.starts_with('*')) {
        let namespace = service.namespace();
        if namespace == view.node.namespace {
            domains.push(name.to_owned());
        }
        domains.push(format!("{name}.{namespace}"));
        domains.push(format!("{name}.{namespace}.svc"));
        if service.resolution == Resolution::Passthrough {
            domains.push(format!("*.{full}"));
        }
    }
    domains.extend(service.vips().map(|ip| match ip {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    }));
    domains
}

/// Virtual hosts of one configuration: no domain and no name occurs twice.
#[derive(Debug, Default)]
struct Hosts {
    virtual_hosts: Vec<VirtualHost>,
    taken: BTreeSet<String>,
    full_names: BTreeSet<String>,
}

impl Hosts {
    fn reserve<'a>(&mut self, full_names: impl Iterator<Item = &'a str>) {
        self.full_names = full_names.map(str::to_owned).collect();
    }

    fn add(
        &mut self,
        host: &str,
        port: u16,
        names: Vec<String>,
        routes: Vec<mesh_xds_api::envoy::config::route::v3::Route>,
    ) {
        let mut domains = Vec::new();
        for name in names {
            if name != host && self.full_names.contains(&name) {
                continue;
            }
            let with_port = (name != "*").then(|| format!("{name}:{port}"));
            for domain in std::iter::once(name).chain(with_port) {
                if self.taken.insert(domain.clone()) {
                    domains.push(domain);
                }
            }
        }
        if domains.is_empty() {
            return;
        }
        self.virtual_hosts.push(VirtualHost {
            name: format!("{host}:{port}"),
            domains,
            routes,
            include_request_attempt_count: true,
            ..Default::default()
        });
    }
}

fn unique(mut objects: Vec<&Object>) -> Vec<&Object> {
    objects.sort_by(|a, b| a.key().cmp(b.key()));
    objects.dedup_by(|a, b| a.key() == b.key());
    objects
}

/// All servers of the node's gateways, in the order of the gateways' age.
pub(super) fn servers<'a>(view: &View<'a>) -> Vec<(&'a Object, &'a Server)> {
    let gateways = view.gateways().filter_map(|object| Some((&**object, object.spec_as::<Gateway>()?)));
    gateways.flat_map(|(object, spec)| spec.servers.iter().map(move |server| (object, server))).collect()
}
