//! The made-up resources.

use std::time::Duration;

use mesh_xds::Resource;
use mesh_xds_api::envoy::config::{
    cluster::v3::{
        Cluster,
        cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig},
    },
    core::v3::{
        Address, AggregatedConfigSource, ApiVersion, ConfigSource, SocketAddress, address,
        config_source::ConfigSourceSpecifier, socket_address::PortSpecifier,
    },
    endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier},
};

/// `cluster-i`, which is the name of its assignment as well.
pub(crate) fn name(i: usize) -> String {
    format!("cluster-{i}")
}

/// A cluster of type EDS.
pub(crate) fn cluster(i: usize) -> Resource {
    let ads = ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource::default())),
        ..Default::default()
    };
    let message = Cluster {
        name: name(i),
        connect_timeout: Duration::from_secs(1).try_into().ok(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(ads), ..Default::default() }),
        ..Default::default()
    };
    Resource::pack(message.name.clone(), &message)
}

/// The assignment of cluster `i`.
pub(crate) fn assignment(i: usize, endpoints: usize, weight: u32) -> Resource {
    let lb_endpoints = (0..endpoints).map(|j| endpoint(format!("10.{}.{}.{}", i / 256 % 256, i % 256, j + 1), weight));
    let locality = LocalityLbEndpoints { lb_endpoints: lb_endpoints.collect(), ..Default::default() };
    let message = ClusterLoadAssignment { cluster_name: name(i), endpoints: vec![locality], ..Default::default() };
    Resource::pack(message.cluster_name.clone(), &message)
}

fn endpoint(address: String, weight: u32) -> LbEndpoint {
    let socket = SocketAddress { address, port_specifier: Some(PortSpecifier::PortValue(8080)), ..Default::default() };
    let endpoint = Endpoint {
        address: Some(Address { address: Some(address::Address::SocketAddress(socket)) }),
        ..Default::default()
    };
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
        load_balancing_weight: Some(weight),
        ..Default::default()
    }
}
