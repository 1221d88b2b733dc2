//! All resources of one node.

use std::collections::BTreeSet;

use mesh_config::model::{SimpleLb, Subset};
use mesh_xds_api::envoy::config::core::v3::Metadata;

use super::{
    NodeKind, Translation,
    authn::Mode,
    cluster::{self, Discovery, OutboundKey},
    config_path,
    destination::{Policy, Rule},
    endpoint::{self, Target},
    listener, names, proto, route, secret,
    upstream_tls::{self, UpstreamTls, UpstreamTlsKey},
    view::{InboundPort, View},
    virtual_host,
};
use crate::{
    Origin,
    discovery::{Endpoint, Labels, Notice, Resolution, ServicePort, ServiceRecord},
};

/// All resources of the node of `view`.
pub(super) fn translate(view: &View<'_>) -> Translation {
    let mut made = Translation::default();
    let mut secrets = BTreeSet::new();
    for record in &view.services {
        let rule = view.rule(&record.service);
        for port in &record.service.ports {
            outbound_port(view, record, port, &rule, &mut made, &mut secrets);
        }
    }
    let timeout = view.context.options.connect_timeout;
    let black_hole = cluster::black_hole(timeout);
    made.push(&black_hole.name, &black_hole, &[]);
    match view.node.kind {
        NodeKind::Sidecar => sidecar(view, &mut made),
        NodeKind::Router => router(view, &mut made, &mut secrets),
    }
    let namespace = &view.node.namespace;
    for name in secrets {
        if let Some((message, object)) = secret::secret(&view.context.snapshot, namespace, &name) {
            made.push(&name, &message, &[object]);
        }
    }
    made.finish()
}

fn sidecar(view: &View<'_>, made: &mut Translation) {
    let timeout = view.context.options.connect_timeout;
    let mut cors_ports = BTreeSet::new();
    for port in listener::outbound::http_ports(view) {
        let table = virtual_host::sidecar(view, port);
        if table.config.virtual_hosts.iter().any(route::uses_cors) {
            cors_ports.insert(port);
        }
        made.push(&table.config.name, &table.config, &table.objects);
    }
    let own = own_metadata(view);
    let ports = view.inbound_ports();
    let outbound = listener::outbound::listeners(view, |port| cors_ports.contains(&port), &mut made.notices);
    for mut listener in outbound {
        if let Some(port) = taken_by_workload(view, &ports, &listener.name) {
            refuse(port, "OUTBOUND_BIND is the node's own address: calls to this port are not taken", made);
            continue;
        }
        listener.metadata.clone_from(&own);
        made.push(&listener.name, &listener, &[]);
    }
    inbound(view, &ports, own.as_ref(), made);
    if view.node.is_redirected() {
        let passthrough = cluster::passthrough(timeout);
        made.push(&passthrough.name, &passthrough, &[]);
        let inbound = cluster::inbound_original(names::INBOUND_PASSTHROUGH_CLUSTER, false, timeout);
        made.push(&inbound.name, &inbound, &[]);
    }
}

/// The port of the workload that has this listener's name, where each port is a listener of its own.
fn taken_by_workload<'p, 'a>(
    view: &View<'_>,
    ports: &'p [InboundPort<'a>],
    listener: &str,
) -> Option<&'p InboundPort<'a>> {
    let own = |port: &&InboundPort<'_>| names::listener(view.node.address(), port.number) == listener;
    ports.iter().find(own).filter(|_| !view.node.is_redirected())
}

fn refuse(port: &InboundPort<'_>, message: &str, made: &mut Translation) {
    if let Some(origin) = &port.service.origin {
        let message = format!("port {}: {message}; give them different addresses", port.number);
        made.notices.push(Notice::new(origin, "spec.ports", message));
    }
}

