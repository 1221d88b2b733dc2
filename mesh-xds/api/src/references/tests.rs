//! What counts as a reference, by kinds.

mod bytes;
mod table;

use serde_json::{Value, json};

use crate::json as codec;

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const TCP: &str = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

/// Each reference as `path -> TYPE/name`.
fn named(message: &Value) -> Vec<String> {
    let found = super::of(&codec::any_from_value(message).unwrap());
    let kind = |r: &super::Reference| r.type_url.short().map(str::to_owned).unwrap_or(r.type_url.to_string());
    found.iter().map(|r| format!("{} -> {}/{}", r.path, kind(r), r.name)).collect()
}

/// The references of a listener with one network filter.
fn in_filter(config: Value) -> Vec<String> {
    let filter = json!({"name": "f", "typed_config": config});
    let named = named(&json!({"@type": LISTENER, "name": "l", "filter_chains": [{"filters": [filter]}]}));
    named.iter().map(|r| r.replace("filter_chains[0].filters[0].typed_config.", "")).collect()
}

/// The references of a route table with one route.
fn in_route(route: Value) -> Vec<String> {
    let host = json!({"name": "h", "domains": ["*"], "routes": [route]});
    let named = named(&json!({"@type": ROUTE, "name": "r", "virtual_hosts": [host]}));
    named.iter().map(|r| r.replace("virtual_hosts[0].routes[0].", "")).collect()
}

#[test]
fn endpoints_of_a_cluster() {
    let eds = |config: Value| named(&json!({"@type": CLUSTER, "name": "c", "eds_cluster_config": config}));
    assert_eq!(eds(json!({"eds_config": {"ads": {}}})), ["name -> EDS/c"]);
    let alias = json!({"eds_config": {"self": {}}, "service_name": "s"});
    assert_eq!(eds(alias), ["eds_cluster_config.service_name -> EDS/s"]);
    assert_eq!(named(&json!({"@type": CLUSTER, "name": "c"})), [] as [&str; 0]);
}

