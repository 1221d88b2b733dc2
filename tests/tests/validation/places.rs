//! Where messages are put so that Envoy reads them.

use std::path::Path;

use mesh_tests::file_envoy::Followed;
use mesh_xds_api::{
    any::{self, Any},
    envoy::{
        config::{
            cluster::v3::{Cluster, LoadBalancingPolicy, cluster, load_balancing_policy::Policy},
            core::v3::{
                Address, ConfigSource, PathConfigSource, SocketAddress, TransportSocket, TypedExtensionConfig, address,
                config_source, socket_address, transport_socket,
            },
            endpoint::v3::ClusterLoadAssignment,
            listener::v3::{Filter, FilterChain, Listener, filter},
            route::v3::{
                RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
                retry_policy::{RetryPriority, retry_priority},
                route, route_action,
                route_match::PathSpecifier,
            },
        },
        extensions::{
            filters::{
                http::router::v3::Router,
                network::http_connection_manager::v3::{
                    HttpConnectionManager, HttpFilter, Rds, http_connection_manager, http_filter,
                },
            },
            transport_sockets::tls::v3::{
                CertificateValidationContext, CommonTlsContext, SdsSecretConfig, Secret, UpstreamTlsContext,
                common_tls_context::ValidationContextType, secret,
            },
        },
    },
};

const CDS: Followed = Followed { file: "cds", stats: "cluster_manager.cds" };
const LDS: Followed = Followed { file: "lds", stats: "listener_manager.lds" };
const EDS: Followed = Followed { file: "eds", stats: "cluster.eds" };
const RDS: Followed = Followed { file: "rds", stats: "http.base.rds.routes" };
const SDS: Followed = Followed { file: "sds", stats: "sds.aa" };

const CONFIG: &str = "envoy.config";
const EXTENSIONS: &str = "envoy.extensions";

/// Puts a message of some type into a resource, of the file that Envoy reads it from.
pub(crate) type Place = fn(Any) -> (Followed, Any);

