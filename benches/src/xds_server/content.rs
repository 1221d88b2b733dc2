//! The resources, and the ways they change.

use std::{sync::Arc, time::Duration};

use mesh_xds::{
    Resource, TypeUrl,
    store::{Batch, View},
};
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

/// Weight of every endpoint at the start.
const FIRST_WEIGHT: u32 = 1;

/// The clusters and their assignments.
pub(crate) struct Content {
    view: Arc<View>,
    clusters: usize,
    endpoints: usize,
    changes: u64,
}

impl Content {
    pub(crate) fn new(clusters: usize, endpoints: usize) -> Self {
        let view = View::new();
        view.replace((0..clusters).map(cluster).chain((0..clusters).map(|i| assignment(i, endpoints, FIRST_WEIGHT))));
        Self { view, clusters, endpoints, changes: 0 }
    }

    pub(crate) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Gives the endpoints of the first `count` assignments another weight.
    pub(crate) fn bump(&mut self, count: usize, weight: Option<u32>) -> u64 {
        let weight = self.next_weight(weight);
        let count = count.min(self.clusters);
        self.view.update((0..count).map(|i| assignment(i, self.endpoints, weight)).collect());
        self.changes
    }

    /// One cluster more, with its assignment.
    pub(crate) fn add(&mut self, weight: Option<u32>) -> u64 {
        let weight = self.next_weight(weight);
        let i = self.clusters;
        self.clusters += 1;
        self.view.update(Batch::new().put(cluster(i)).put(assignment(i, self.endpoints, weight)));
        self.changes
    }

    /// One cluster less: the last.
    pub(crate) fn remove(&mut self) -> u64 {
        self.changes += 1;
        if let Some(i) = self.clusters.checked_sub(1) {
            self.clusters = i;
            self.view.update(Batch::new().remove(TypeUrl::CLUSTER, name(i)).remove(TypeUrl::ENDPOINT, name(i)));
        }
        self.changes
    }

    fn next_weight(&mut self, given: Option<u32>) -> u32 {
        self.changes += 1;
        given.unwrap_or((self.changes % 100) as u32 + FIRST_WEIGHT)
    }
}

fn name(i: usize) -> String {
    format!("cluster-{i}")
}

fn cluster(i: usize) -> Resource {
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

fn assignment(i: usize, endpoints: usize, weight: u32) -> Resource {
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
