//! The mesh as one node sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mesh_config::{
    Snapshot,
    model::{self, Destination, HttpCookie, LoadBalancerSettings, Object, VirtualService},
    precedence::oldest_first,
};
use mesh_xds_api::envoy::config::route::v3::route_action::{
    HashPolicy,
    hash_policy::{ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier, QueryParameter},
};

use super::{
    MeshContext, NodeKind, ProxyNode,
    destination::Rule,
    names, proto,
    route::{self, Destinations, Destined},
};
use crate::discovery::{ExportTo, Labels, Protocol, Service, ServicePort, ServiceRecord, TargetPort};

/// A VirtualService with its hosts resolved.
#[derive(Debug)]
pub(super) struct VirtualServiceEntry {
    pub(super) object: Arc<Object>,
    /// Fully qualified.
    pub(super) hosts: Vec<String>,
    export_to: ExportTo,
}

/// All VirtualServices, oldest first.
pub(super) fn virtual_services(snapshot: &Snapshot, cluster_domain: &str) -> Vec<VirtualServiceEntry> {
    let mut all: Vec<_> = snapshot.all::<VirtualService>().collect();
    all.sort_by(|one, other| oldest_first(one.object, other.object));
    let entry = |typed: mesh_config::Typed<'_, VirtualService>| {
        let namespace = typed.object.namespace();
        let hosts = typed.spec.hosts.iter().map(|host| names::resolve_host(host, namespace, cluster_domain));
        VirtualServiceEntry {
            object: Arc::clone(typed.object),
            hosts: hosts.collect(),
            export_to: ExportTo::parse(&typed.spec.export_to, namespace),
        }
    };
    all.into_iter().map(entry).collect()
}

impl VirtualServiceEntry {
    pub(super) fn spec(&self) -> Option<&VirtualService> {
        self.object.spec_as()
    }
}

/// One port of the workload that callers may reach.
#[derive(Debug, Clone)]
pub(super) struct InboundPort<'a> {
    /// Number on the workload.
    pub(super) number: u16,
    pub(super) protocol: Protocol,
    pub(super) service: &'a Service,
}

/// The mesh as one node sees it.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) context: &'a MeshContext,
    pub(super) node: &'a ProxyNode,
    /// Labels of the node's workload.
    pub(super) labels: Labels,
    /// Services the node may call, one per host name, ordered by key.
    pub(super) services: Vec<&'a ServiceRecord>,
    by_host: BTreeMap<&'a str, &'a ServiceRecord>,
    /// `mesh` for a sidecar, its gateways for a router.
    pub(super) roles: BTreeSet<String>,
    /// VirtualServices that concern the node: those of its own namespace first, then oldest first.
    pub(super) virtual_services: Vec<&'a VirtualServiceEntry>,
}

impl<'a> View<'a> {
    pub(super) fn new(context: &'a MeshContext, node: &'a ProxyNode) -> Self {
        let namespace = node.namespace.as_str();
        let known = || node.addresses.iter().find_map(|ip| context.registry.workload_at(&ip.to_string()));
        let labels = node.labels.clone().or_else(|| known().map(|w| w.labels.clone())).unwrap_or_default();
        let chosen = |record: &&ServiceRecord| {
            let found = context.registry.service_by_host(record.service.hostname(), namespace);
            found.is_some_and(|found| found.service.key == record.service.key)
        };
        let services: Vec<&ServiceRecord> = context.registry.services().filter(chosen).collect();
        let roles = match node.kind {
            NodeKind::Sidecar => BTreeSet::from(["mesh".to_owned()]),
            NodeKind::Router => gateways(context, &labels).map(|gateway| role(gateway)).collect(),
        };
        let visible = context.virtual_services.iter().filter(|entry| {
            entry.export_to.is_visible_in(namespace)
                && entry.spec().is_some_and(|spec| {
                    // Conditions of single rules may name other gateways than the object.
                    route::concerns(&spec.gateways, entry.object.namespace(), &roles)
                })
        });
        let mut virtual_services: Vec<&VirtualServiceEntry> = visible.collect();
        virtual_services.sort_by_key(|entry| entry.object.namespace() != namespace);
        Self {
            by_host: services.iter().map(|record| (record.service.hostname(), *record)).collect(),
            context,
            node,
            labels,
            services,
            roles,
            virtual_services,
        }
    }

