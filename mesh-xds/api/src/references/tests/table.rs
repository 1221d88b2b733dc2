//! That the table is true to the API, and that nothing of the API is overlooked.

use std::collections::BTreeSet;

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

use super::super::table::{NAMINGS, PASSED_OVER, SERVED, SOURCE};
use crate::descriptor_pool;

/// Fields that look like references, and why they are none.
const NO_REFERENCE: &[(&str, &str)] = &[
    // Chosen at run time.
    ("envoy.config.route.v3.RouteAction.cluster_header", "a header names the cluster"),
    ("envoy.config.route.v3.RouteAction.RequestMirrorPolicy.cluster_header", "a header names the cluster"),
    ("envoy.config.route.v3.WeightedCluster.ClusterWeight.cluster_header", "a header names the cluster"),
    ("envoy.config.route.v3.RouteAction.cluster_specifier_plugin", "a plug-in of the same table chooses"),
    // Asked for on demand, by names that traffic brings.
    ("envoy.config.route.v3.Vhds.config_source", "virtual hosts are asked for on demand"),
    ("envoy.extensions.filters.http.on_demand.v3.OnDemandCds.source", "clusters are asked for on demand"),
    (
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.OnDemand.odcds_config",
        "clusters are asked for on demand",
    ),
    // Whole collections.
    ("envoy.config.endpoint.v3.LedsClusterLocalityConfig.leds_config", "a collection, of any number of resources"),
    ("envoy.config.listener.v3.Listener.FcdsConfig.config_source", "a collection, of any number of resources"),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRds.scoped_rds_config_source",
        "all scopes there are",
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes.rds_config_source",
        "the tables are named by the scopes",
    ),
    // Of the bootstrap.
    ("envoy.config.core.v3.ApiConfigSource.cluster_names", "only clusters of the bootstrap are taken"),
    ("envoy.config.bootstrap.v3.Bootstrap.config_sources", "of the bootstrap"),
    ("envoy.config.bootstrap.v3.Bootstrap.default_config_source", "of the bootstrap"),
    ("envoy.config.bootstrap.v3.Bootstrap.DynamicResources.cds_config", "of the bootstrap"),
    ("envoy.config.bootstrap.v3.Bootstrap.DynamicResources.lds_config", "of the bootstrap"),
    ("envoy.config.bootstrap.v3.ClusterManager.local_cluster_name", "of the bootstrap"),
    ("envoy.config.bootstrap.v3.RuntimeLayer.RtdsLayer.rtds_config", "of the bootstrap"),
    ("envoy.config.metrics.v3.StatsdSink.tcp_cluster_name", "of the bootstrap"),
    // What a thing is called, or is told about.
    ("envoy.config.cluster.v3.Cluster.CustomClusterType.name", "an extension's name"),
    ("envoy.config.cluster.v3.Cluster.TransportSocketMatch.name", "the name of the match"),
    ("envoy.config.cluster.v3.Cluster.lrs_server", "load reports go there"),
    ("envoy.config.core.v3.Node.cluster", "the node's own"),
    ("envoy.config.endpoint.v3.ClusterLoadAssignment.cluster_name", "its own name"),
    ("envoy.config.route.v3.VirtualCluster.name", "its own name"),
    ("envoy.extensions.filters.http.fault.v3.HTTPFault.upstream_cluster", "a condition"),
    // Reports and events, not configuration.
    ("envoy.admin.v3.ClusterStatus.name", "a report"),
    ("envoy.admin.v3.CommandLineOptions.service_cluster", "a report"),
    ("envoy.config.endpoint.v3.ClusterStats.cluster_name", "a report"),
    ("envoy.config.endpoint.v3.ClusterStats.cluster_service_name", "a report"),
    ("envoy.data.accesslog.v3.AccessLogCommon.upstream_cluster", "a report"),
    ("envoy.data.cluster.v3.OutlierDetectionEvent.cluster_name", "a report"),
    ("envoy.data.core.v3.HealthCheckEvent.cluster_name", "a report"),
    ("envoy.service.health.v3.ClusterEndpointsHealth.cluster_name", "a report"),
    ("envoy.service.health.v3.ClusterHealthCheck.cluster_name", "a report"),
    ("envoy.service.load_stats.v3.LoadStatsResponse.clusters", "which loads are to be reported"),
];