fn inbound(view: &View<'_>, ports: &[InboundPort<'_>], own: Option<&Metadata>, made: &mut Translation) {
    let timeout = view.context.options.connect_timeout;
    let redirected = view.node.is_redirected();
    let mut carried = Vec::new();
    for port in ports {
        let http2 = port.protocol.is_http2();
        let mut cluster = if redirected {
            cluster::inbound_original(&names::inbound_cluster(port.number), http2, timeout)
        } else if view.node.has_address(&view.node.app_address.to_string()) {
            refuse(port, "APP_ADDRESS is the node's own address: the proxy would call itself", made);
            continue;
        } else {
            cluster::inbound_static(port.number, view.node.app_address, http2, timeout)
        };
        cluster.metadata = cluster::inbound_metadata(port.service);
        let origin = port.service.origin.as_ref().map(|key| Origin::new(key.to_string()));
        made.push_from(&cluster.name, &cluster, origin);
        carried.push(port.clone());
    }
    for mut listener in listener::inbound::listeners(view, &carried) {
        listener.metadata = own.cloned();
        made.push(&listener.name, &listener, &[]);
    }
}

fn router(view: &View<'_>, made: &mut Translation, secrets: &mut BTreeSet<String>) {
    let mut notices = Vec::new();
    let gateways = listener::gateway::gateways(view, &mut notices);
    made.notices.append(&mut notices);
    let own = own_metadata(view);
    for mut listener in gateways.listeners {
        listener.metadata.clone_from(&own);
        made.push(&listener.name, &listener, &[]);
    }
    for table in gateways.tables {
        made.push(&table.config.name, &table.config, &table.objects);
    }
    secrets.extend(gateways.secrets);
}

/// Clusters and endpoints of one port of a service: for all endpoints, and for each subset.
fn outbound_port(
    view: &View<'_>,
    record: &ServiceRecord,
    port: &ServicePort,
    rule: &Rule<'_>,
    made: &mut Translation,
    secrets: &mut BTreeSet<String>,
) {
    let service = &record.service;
    let endpoints: Vec<&Endpoint> = record.endpoints_of(&port.name).map(|endpoint| &**endpoint).collect();
    let identities = identities(view, record);
    let subsets = std::iter::once(None).chain(rule.subsets.iter().copied().map(Some));
    for subset in subsets {
        let subset_name = subset.map(|subset| subset.name.as_str()).unwrap_or_default();
        let policy = rule.policy(port.number, subset);
        let name = names::outbound_cluster(port.number, subset_name, service.hostname());
        let targets = targets(view, &endpoints, subset);
        let Some(discovery) = discovery(view, record, &policy, &name, &targets, made) else { continue };
        let tls = upstream_tls::choose(&UpstreamTlsKey {
            service,
            port,
            subset: subset_name,
            policy,
            identities: &identities,
            auto: view.context.options.auto_mtls,
            system_roots: &view.context.options.system_roots,
        });
        credentials(view, &tls, rule, made, secrets);
        let cluster = cluster::outbound(&OutboundKey {
            name: name.clone(),
            service,
            port,
            subset: subset_name,
            policy,
            discovery: discovery.clone(),
            tls: &tls,
            config: rule.object.map(config_path),
            connect_timeout: view.context.options.connect_timeout,
            dns_refresh_rate: view.context.options.dns_refresh_rate,
        });
        let from_service = || service.origin.as_ref().map(|key| Origin::new(key.to_string()));
        let origin = rule.object.map(|object| Origin::new(object.key().to_string())).or_else(from_service);
        made.push_from(&name, &cluster, origin);
        if discovery == Discovery::Eds {
            made.push_from(&name, &endpoint::assignment(&name, &targets), from_service());
        }
    }
}

/// SPIFFE ids that callers accept of a service: of its endpoints' service accounts, and those it names itself.
fn identities(view: &View<'_>, record: &ServiceRecord) -> Vec<String> {
    let domain = &view.context.options.trust_domain;
    let accounts = record.endpoints.iter().filter(|endpoint| !endpoint.service_account.is_empty());
    let ids = accounts.map(|e| names::spiffe_id(domain, &e.namespace, &e.service_account));
    let all: BTreeSet<String> = ids.chain(record.service.subject_alt_names.iter().cloned()).collect();
    all.into_iter().collect()
}