    /// The DestinationRule that holds for `service`.
    pub(super) fn rule(&self, service: &Service) -> Rule<'a> {
        self.context.destinations.rule(service, &self.node.namespace, &self.labels)
    }

    /// The visible service with this host name.
    pub(super) fn service(&self, host: &str) -> Option<&'a ServiceRecord> {
        self.by_host.get(host).copied()
    }

    /// The VirtualService for a host: the most specific one, of equals the first.
    pub(super) fn virtual_service(&self, host: &str) -> Option<&'a VirtualServiceEntry> {
        let covering = self.virtual_services.iter().filter_map(|entry| {
            let best = entry.hosts.iter().filter(|pattern| names::host_covers(pattern, host));
            best.map(|pattern| names::specificity(pattern)).min().map(|rank| (rank, *entry))
        });
        covering.min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry)
    }

    /// Gateways of which the node serves the servers, oldest first.
    pub(super) fn gateways(&self) -> impl Iterator<Item = &'a Arc<Object>> {
        gateways(self.context, &self.labels)
    }

    /// Ports of the workload beside a sidecar, by number. Of two services on one number the older decides.
    pub(super) fn inbound_ports(&self) -> Vec<InboundPort<'a>> {
        let namespace = self.node.namespace.as_str();
        let mut records: Vec<&ServiceRecord> =
            self.context.registry.services().filter(|record| record.service.namespace() == namespace).collect();
        records.sort_by(|one, other| super::service_age(&one.service).cmp(&super::service_age(&other.service)));
        let mut found = BTreeMap::new();
        for record in records {
            let selected = record.service.selector.as_ref().is_some_and(|selector| self.labels.matches(selector));
            for port in &record.service.ports {
                let Some(number) = self.own_port(record, port, selected) else { continue };
                let inbound = InboundPort { number, protocol: port.protocol, service: &record.service };
                found.entry(number).or_insert(inbound);
            }
        }
        found.into_values().collect()
    }

    fn own_port(&self, record: &ServiceRecord, port: &ServicePort, selected: bool) -> Option<u16> {
        let own = record.endpoints_of(&port.name).find(|endpoint| self.node.has_address(&endpoint.address));
        if let Some(endpoint) = own {
            return Some(endpoint.port);
        }
        match (&port.target, selected) {
            (_, false) => None,
            (TargetPort::Same, true) => Some(port.number),
            (TargetPort::Number(number), true) => Some(*number),
            (TargetPort::Name(name), true) => {
                let addresses = self.node.addresses.iter().map(ToString::to_string);
                let mut workloads = addresses.filter_map(|ip| self.context.registry.workload_at(&ip));
                workloads.find_map(|workload| workload.ports.get(name).copied())
            }
        }
    }

    /// Destinations as written for callers of `port`.
    pub(super) fn at_port(&self, port: u16) -> AtPort<'_> {
        AtPort { view: self, port }
    }

    /// Clusters and weights that connections to a port of a service go to, by VirtualService or directly.
    pub(super) fn connection_clusters(&self, service: &Service, port: &ServicePort) -> Vec<(String, u32)> {
        let direct = || vec![(names::outbound_cluster(port.number, "", service.hostname()), 1)];
        let Some(entry) = self.virtual_service(service.hostname()) else { return direct() };
        let Some(spec) = entry.spec() else { return direct() };
        let applies = |of: Option<u32>, gateways: &[String]| {
            of.is_none_or(|of| of == u32::from(port.number))
                && (gateways.is_empty() || route::concerns(gateways, entry.object.namespace(), &self.roles))
        };
        let route = if port.protocol.is_tls() {
            let matches = |m: &model::TlsMatchAttributes| {
                applies(m.port, &m.gateways)
                    && m.sni_hosts.iter().any(|host| names::host_covers(host, service.hostname()))
            };
            spec.tls.iter().find(|rule| rule.matches.iter().any(matches)).map(|rule| &rule.route)
        } else {
            let matches = |m: &model::L4MatchAttributes| applies(m.port, &m.gateways);
            let rule = spec.tcp.iter().find(|rule| rule.matches.is_empty() || rule.matches.iter().any(matches));
            rule.map(|rule| &rule.route)
        };
        let Some(route) = route else { return direct() };
        let at = self.at_port(port.number);
        let only = route.len() == 1;
        let clusters: Vec<(String, u32)> = route
            .iter()
            .filter_map(|to| {
                let weight = u32::try_from(to.weight.unwrap_or(0)).unwrap_or(0);
                let destined = at.destined(to.destination.as_ref()?, entry.object.namespace());
                Some((destined.cluster, if only { 1 } else { weight }))
            })
            .filter(|(_, weight)| *weight > 0)
            .collect();
        if clusters.is_empty() { vec![(names::BLACK_HOLE_CLUSTER.to_owned(), 1)] } else { clusters }
    }
}

