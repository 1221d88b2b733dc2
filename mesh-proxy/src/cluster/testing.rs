//! Clusters for tests of this crate.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{ClusterDeps, ClusterHandle};
use crate::model::{
    Address, Assignment, CircuitBreakers, Cluster, ClusterKind, ConfigSource, Endpoint, HealthStatus, HttpProtocol,
    LbPolicy, LocalityEndpoints, Metadata, PoolOptions, UpstreamSocket,
};

pub(crate) fn endpoint(address: Address) -> Endpoint {
    Endpoint {
        address,
        hostname: String::new(),
        weight: 1,
        health: HealthStatus::Healthy,
        metadata: Metadata::default(),
    }
}

pub(crate) fn assignment(addresses: impl IntoIterator<Item = Address>) -> Arc<Assignment> {
    let endpoints = addresses.into_iter().map(endpoint).collect();
    let localities = vec![LocalityEndpoints { endpoints, ..LocalityEndpoints::default() }];
    Arc::new(Assignment { localities, ..Assignment::default() })
}

/// A static cluster named `c` with every default.
pub(crate) fn cluster(hosts: &[SocketAddr]) -> Cluster {
    with_kind(ClusterKind::Static(assignment(hosts.iter().copied().map(Address::Tcp))))
}

pub(crate) fn eds() -> ClusterKind {
    ClusterKind::Eds { service_name: "c".to_owned(), source: ConfigSource::Ads }
}

pub(crate) fn with_kind(kind: ClusterKind) -> Cluster {
    Cluster {
        name: "c".into(),
        stat_name: "c".into(),
        kind,
        lb: LbPolicy::RoundRobin,
        locality_weighted: false,
        connect_timeout: Duration::from_secs(5),
        circuit_breakers: CircuitBreakers::default(),
        outlier: None,
        socket: UpstreamSocket::Plain,
        socket_matches: Vec::new(),
        protocol: HttpProtocol::Http1,
        pool: PoolOptions::default(),
        source_address: None,
        buffer_limit: 1 << 20,
        panic_threshold: 50.0,
        close_connections_on_set_change: false,
        metadata: Metadata::default(),
    }
}

pub(crate) fn handle(config: Cluster) -> Arc<ClusterHandle> {
    ClusterHandle::new(Arc::new(config), &ClusterDeps::default())
}