fn http_filter(config: Any) -> (Followed, Any) {
    let filter = HttpFilter {
        name: "filter".into(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    };
    let manager = HttpConnectionManager {
        stat_prefix: "http".into(),
        route_specifier: Some(http_connection_manager::RouteSpecifier::RouteConfig(RouteConfiguration::default())),
        http_filters: vec![filter, router()],
        ..Default::default()
    };
    network_filter(any::pack(&manager))
}

fn router() -> HttpFilter {
    let config = any::pack(&Router::default());
    HttpFilter {
        name: "router".into(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

fn network_filter(config: Any) -> (Followed, Any) {
    (LDS, any::pack(&listener(config)))
}

fn listener(config: Any) -> Listener {
    let filter = Filter { name: "filter".into(), config_type: Some(filter::ConfigType::TypedConfig(config)) };
    Listener {
        name: "listener".into(),
        address: Some(Address {
            address: Some(address::Address::SocketAddress(SocketAddress {
                address: "127.0.0.1".into(),
                port_specifier: Some(socket_address::PortSpecifier::PortValue(0)),
                ..Default::default()
            })),
        }),
        filter_chains: vec![FilterChain { filters: vec![filter], ..Default::default() }],
        ..Default::default()
    }
}

fn upstream_tls(config: Any) -> (Followed, Any) {
    let socket =
        TransportSocket { name: "tls".into(), config_type: Some(transport_socket::ConfigType::TypedConfig(config)) };
    (CDS, any::pack(&Cluster { name: "tls".into(), transport_socket: Some(socket), ..Default::default() }))
}

fn protocol_options(config: Any) -> (Followed, Any) {
    let key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned();
    let cluster =
        Cluster { name: "http".into(), typed_extension_protocol_options: [(key, config)].into(), ..Default::default() };
    (CDS, any::pack(&cluster))
}

fn balancer(config: Any) -> (Followed, Any) {
    let config = TypedExtensionConfig { name: "balancer".into(), typed_config: Some(config) };
    let policy = LoadBalancingPolicy { policies: vec![Policy { typed_extension_config: Some(config) }] };
    (CDS, any::pack(&Cluster { name: "balancer".into(), load_balancing_policy: Some(policy), ..Default::default() }))
}

fn path_match(config: Any) -> (Followed, Any) {
    let config = TypedExtensionConfig { name: "path".into(), typed_config: Some(config) };
    route(PathSpecifier::PathMatchPolicy(config), RouteAction::default())
}

fn retry_priority(config: Any) -> (Followed, Any) {
    let priority = RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".into(),
        config_type: Some(retry_priority::ConfigType::TypedConfig(config)),
    };
    let retry_policy = RetryPolicy { retry_priority: Some(priority), ..Default::default() };
    route(PathSpecifier::Prefix("/".into()), RouteAction { retry_policy: Some(retry_policy), ..Default::default() })
}

fn route(path: PathSpecifier, action: RouteAction) -> (Followed, Any) {
    let cluster_specifier = Some(route_action::ClusterSpecifier::Cluster("eds".into()));
    let route = Route {
        r#match: Some(RouteMatch { path_specifier: Some(path), ..Default::default() }),
        action: Some(route::Action::Route(RouteAction { cluster_specifier, ..action })),
        ..Default::default()
    };
    let host = VirtualHost { name: "aa".into(), domains: vec!["*".into()], routes: vec![route], ..Default::default() };
    let routes = RouteConfiguration { name: "routes".into(), virtual_hosts: vec![host], ..Default::default() };
    (RDS, any::pack(&routes))
}

/// In this order: what a file of the base needs is there until its turn is over.
pub(crate) const ROOTS: &[(&str, &str, Place)] = &[
    (CONFIG, "endpoint.v3.ClusterLoadAssignment", |r| (EDS, r)),
    (EXTENSIONS, "transport_sockets.tls.v3.Secret", |r| (SDS, r)),
    (CONFIG, "route.v3.RouteConfiguration", |r| (RDS, r)),
    (EXTENSIONS, "path.match.uri_template.v3.UriTemplateMatchConfig", path_match),
    (EXTENSIONS, "retry.priority.previous_priorities.v3.PreviousPrioritiesConfig", retry_priority),
    (CONFIG, "listener.v3.Listener", |r| (LDS, r)),
    (EXTENSIONS, "filters.network.http_connection_manager.v3.HttpConnectionManager", network_filter),
    (EXTENSIONS, "filters.network.tcp_proxy.v3.TcpProxy", network_filter),
    (EXTENSIONS, "filters.network.rbac.v3.RBAC", network_filter),
    (EXTENSIONS, "filters.http.router.v3.Router", http_filter),
    (EXTENSIONS, "filters.http.rbac.v3.RBAC", http_filter),
    (EXTENSIONS, "filters.http.fault.v3.HTTPFault", http_filter),
    (EXTENSIONS, "filters.http.cors.v3.Cors", http_filter),
    (EXTENSIONS, "filters.http.csrf.v3.CsrfPolicy", http_filter),
    (EXTENSIONS, "filters.http.buffer.v3.Buffer", http_filter),
    (EXTENSIONS, "filters.http.compressor.v3.Compressor", http_filter),
    (EXTENSIONS, "filters.http.ext_authz.v3.ExtAuthz", http_filter),
    (EXTENSIONS, "filters.http.ext_proc.v3.ExternalProcessor", http_filter),
    (EXTENSIONS, "filters.http.header_to_metadata.v3.Config", http_filter),
    (EXTENSIONS, "filters.http.health_check.v3.HealthCheck", http_filter),
    (EXTENSIONS, "filters.http.jwt_authn.v3.JwtAuthentication", http_filter),
    (EXTENSIONS, "filters.http.local_ratelimit.v3.LocalRateLimit", http_filter),
    (EXTENSIONS, "filters.http.ratelimit.v3.RateLimit", http_filter),
    (CONFIG, "cluster.v3.Cluster", |r| (CDS, r)),
    (EXTENSIONS, "load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin", balancer),
    (EXTENSIONS, "load_balancing_policies.load_aware_locality.v3.LoadAwareLocality", balancer),
    (EXTENSIONS, "transport_sockets.tls.v3.UpstreamTlsContext", upstream_tls),
    (EXTENSIONS, "upstreams.http.v3.HttpProtocolOptions", protocol_options),
];

/// What Envoy begins with: each followed file is in use, and all of it is accepted.
pub(crate) fn base(folder: &Path) -> Vec<(Followed, Vec<Any>)> {
    let source = |followed: Followed| ConfigSource {
        resource_api_version: 2,
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::PathConfigSource(PathConfigSource {
            path: folder.join(format!("{}.pb", followed.file)).to_string_lossy().into_owned(),
            ..Default::default()
        })),
        ..Default::default()
    };
    let secret = SdsSecretConfig { name: "aa".into(), sds_config: Some(source(SDS)) };
    let tls = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            validation_context_type: Some(ValidationContextType::ValidationContextSdsSecretConfig(secret)),
            ..Default::default()
        }),
        ..Default::default()
    };
    let cluster = Cluster {
        name: "eds".into(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Eds.into())),
        eds_cluster_config: Some(cluster::EdsClusterConfig {
            eds_config: Some(source(EDS)),
            service_name: "aa".into(),
        }),
        transport_socket: Some(TransportSocket {
            name: "tls".into(),
            config_type: Some(transport_socket::ConfigType::TypedConfig(any::pack(&tls))),
        }),
        ..Default::default()
    };
    let manager = HttpConnectionManager {
        stat_prefix: "base".into(),
        route_specifier: Some(http_connection_manager::RouteSpecifier::Rds(Rds {
            config_source: Some(source(RDS)),
            route_config_name: "routes".into(),
        })),
        http_filters: vec![router()],
        ..Default::default()
    };
    vec![
        (CDS, vec![any::pack(&cluster)]),
        (EDS, vec![any::pack(&ClusterLoadAssignment { cluster_name: "aa".into(), ..Default::default() })]),
        (
            SDS,
            vec![any::pack(&Secret {
                name: "aa".into(),
                r#type: Some(secret::Type::ValidationContext(CertificateValidationContext::default())),
            })],
        ),
        (LDS, vec![any::pack(&listener(any::pack(&manager)))]),
        (RDS, vec![any::pack(&RouteConfiguration { name: "routes".into(), ..Default::default() })]),
    ]
}