fn gateways<'a>(context: &'a MeshContext, labels: &Labels) -> impl Iterator<Item = &'a Arc<Object>> {
    let labels = labels.clone();
    context.gateways.iter().filter(move |gateway| {
        gateway
            .spec_as::<model::Gateway>()
            .is_some_and(|spec| labels.matches(&spec.selector.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()))
    })
}

/// A gateway as VirtualServices name it.
pub(super) fn role(gateway: &Object) -> String {
    format!("{}/{}", gateway.namespace(), gateway.name())
}

/// Resolves destinations for callers of one port.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtPort<'a> {
    view: &'a View<'a>,
    port: u16,
}

impl Destinations for AtPort<'_> {
    /// A destination without a port means the service's only one, else the port that was called.
    fn destined(&self, destination: &Destination, namespace: &str) -> Destined {
        let host = names::resolve_host(&destination.host, namespace, &self.view.context.options.cluster_domain);
        let record = self.view.service(&host);
        let named = destination.port.and_then(|port| u16::try_from(port.number).ok());
        let only = record.and_then(|record| match record.service.ports.as_slice() {
            [port] => Some(port.number),
            _ => None,
        });
        let port = named.or(only).unwrap_or(self.port);
        let subset = destination.subset.as_deref().unwrap_or_default();
        let hash_policy = record.map(|record| self.hash_policy(&record.service, port, subset)).unwrap_or_default();
        Destined { cluster: names::outbound_cluster(port, subset, &host), hash_policy }
    }
}

impl AtPort<'_> {
    /// How requests to a service are kept with one endpoint.
    pub(super) fn hash_policy(&self, service: &Service, port: u16, subset: &str) -> Vec<HashPolicy> {
        let rule = self.view.rule(service);
        let policy = rule.policy(port, rule.subset(subset));
        policy.load_balancer.and_then(hash_policy).into_iter().collect()
    }
}

fn hash_policy(settings: &LoadBalancerSettings) -> Option<HashPolicy> {
    let hash = settings.consistent_hash.as_ref()?;
    let specifier = if let Some(name) = &hash.http_header_name {
        PolicySpecifier::Header(Header { header_name: name.clone(), ..Default::default() })
    } else if let Some(cookie) = &hash.http_cookie {
        PolicySpecifier::Cookie(hash_cookie(cookie))
    } else if let Some(name) = &hash.http_query_parameter_name {
        PolicySpecifier::QueryParameter(QueryParameter { name: name.clone() })
    } else if hash.use_source_ip.unwrap_or(false) {
        PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
    } else {
        return None;
    };
    Some(HashPolicy { policy_specifier: Some(specifier), ..Default::default() })
}

fn hash_cookie(cookie: &HttpCookie) -> Cookie {
    let attribute = |a: &model::CookieAttribute| CookieAttribute {
        name: a.name.clone(),
        value: a.value.clone().unwrap_or_default(),
    };
    Cookie {
        name: cookie.name.clone(),
        ttl: cookie.ttl.map(|ttl| proto::duration(ttl.as_std())),
        path: cookie.path.clone().unwrap_or_default(),
        attributes: cookie.attributes.iter().map(attribute).collect(),
    }
}
