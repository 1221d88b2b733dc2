//! The resources that cases are played with. Real clients take them; real servers can serve them.

use std::time::Duration;

use mesh_xds_api::{
    any::pack,
    envoy::{
        config::{
            cluster::v3::{
                Cluster,
                cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig},
            },
            core::v3::{
                Address, AggregatedConfigSource, ApiVersion, ConfigSource, SocketAddress, address,
                config_source::ConfigSourceSpecifier, socket_address::PortSpecifier,
            },
            endpoint::v3::{
                ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
            },
            listener::v3::{ApiListener, Filter, FilterChain, Listener, filter::ConfigType},
            route::v3::{
                Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route::Action,
                route_action::ClusterSpecifier, route_match::PathSpecifier,
            },
        },
        extensions::filters::{
            http::router::v3::Router,
            network::http_connection_manager::v3::{
                HttpConnectionManager, HttpFilter, Rds, http_connection_manager::RouteSpecifier, http_filter,
            },
        },
    },
};

use crate::Resource;

/// A cluster of type EDS over ADS. `revision` makes its content differ.
#[must_use]
pub fn cluster(name: &str, revision: u32) -> Resource {
    let eds = EdsClusterConfig { eds_config: Some(ads()), ..Default::default() };
    let connect_timeout = Duration::from_secs(1) + Duration::from_millis(u64::from(revision));
    let message = Cluster {
        name: name.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(eds),
        // A duration of a second and some milliseconds always fits.
        connect_timeout: connect_timeout.try_into().ok(),
        ..Default::default()
    };
    Resource::pack(name, &message)
}

/// The endpoints of a cluster: one, on loopback. `revision` makes its port differ.
#[must_use]
pub fn endpoints(name: &str, revision: u32) -> Resource {
    let endpoint = Endpoint { address: Some(address(10_000 + revision)), ..Default::default() };
    let one = LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() };
    let locality = LocalityLbEndpoints {
        lb_endpoints: vec![one],
        load_balancing_weight: Some(1),
        locality: Some(Default::default()),
        ..Default::default()
    };
    let message = ClusterLoadAssignment { cluster_name: name.into(), endpoints: vec![locality], ..Default::default() };
    Resource::pack(name, &message)
}

/// A listener on a free port of loopback, whose routes are `name`'s over ADS. `revision` makes its content differ.
#[must_use]
pub fn listener(name: &str, revision: u32) -> Resource {
    let filter = Filter {
        name: "http".into(),
        config_type: Some(ConfigType::TypedConfig(pack(&connection_manager(name, revision)))),
    };
    let chain = FilterChain { filters: vec![filter], ..Default::default() };
    let message =
        Listener { name: name.into(), address: Some(address(0)), filter_chains: vec![chain], ..Default::default() };
    Resource::pack(name, &message)
}

/// As [`listener`], in the form that gRPC's clients take.
#[must_use]
pub fn api_listener(name: &str, revision: u32) -> Resource {
    let api_listener = ApiListener { api_listener: Some(pack(&connection_manager(name, revision))) };
    Resource::pack(name, &Listener { name: name.into(), api_listener: Some(api_listener), ..Default::default() })
}

/// Routes that send everything to `cluster`.
#[must_use]
pub fn routes(name: &str, cluster: &str) -> Resource {
    let action =
        RouteAction { cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.into())), ..Default::default() };
    let route = Route {
        r#match: Some(RouteMatch { path_specifier: Some(PathSpecifier::Prefix(String::new())), ..Default::default() }),
        action: Some(Action::Route(action)),
        ..Default::default()
    };
    let host = VirtualHost { name: "all".into(), domains: vec!["*".into()], routes: vec![route], ..Default::default() };
    Resource::pack(name, &RouteConfiguration { name: name.into(), virtual_hosts: vec![host], ..Default::default() })
}

fn connection_manager(name: &str, revision: u32) -> HttpConnectionManager {
    let rds = Rds { config_source: Some(ads()), route_config_name: name.into() };
    let router = HttpFilter {
        name: "envoy.filters.http.router".into(),
        config_type: Some(http_filter::ConfigType::TypedConfig(pack(&Router::default()))),
        ..Default::default()
    };
    HttpConnectionManager {
        stat_prefix: format!("{name}-{revision}"),
        route_specifier: Some(RouteSpecifier::Rds(rds)),
        http_filters: vec![router],
        ..Default::default()
    }
}

fn ads() -> ConfigSource {
    ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        resource_api_version: ApiVersion::V3.into(),
        ..Default::default()
    }
}

fn address(port: u32) -> Address {
    let socket = SocketAddress {
        address: "127.0.0.1".into(),
        port_specifier: Some(PortSpecifier::PortValue(port)),
        ..Default::default()
    };
    Address { address: Some(address::Address::SocketAddress(socket)) }
}