fn targets<'a>(view: &View<'_>, endpoints: &[&'a Endpoint], subset: Option<&Subset>) -> Vec<Target<'a>> {
    let wanted: Labels =
        subset.into_iter().flat_map(|subset| &subset.labels).map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let selected = endpoints.iter().filter(|endpoint| endpoint.labels.matches(&wanted));
    let target = |endpoint: &&'a Endpoint| {
        let modes = view.context.peer_modes.workload(&endpoint.namespace, &endpoint.labels);
        Target::new(endpoint, modes.port(endpoint.port) != Mode::Disable)
    };
    selected.map(target).collect()
}

/// How the endpoints of a cluster are found; `None` if the node cannot reach any.
fn discovery(
    view: &View<'_>,
    record: &ServiceRecord,
    policy: &Policy<'_>,
    name: &str,
    targets: &[Target<'_>],
    made: &mut Translation,
) -> Option<Discovery> {
    let service = &record.service;
    let asked = policy.load_balancer.and_then(|settings| settings.simple) == Some(SimpleLb::Passthrough);
    let mut notice = |message: &str| {
        if let Some(origin) = &service.origin {
            made.notices.push(Notice::new(origin, "spec", message));
        }
    };
    match service.resolution {
        Resolution::Dns if !asked => Some(Discovery::StrictDns(endpoint::assignment(name, targets))),
        Resolution::DnsRoundRobin if !asked => match targets {
            [_] => Some(Discovery::LogicalDns(endpoint::assignment(name, targets))),
            _ => {
                notice("DNS_ROUND_ROBIN needs exactly one endpoint: all addresses are used instead");
                Some(Discovery::StrictDns(endpoint::assignment(name, targets)))
            }
        },
        _ if (asked || service.resolution == Resolution::Passthrough) && view.node.is_redirected() => {
            Some(Discovery::OriginalDst)
        }
        Resolution::Passthrough if targets.is_empty() => {
            notice("the address a caller wants is not known without interception: the service cannot be called");
            None
        }
        _ => {
            if targets.iter().any(|target| target.endpoint.address.parse::<std::net::IpAddr>().is_err()) {
                notice("an endpoint is a host name but the resolution is not DNS: the service cannot be called");
                return None;
            }
            Some(Discovery::Eds)
        }
    }
}

/// Secrets that a cluster needs: only routers are given any.
fn credentials(
    view: &View<'_>,
    tls: &UpstreamTls,
    rule: &Rule<'_>,
    made: &mut Translation,
    secrets: &mut BTreeSet<String>,
) {
    for name in tls.stream_secrets() {
        let missing = secret::secret(&view.context.snapshot, &view.node.namespace, name).is_none();
        if view.node.kind == NodeKind::Router && !missing {
            secrets.insert(name.to_owned());
        } else if let Some(object) = rule.object {
            let message = "credentialName works at gateways whose namespace holds the Secret: calls fail until then";
            made.notices.push(Notice::new(object.key(), "spec.trafficPolicy.tls.credentialName", message));
        }
    }
}

/// Who the node is, for metrics of its own proxy.
fn own_metadata(view: &View<'_>) -> Option<Metadata> {
    let (node, labels) = (view.node, &view.labels);
    let facts = [
        ("workload", if node.workload.is_empty() { node.name.as_str() } else { node.workload.as_str() }),
        ("namespace", node.namespace.as_str()),
        ("service_account", node.service_account.as_str()),
        ("app", labels.app().unwrap_or_default()),
        ("version", labels.version().unwrap_or_default()),
        ("canonical_service", labels.canonical_name().unwrap_or_default()),
        ("canonical_revision", labels.canonical_revision().unwrap_or_default()),
        ("cluster", node.cluster.as_str()),
    ];
    let facts = facts.into_iter().filter(|(_, fact)| !fact.is_empty());
    proto::metadata([("istio", proto::object(facts.map(|(key, fact)| (key, proto::text(fact)))))])
}
