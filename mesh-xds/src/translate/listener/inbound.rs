//! Listeners for calls to the workload.

use std::net::{IpAddr, Ipv4Addr};

use mesh_xds_api::envoy::config::{
    core::v3::TrafficDirection,
    listener::v3::{Filter, FilterChain, FilterChainMatch, Listener},
    route::v3::{RouteConfiguration, VirtualHost},
};

use super::{chain, listener, original_dst, tcp_proxy, tls_inspector, to_cluster};
use crate::{
    discovery::Protocol,
    translate::{
        MeshOptions,
        authn::{Mode, WorkloadModes},
        http::{self, HttpKey, Routes, Side},
        names,
        rbac::WorkloadPolicies,
        route, tls,
        view::{InboundPort, View},
    },
};

/// All that the chains of one inbound port depend on.
struct PortKey<'a> {
    number: u16,
    protocol: Protocol,
    mode: Mode,
    policies: &'a WorkloadPolicies<'a>,
    options: &'a MeshOptions,
    /// Whether the listener serves several ports.
    shared: bool,
}

/// All inbound listeners of a sidecar.
pub(crate) fn listeners(view: &View<'_>, ports: &[InboundPort<'_>]) -> Vec<Listener> {
    let namespace = &view.node.namespace;
    let modes = view.context.peer_modes.workload(namespace, &view.labels);
    let policies = view.context.policies.workload(namespace, &view.labels);
    let key = |port: &InboundPort<'_>, shared| PortKey {
        number: port.number,
        protocol: port.protocol,
        mode: modes.port(port.number),
        policies: &policies,
        options: &view.context.options,
        shared,
    };
    if view.node.is_redirected() {
        let chains = ports.iter().flat_map(|port| chains(&key(port, true))).collect();
        return vec![virtual_inbound(view, chains, &modes, &policies)];
    }
    let single = |port: &InboundPort<'_>| Listener {
        filter_chains: chains(&key(port, false)),
        listener_filters: if modes.port(port.number) == Mode::Permissive { vec![tls_inspector()] } else { Vec::new() },
        ..listener(view.node.address(), port.number, TrafficDirection::Inbound)
    };
    ports.iter().map(single).collect()
}

/// The chains of one port: mutual TLS, plaintext, or both.
fn chains(key: &PortKey<'_>) -> Vec<FilterChain> {
    let port = key.shared.then(|| u32::from(key.number));
    let matches = |transport: &str, alpn: &[&str]| FilterChainMatch {
        destination_port: port,
        transport_protocol: transport.to_owned(),
        application_protocols: alpn.iter().map(|&p| p.to_owned()).collect(),
        ..Default::default()
    };
    let name = |kind: &str| format!("inbound_{}_{kind}", key.number);
    let mutual = |matches| chain(name("mtls"), matches, filters(key), Some(tls::mesh_server(key.protocol.is_http())));
    let plain = |kind: &str, matches| chain(name(kind), matches, filters(key), None);
    match key.mode {
        Mode::Disable => vec![plain("plaintext", matches("", &[]))],
        // A listener of its own needs no look at the bytes: what is not mutual TLS fails the handshake.
        Mode::Strict => vec![mutual(matches(if key.shared { "tls" } else { "" }, &[]))],
        // The application may speak TLS itself: the mesh's is told apart by what the caller offers.
        Mode::Permissive if key.protocol.is_tls() => vec![
            mutual(matches("tls", &tls::MESH_ALPN)),
            plain("tls", matches("tls", &[])),
            plain("plaintext", matches("raw_buffer", &[])),
        ],
        Mode::Permissive => vec![mutual(matches("tls", &[])), plain("plaintext", matches("raw_buffer", &[]))],
    }
}

fn filters(key: &PortKey<'_>) -> Vec<Filter> {
    let cluster = names::inbound_cluster(key.number);
    if !key.protocol.is_http() {
        let mut filters = key.policies.network_filters(&format!("tcp_{}", key.number));
        filters.push(tcp_proxy(&cluster, &[(cluster.clone(), 1)], key.options));
        return filters;
    }
    let host = VirtualHost {
        name: format!("inbound|http|{}", key.number),
        domains: vec!["*".to_owned()],
        routes: vec![route::inbound_route(cluster.clone())],
        ..Default::default()
    };
    let routes = RouteConfiguration {
        name: cluster,
        virtual_hosts: vec![host],
        validate_clusters: Some(false),
        ..Default::default()
    };
    vec![http::manager(HttpKey {
        stat_prefix: format!("inbound_{}", key.number),
        routes: Routes::Inline(Box::new(routes)),
        side: Side::Inbound,
        authorization: key.policies.http_filters(),
        cors: false,
        options: key.options,
    })]
}

/// The listener that all redirected calls to the workload reach.
fn virtual_inbound(
    view: &View<'_>,
    mut chains: Vec<FilterChain>,
    modes: &WorkloadModes,
    policies: &WorkloadPolicies<'_>,
) -> Listener {
    let options = &view.context.options;
    let port = names::VIRTUAL_INBOUND_PORT;
    let own = FilterChainMatch { destination_port: Some(u32::from(port)), ..Default::default() };
    let black_hole = vec![to_cluster(names::BLACK_HOLE_CLUSTER, options)];
    chains.push(chain("virtualInbound-blackhole", own, black_hole, None));
    chains.extend(passthrough(modes.default(), policies, options));
    Listener {
        name: names::VIRTUAL_INBOUND.to_owned(),
        filter_chains: chains,
        listener_filters: vec![original_dst(), tls_inspector()],
        // A caller that waits for the server to speak first is taken for plaintext.
        continue_on_listener_filters_timeout: true,
        ..listener(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port, TrafficDirection::Inbound)
    }
}

/// Ports that no service declares: passed on as they are, under the workload's own rules.
fn passthrough(mode: Mode, policies: &WorkloadPolicies<'_>, options: &MeshOptions) -> Vec<FilterChain> {
    let filters = || {
        let mut filters = policies.network_filters("tcp_passthrough");
        filters.push(to_cluster(names::INBOUND_PASSTHROUGH_CLUSTER, options));
        filters
    };
    let matches = |transport: &str, alpn: &[&str]| FilterChainMatch {
        transport_protocol: transport.to_owned(),
        application_protocols: alpn.iter().map(|&p| p.to_owned()).collect(),
        ..Default::default()
    };
    let mutual = |matches| chain("virtualInbound-mtls", matches, filters(), Some(tls::mesh_server(false)));
    let plain = |name: &str, matches| chain(name, matches, filters(), None);
    match mode {
        Mode::Disable => vec![plain("virtualInbound", FilterChainMatch::default())],
        Mode::Strict => vec![mutual(matches("tls", &[]))],
        Mode::Permissive => vec![
            mutual(matches("tls", &tls::MESH_ALPN)),
            plain("virtualInbound-tls", matches("tls", &[])),
            plain("virtualInbound", matches("raw_buffer", &[])),
        ],
    }
}
