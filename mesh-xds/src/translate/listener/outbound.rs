//! Listeners for the workload's own calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use mesh_xds_api::envoy::config::{
    core::v3::TrafficDirection,
    listener::v3::{FilterChain, FilterChainMatch, Listener},
};

use super::{chain, listener, tcp_proxy, tls_inspector, to_cluster};
use crate::{
    discovery::{Notice, Service, ServicePort},
    translate::{
        OutboundPolicy,
        http::{self, HttpKey, Routes, Side},
        names, service_age,
        view::View,
    },
};

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// HTTP ports that the node may call.
pub(crate) fn http_ports(view: &View<'_>) -> BTreeSet<u16> {
    let ports = view.services.iter().flat_map(|record| &record.service.ports);
    ports.filter(|port| port.protocol.is_http()).map(|port| port.number).collect()
}

/// All outbound listeners. `cors` tells whether the routes of an HTTP port have cross-origin rules.
pub(crate) fn listeners(view: &View<'_>, cors: impl Fn(u16) -> bool, notices: &mut Vec<Notice>) -> Vec<Listener> {
    let redirected = view.node.is_redirected();
    let bind = if redirected { ANY } else { view.node.outbound_bind };
    let http_ports = http_ports(view);
    let mut listeners: Vec<Listener> =
        http_ports.iter().map(|&port| http_listener(view, bind, port, cors(port))).collect();
    listeners.extend(tcp_listeners(view, bind, &http_ports, notices));
    if redirected {
        for listener in &mut listeners {
            listener.bind_to_port = Some(false);
        }
        listeners.push(virtual_outbound(view));
    }
    listeners
}

fn http_listener(view: &View<'_>, bind: IpAddr, port: u16, cors: bool) -> Listener {
    let name = names::listener(bind, port);
    let manager = http::manager(HttpKey {
        stat_prefix: format!("outbound_{name}"),
        routes: Routes::Named(port.to_string()),
        side: Side::Outbound,
        authorization: Vec::new(),
        cors,
        options: &view.context.options,
    });
    Listener {
        filter_chains: vec![chain("", FilterChainMatch::default(), vec![manager], None)],
        ..listener(bind, port, TrafficDirection::Outbound)
    }
}

/// A listener for connections, as it is collected.
#[derive(Debug)]
struct Draft {
    bind: IpAddr,
    port: u16,
    chains: Vec<FilterChain>,
    by_sni: bool,
}

fn tcp_listeners(
    view: &View<'_>,
    bind: IpAddr,
    http_ports: &BTreeSet<u16>,
    notices: &mut Vec<Notice>,
) -> Vec<Listener> {
    let mut ports: Vec<(&Service, &ServicePort)> = Vec::new();
    for record in &view.services {
        let others = record.service.ports.iter().filter(|port| !port.protocol.is_http());
        ports.extend(others.map(|port| (&*record.service, port)));
    }
    ports.sort_by(|(one, port), (other, second)| {
        (service_age(one), port.number).cmp(&(service_age(other), second.number))
    });
    let mut drafts: BTreeMap<(IpAddr, u16), Draft> = BTreeMap::new();
    for (service, port) in ports {
        for address in binds(view, service, bind) {
            if address == bind && http_ports.contains(&port.number) {
                conflict(service, port, "an HTTP service", notices);
                continue;
            }
            let by_sni = port.protocol.is_tls() && address == bind;
            let draft = drafts.entry((address, port.number)).or_insert(Draft {
                bind: address,
                port: port.number,
                chains: Vec::new(),
                by_sni,
            });
            let may_join = draft.chains.is_empty() || (draft.by_sni && by_sni);
            if !may_join {
                conflict(service, port, "another service", notices);
                continue;
            }
            draft.chains.push(connection_chain(view, service, port, by_sni));
        }
    }
    drafts.into_values().map(|draft| finish(view, draft)).collect()
}

/// Where a service's connections arrive: at its virtual addresses if they are redirected, else where all arrive.
fn binds(view: &View<'_>, service: &Service, bind: IpAddr) -> Vec<IpAddr> {
    let vips: Vec<IpAddr> = if view.node.is_redirected() { service.vips().collect() } else { Vec::new() };
    if vips.is_empty() { vec![bind] } else { vips }
}

fn conflict(service: &Service, port: &ServicePort, with: &str, notices: &mut Vec<Notice>) {
    let Some(origin) = &service.origin else { return };
    let index = service.ports.iter().position(|p| p == port).unwrap_or_default();
    let message = format!(
        "port {} is taken by {with} and {} has no address of its own: calls to it are not carried; use another port, or \
         give it an address",
        port.number,
        service.hostname()
    );
    notices.push(Notice::new(origin, format!("spec.ports[{index}]"), message));
}

fn connection_chain(view: &View<'_>, service: &Service, port: &ServicePort, by_sni: bool) -> FilterChain {
    let clusters = view.connection_clusters(service, port);
    let stat_prefix = match clusters.as_slice() {
        [(only, _)] => only.clone(),
        _ => service.hostname().to_owned(),
    };
    let server_names =
        if by_sni && service.hostname() != "*" { vec![service.hostname().to_owned()] } else { Vec::new() };
    let matches = FilterChainMatch { server_names, ..Default::default() };
    chain(service.hostname(), matches, vec![tcp_proxy(&stat_prefix, &clusters, &view.context.options)], None)
}

fn finish(view: &View<'_>, draft: Draft) -> Listener {
    let mut listener = listener(draft.bind, draft.port, TrafficDirection::Outbound);
    listener.filter_chains = draft.chains;
    if draft.by_sni {
        listener.listener_filters = vec![tls_inspector()];
        if view.node.is_redirected() {
            listener.default_filter_chain = Some(unknown(view));
        }
    }
    listener
}

/// Connections to where nobody declared a service.
fn unknown(view: &View<'_>) -> FilterChain {
    let cluster = match view.context.options.outbound_policy {
        OutboundPolicy::AllowAny => names::PASSTHROUGH_CLUSTER,
        OutboundPolicy::RegistryOnly => names::BLACK_HOLE_CLUSTER,
    };
    let filters = vec![to_cluster(cluster, &view.context.options)];
    chain("virtualOutbound-catchall-tcp", FilterChainMatch::default(), filters, None)
}

/// The listener that all redirected calls reach first.
fn virtual_outbound(view: &View<'_>) -> Listener {
    let port = names::VIRTUAL_OUTBOUND_PORT;
    // A call to the listener itself would go round for ever.
    let own = FilterChainMatch { destination_port: Some(u32::from(port)), ..Default::default() };
    let black_hole = vec![to_cluster(names::BLACK_HOLE_CLUSTER, &view.context.options)];
    Listener {
        name: names::VIRTUAL_OUTBOUND.to_owned(),
        use_original_dst: Some(true),
        filter_chains: vec![chain("virtualOutbound-trap-loop", own, black_hole, None), unknown(view)],
        ..listener(ANY, port, TrafficDirection::Outbound)
    }
}
