//! Which fields name resources.

use crate::TypeUrl;

/// A field that names a resource, or several.
#[derive(Debug)]
pub(super) struct Naming {
    /// The message that has it.
    pub(super) message: &'static str,
    /// The field, from this message on. Of several the first that is not empty.
    pub(super) names: &'static [&'static str],
    /// The `ConfigSource` that must be this server. Without it, every name counts.
    pub(super) source: Option<&'static str>,
    /// The type of what is named.
    pub(super) to: TypeUrl,
}

const fn plain(message: &'static str, names: &'static [&'static str], to: TypeUrl) -> Naming {
    Naming { message, names, source: None, to }
}

const fn sourced(message: &'static str, names: &'static [&'static str], source: &'static str, to: TypeUrl) -> Naming {
    Naming { message, names, source: Some(source), to }
}

const AGGREGATE: TypeUrl = TypeUrl::known("type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig");

/// Every field that names a resource.
pub(super) static NAMINGS: &[Naming] = &[
    // Clusters, called by name.
    plain("envoy.config.route.v3.RouteAction", &["cluster"], TypeUrl::CLUSTER),
    plain("envoy.config.route.v3.RouteAction.RequestMirrorPolicy", &["cluster"], TypeUrl::CLUSTER),
    plain("envoy.config.route.v3.WeightedCluster.ClusterWeight", &["name"], TypeUrl::CLUSTER),
    plain("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", &["cluster"], TypeUrl::CLUSTER),
    plain(
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight",
        &["name"],
        TypeUrl::CLUSTER,
    ),
    plain("envoy.config.core.v3.GrpcService.EnvoyGrpc", &["cluster_name"], TypeUrl::CLUSTER),
    plain("envoy.config.core.v3.HttpUri", &["cluster"], TypeUrl::CLUSTER),
    plain("envoy.config.trace.v3.ZipkinConfig", &["collector_cluster"], TypeUrl::CLUSTER),
    plain("envoy.extensions.clusters.aggregate.v3.ClusterConfig", &["clusters"], TypeUrl::CLUSTER),
    sourced(
        "envoy.extensions.clusters.aggregate.v3.AggregateClusterResource",
        &["resource_name"],
        "config_source",
        AGGREGATE,
    ),
    // Endpoints are named after their cluster, unless it says otherwise.
    sourced(
        "envoy.config.cluster.v3.Cluster",
        &["eds_cluster_config.service_name", "name"],
        "eds_cluster_config.eds_config",
        TypeUrl::ENDPOINT,
    ),
    // Route tables.
    sourced(
        "envoy.extensions.filters.network.http_connection_manager.v3.Rds",
        &["route_config_name"],
        "config_source",
        TypeUrl::ROUTE,
    ),
    plain("envoy.config.route.v3.ScopedRouteConfiguration", &["route_configuration_name"], TypeUrl::ROUTE),
    // Secrets.
    sourced("envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig", &["name"], "sds_config", TypeUrl::SECRET),
    // Extension configurations go by the name of the filter.
    sourced(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
        &["name"],
        "config_discovery.config_source",
        TypeUrl::EXTENSION_CONFIG,
    ),
    sourced("envoy.config.listener.v3.Filter", &["name"], "config_discovery.config_source", TypeUrl::EXTENSION_CONFIG),
    sourced(
        "envoy.config.listener.v3.ListenerFilter",
        &["name"],
        "config_discovery.config_source",
        TypeUrl::EXTENSION_CONFIG,
    ),
    sourced("envoy.config.cluster.v3.Filter", &["name"], "config_discovery.config_source", TypeUrl::EXTENSION_CONFIG),
    // Listeners inside the proxy.
    plain("envoy.config.core.v3.EnvoyInternalAddress", &["server_listener_name"], TypeUrl::LISTENER),
];

/// Messages in which nothing counts.
pub(super) static PASSED_OVER: &[&str] = &[
    // Only clusters of the bootstrap may be named in it.
    SOURCE,
    // Data for whoever looks at it, such as access logs.
    "envoy.config.core.v3.Metadata",
];

/// The message that says where a resource comes from.
pub(super) const SOURCE: &str = "envoy.config.core.v3.ConfigSource";
/// Its members that mean the server which sent it.
pub(super) const SERVED: &[&str] = &["ads", "self"];
