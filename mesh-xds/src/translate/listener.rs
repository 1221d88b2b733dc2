//! Listeners (LDS): what they have in common.

pub(super) mod gateway;
pub(super) mod inbound;
pub(super) mod outbound;

use std::net::IpAddr;

use mesh_xds_api::envoy::{
    config::{
        core::v3::{TrafficDirection, TransportSocket},
        listener::v3::{Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter},
    },
    extensions::filters::{
        listener::{original_dst::v3::OriginalDst, tls_inspector::v3::TlsInspector},
        network::tcp_proxy::v3::{
            TcpProxy,
            tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight},
        },
    },
};

use super::{MeshOptions, http, names, proto};

/// A listener without chains.
fn listener(address: IpAddr, port: u16, direction: TrafficDirection) -> Listener {
    Listener {
        name: names::listener(address, port),
        address: Some(proto::address(address.to_string(), port)),
        traffic_direction: direction.into(),
        ..Default::default()
    }
}

/// A chain for the connections of `matches`; none means all others.
fn chain(
    name: impl Into<String>,
    matches: FilterChainMatch,
    filters: Vec<Filter>,
    transport_socket: Option<TransportSocket>,
) -> FilterChain {
    FilterChain {
        name: name.into(),
        filter_chain_match: (matches != FilterChainMatch::default()).then_some(matches),
        filters,
        transport_socket,
        ..Default::default()
    }
}

fn tls_inspector() -> ListenerFilter {
    proto::listener_filter("envoy.filters.listener.tls_inspector", &TlsInspector::default())
}

fn original_dst() -> ListenerFilter {
    proto::listener_filter("envoy.filters.listener.original_dst", &OriginalDst::default())
}

/// Passes connections on to clusters by weight; there is at least one.
fn tcp_proxy(stat_prefix: &str, clusters: &[(String, u32)], options: &MeshOptions) -> Filter {
    let weighted =
        |(name, weight): &(String, u32)| ClusterWeight { name: name.clone(), weight: *weight, ..Default::default() };
    let specifier = match clusters {
        [(only, _)] => ClusterSpecifier::Cluster(only.clone()),
        many => ClusterSpecifier::WeightedClusters(WeightedCluster { clusters: many.iter().map(weighted).collect() }),
    };
    let proxy = TcpProxy {
        stat_prefix: stat_prefix.to_owned(),
        access_log: http::access_log(options),
        cluster_specifier: Some(specifier),
        ..Default::default()
    };
    proto::network_filter("envoy.filters.network.tcp_proxy", &proxy)
}

fn to_cluster(cluster: &str, options: &MeshOptions) -> Filter {
    tcp_proxy(cluster, &[(cluster.to_owned(), 1)], options)
}