#[test]
fn only_what_this_server_provides_counts() {
    let grpc = json!({"api_type": "GRPC", "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]});
    for other in [
        json!({}),
        json!({"path": "/a"}),
        json!({"path_config_source": {"path": "/a"}}),
        json!({"api_config_source": grpc}),
        json!({"initial_fetch_timeout": "1s"}),
    ] {
        let eds = json!({"@type": CLUSTER, "name": "c", "eds_cluster_config": {"eds_config": other}});
        assert_eq!(named(&eds), [] as [&str; 0], "{other}");
        let rds = json!({"@type": MANAGER, "rds": {"config_source": other, "route_config_name": "r"}});
        assert_eq!(named(&rds), [] as [&str; 0], "{other}");
    }
}

#[test]
fn route_tables_of_a_listener() {
    let rds = json!({"config_source": {"ads": {}}, "route_config_name": "r"});
    assert_eq!(in_filter(json!({"@type": MANAGER, "rds": rds})), ["rds.route_config_name -> RDS/r"]);
    let api = json!({"@type": LISTENER, "name": "l", "api_listener": {"api_listener": {"@type": MANAGER, "rds": rds}}});
    assert_eq!(named(&api), ["api_listener.api_listener.rds.route_config_name -> RDS/r"]);
    let scopes = json!([{"name": "s", "route_configuration_name": "r"}]);
    let scoped = json!({"name": "x", "scoped_route_configurations_list": {"scoped_route_configurations": scopes}});
    let scope = "scoped_routes.scoped_route_configurations_list.scoped_route_configurations[0]";
    assert_eq!(
        in_filter(json!({"@type": MANAGER, "scoped_routes": scoped})),
        [format!("{scope}.route_configuration_name -> RDS/r")]
    );
    let scope = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration";
    let scope = json!({"@type": scope, "name": "s", "route_configuration_name": "r"});
    assert_eq!(named(&scope), ["route_configuration_name -> RDS/r"]);
}

#[test]
fn clusters_of_a_route() {
    assert_eq!(in_route(json!({"route": {"cluster": "a"}})), ["route.cluster -> CDS/a"]);
    let weighted = json!([{"name": "a", "weight": 1}, {"name": "b"}, {"cluster_header": "x"}]);
    assert_eq!(
        in_route(json!({"route": {"weighted_clusters": {"clusters": weighted}}})),
        ["route.weighted_clusters.clusters[0].name -> CDS/a", "route.weighted_clusters.clusters[1].name -> CDS/b"]
    );
    let mirrors = json!([{"cluster": "m"}, {"cluster_header": "x"}]);
    assert_eq!(
        in_route(json!({"route": {"cluster_header": "x", "request_mirror_policies": mirrors}})),
        ["route.request_mirror_policies[0].cluster -> CDS/m"]
    );
    assert_eq!(in_route(json!({"route": {"cluster_specifier_plugin": "p"}})), [] as [&str; 0]);
    assert_eq!(in_route(json!({"redirect": {"host_redirect": "x"}})), [] as [&str; 0]);
    let inline = json!({"@type": MANAGER, "route_config": {"name": "r", "virtual_hosts": [
        {"name": "h", "domains": ["*"], "routes": [{"route": {"cluster": "a"}}]}]}});
    assert_eq!(in_filter(inline), ["route_config.virtual_hosts[0].routes[0].route.cluster -> CDS/a"]);
}

#[test]
fn a_route_chosen_by_a_matcher_is_found() {
    let route = json!({"@type": "type.googleapis.com/envoy.config.route.v3.Route", "route": {"cluster": "a"}});
    let matcher = json!({"on_no_match": {"action": {"name": "route", "typed_config": route}}});
    let host = json!({"name": "h", "domains": ["*"], "matcher": matcher});
    assert_eq!(
        named(&json!({"@type": ROUTE, "name": "r", "virtual_hosts": [host]})),
        ["virtual_hosts[0].matcher.on_no_match.action.typed_config.route.cluster -> CDS/a"]
    );
}

#[test]
fn clusters_of_the_tcp_proxy() {
    assert_eq!(in_filter(json!({"@type": TCP, "cluster": "a"})), ["cluster -> CDS/a"]);
    let weighted = json!({"clusters": [{"name": "a", "weight": 1}, {"name": "b", "weight": 2}]});
    assert_eq!(
        in_filter(json!({"@type": TCP, "weighted_clusters": weighted})),
        ["weighted_clusters.clusters[0].name -> CDS/a", "weighted_clusters.clusters[1].name -> CDS/b"]
    );
}

#[test]
fn clusters_of_services_that_are_called() {
    let http = "type.googleapis.com/envoy.extensions.filters.http";
    let grpc = json!({"envoy_grpc": {"cluster_name": "s"}});
    let filter = |config: Value| {
        let found = in_filter(json!({"@type": MANAGER, "http_filters": [{"name": "x", "typed_config": config}]}));
        found.iter().map(|r| r.replace("http_filters[0].typed_config.", "")).collect::<Vec<_>>()
    };
    let authz = json!({"@type": format!("{http}.ext_authz.v3.ExtAuthz"), "grpc_service": grpc});
    assert_eq!(filter(authz), ["grpc_service.envoy_grpc.cluster_name -> CDS/s"]);
    let uri = json!({"uri": "http://s", "cluster": "s", "timeout": "1s"});
    let authz = json!({"@type": format!("{http}.ext_authz.v3.ExtAuthz"), "http_service": {"server_uri": uri}});
    assert_eq!(filter(authz), ["http_service.server_uri.cluster -> CDS/s"]);
    let limit =
        json!({"@type": format!("{http}.ratelimit.v3.RateLimit"), "rate_limit_service": {"grpc_service": grpc}});
    assert_eq!(filter(limit), ["rate_limit_service.grpc_service.envoy_grpc.cluster_name -> CDS/s"]);
    let keys = json!({"providers": {"p": {"remote_jwks": {"http_uri": uri}}}});
    let jwt = json!({"@type": format!("{http}.jwt_authn.v3.JwtAuthentication"), "providers": keys["providers"]});
    assert_eq!(filter(jwt), ["providers[\"p\"].remote_jwks.http_uri.cluster -> CDS/s"]);
    let log = "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig";
    let log = json!({"@type": log, "common_config": {"log_name": "l", "grpc_service": grpc}});
    assert_eq!(
        in_filter(json!({"@type": MANAGER, "access_log": [{"name": "a", "typed_config": log}]})),
        ["access_log[0].typed_config.common_config.grpc_service.envoy_grpc.cluster_name -> CDS/s"]
    );
    let zipkin = "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig";
    let zipkin = json!({"@type": zipkin, "collector_cluster": "z"});
    let tracing = json!({"provider": {"name": "t", "typed_config": zipkin}});
    assert_eq!(
        in_filter(json!({"@type": MANAGER, "tracing": tracing})),
        ["tracing.provider.typed_config.collector_cluster -> CDS/z"]
    );
    let google = json!({"google_grpc": {"target_uri": "s:1", "stat_prefix": "s"}});
    let authz = json!({"@type": format!("{http}.ext_authz.v3.ExtAuthz"), "grpc_service": google});
    assert_eq!(filter(authz), [] as [&str; 0]);
}

#[test]
fn per_route_configuration_is_found_in_its_map() {
    let per_route = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute";
    let per_route = json!({"@type": per_route, "check_settings": {
        "grpc_service": {"envoy_grpc": {"cluster_name": "s"}}}});
    assert_eq!(
        in_route(json!({"route": {"cluster": "a"}, "typed_per_filter_config": {"authz": per_route}})),
        [
            "route.cluster -> CDS/a",
            "typed_per_filter_config[\"authz\"].check_settings.grpc_service.envoy_grpc.cluster_name -> CDS/s"
        ]
    );
}

#[test]
fn aggregate_clusters() {
    let config = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig";
    let typed = json!({"@type": config, "clusters": ["a", "b"]});
    let cluster = json!({"@type": CLUSTER, "name": "c", "cluster_type": {"name": "agg", "typed_config": typed}});
    assert_eq!(
        named(&cluster),
        ["cluster_type.typed_config.clusters[0] -> CDS/a", "cluster_type.typed_config.clusters[1] -> CDS/b"]
    );
    let typed = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.AggregateClusterResource";
    let typed = json!({"@type": typed, "config_source": {"ads": {}}, "resource_name": "x"});
    assert_eq!(named(&typed), [format!("resource_name -> {config}/x")]);
}

#[test]
fn secrets() {
    let ads = json!({"ads": {}});
    let context = json!({
        "tls_certificate_sds_secret_configs": [{"name": "own", "sds_config": ads}, {"name": "of-the-bootstrap"}],
        "combined_validation_context": {"validation_context_sds_secret_config": {"name": "ca", "sds_config": ads}}});
    let socket = json!({"name": "tls", "typed_config": {"@type": TLS, "common_tls_context": context}});
    let cluster = json!({"@type": CLUSTER, "name": "c", "transport_socket": socket,
        "transport_socket_matches": [{"name": "m", "transport_socket": socket}]});
    let paths = ["transport_socket_matches[0].transport_socket", "transport_socket"].map(|place| {
        let context = format!("{place}.typed_config.common_tls_context");
        [
            format!("{context}.tls_certificate_sds_secret_configs[0].name -> SDS/own"),
            format!("{context}.combined_validation_context.validation_context_sds_secret_config.name -> SDS/ca"),
        ]
    });
    let mut expected = paths.concat();
    let mut found = named(&cluster);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn extension_configurations() {
    let discovery = json!({"config_source": {"ads": {}}, "type_urls": ["x"]});
    let elsewhere = json!({"config_source": {"path_config_source": {"path": "/a"}}, "type_urls": ["x"]});
    let filters = json!([{"name": "h", "config_discovery": discovery}, {"name": "i", "config_discovery": elsewhere}]);
    assert_eq!(in_filter(json!({"@type": MANAGER, "http_filters": filters})), ["http_filters[0].name -> ECDS/h"]);
    let found = named(
        &json!({"@type": LISTENER, "name": "l", "listener_filters": [{"name": "a", "config_discovery": discovery}],
        "filter_chains": [{"filters": [{"name": "b", "config_discovery": discovery}]}]}),
    );
    assert_eq!(found, ["filter_chains[0].filters[0].name -> ECDS/b", "listener_filters[0].name -> ECDS/a"]);
    let found =
        named(&json!({"@type": CLUSTER, "name": "c", "filters": [{"name": "u", "config_discovery": discovery}]}));
    assert_eq!(found, ["filters[0].name -> ECDS/u"]);
}

#[test]
fn internal_listeners() {
    let endpoints = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
    let address = json!({"envoy_internal_address": {"server_listener_name": "in"}});
    let metadata = json!({"typed_filter_metadata": {"x": {"@type": TCP, "cluster": "only-data"}}});
    let endpoints = json!({"@type": endpoints, "cluster_name": "c", "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": address}, "metadata": metadata}]}]});
    let path = "endpoints[0].lb_endpoints[0].endpoint.address.envoy_internal_address.server_listener_name";
    assert_eq!(named(&endpoints), [format!("{path} -> LDS/in")]);
}