fn message(name: &str) -> MessageDescriptor {
    descriptor_pool().get_message_by_name(name).unwrap_or_else(|| panic!("there is no message {name}"))
}

/// The fields along a path.
fn fields(start: &str, path: &str) -> Vec<FieldDescriptor> {
    let mut kind = Kind::Message(message(start));
    let step = |name: &str| {
        let parent = kind.as_message().unwrap_or_else(|| panic!("{start}: nothing lies inside {kind:?}")).clone();
        let field = parent.get_field_by_name(name).unwrap_or_else(|| panic!("{start} has no {path}"));
        kind = field.kind();
        field
    };
    path.split('.').map(step).collect()
}

#[test]
fn the_table_names_fields_that_exist() {
    for naming in NAMINGS {
        for path in naming.names {
            let chain = fields(naming.message, path);
            let last = chain.last().unwrap();
            assert_eq!(last.kind(), Kind::String, "{}.{path}", naming.message);
            let single = |f: &FieldDescriptor| f.cardinality() != Cardinality::Repeated;
            assert!(chain.len() == 1 || chain.iter().all(single), "a list must be the message's own: {path}");
        }
        if let Some(path) = naming.source {
            let last = fields(naming.message, path).pop().unwrap();
            assert_eq!(last.kind().as_message().map(|m| m.full_name()), Some(SOURCE), "{}.{path}", naming.message);
            assert!(last.cardinality() != Cardinality::Repeated, "{path}");
        }
        assert!(!naming.names.is_empty());
        message(naming.to.message_name());
    }
    PASSED_OVER.iter().for_each(|name| drop(message(name)));
    SERVED.iter().for_each(|name| assert!(message(SOURCE).get_field_by_name(name).is_some(), "{name}"));
}

/// Whether a field might name a cluster, or say where a resource comes from.
fn looks_like_one(field: &FieldDescriptor) -> bool {
    let message = field.parent_message();
    let (name, parent) = (field.name().to_lowercase(), message.full_name().rsplit('.').next().unwrap_or_default());
    match field.kind() {
        Kind::String => name.contains("cluster") || name == "name" && message.full_name().contains("luster"),
        Kind::Message(kind) => {
            let sources = [SOURCE, "envoy.config.core.v3.ExtensionConfigSource"];
            sources.contains(&kind.full_name()) && parent != "ExtensionConfigSource"
        }
        _ => false,
    }
}

#[test]
fn no_reference_of_the_api_is_overlooked() {
    let messages = descriptor_pool().all_messages().filter(|m| !m.is_map_entry());
    let candidates: BTreeSet<String> = messages
        .flat_map(|m| m.fields().collect::<Vec<_>>())
        .filter(looks_like_one)
        .map(|f| f.full_name().into())
        .collect();
    let paths = NAMINGS.iter().flat_map(|n| n.names.iter().copied().chain(n.source).map(|path| (n.message, path)));
    let in_table: BTreeSet<String> =
        paths.flat_map(|(start, path)| fields(start, path)).map(|f| f.full_name().into()).collect();
    let excused: BTreeSet<String> = NO_REFERENCE.iter().map(|(field, _)| (*field).to_owned()).collect();
    let overlooked: Vec<_> = candidates.iter().filter(|c| !in_table.contains(*c) && !excused.contains(*c)).collect();
    assert!(overlooked.is_empty(), "{overlooked:#?}");
    let stale: Vec<_> = excused.iter().filter(|e| !candidates.contains(*e) || in_table.contains(*e)).collect();
    assert!(stale.is_empty(), "excused without need: {stale:#?}");
    assert!(candidates.len() > 50, "{}", candidates.len());
}
