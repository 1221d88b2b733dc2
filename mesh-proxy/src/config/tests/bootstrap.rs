use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    config::{Bootstrap, LoadError},
    filter::FilterRegistry,
    model::{Address, ConfigSource},
};

fn load(text: &str) -> Result<Bootstrap, LoadError> {
    Bootstrap::from_text(text, &FilterRegistry::empty())
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn cluster(name: &str, http2: bool) -> Value {
    let mut cluster = json!({"name": name, "type": "STATIC", "lb_policy": "ROUND_ROBIN", "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(1)}}]}]}});
    if http2 {
        cluster["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}}}});
    }
    cluster
}

/// The shape of the bootstraps that the side-by-side benches run: many virtual hosts, one connection manager.
#[test]
fn many_routes() {
    let hosts: Vec<Value> = (0..100)
        .map(|i| {
            let routes: Vec<Value> =
                (0..10).map(|k| json!({"match": {"prefix": format!("/r{k}/")}, "route": {"cluster": "svc"}})).collect();
            json!({"name": format!("v{i}"), "domains": [format!("svc{i}.bench.local")], "routes": routes})
        })
        .collect();
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front", "codec_type": "HTTP2", "route_config": {"name": "r", "virtual_hosts": hosts},
        "http_filters": [{"name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]});
    let listener = json!({"name": "l", "address": address(0), "filter_chains": [{"filters": [
        {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]});
    let bootstrap = json!({"static_resources": {"listeners": [listener], "clusters": [cluster("svc", true)]}});
    let found = Bootstrap::from_value(bootstrap, &FilterRegistry::empty()).unwrap();
    assert_eq!((found.listeners.len(), found.clusters.len()), (1, 1));
}

const DYNAMIC: &str = "
node: {id: node-1, cluster: c, metadata: {a: 1}}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 15000}}}
layered_runtime:
  layers:
  - {name: deprecation, static_layer: {envoy.reloadable_features.x: true, re2.max_program_size.error_level: 32768}}
  - {name: global, static_layer: {overload: {global_downstream_max_connections: '2147483647'}}}
  - {name: admin, admin_layer: {}}
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services: [{envoy_grpc: {cluster_name: xds-grpc}}]
  lds_config: {ads: {}, initial_fetch_timeout: 0s, resource_api_version: V3}
  cds_config: {path_config_source: {path: /tmp/cds.yaml}}
static_resources:
  clusters: [{name: xds-grpc, type: STRICT_DNS, http2_protocol_options: {}}]
";

#[test]
fn dynamic() {
    let found = load(DYNAMIC).unwrap();
    assert_eq!(found.admin, Some(Address::Tcp("127.0.0.1:15000".parse().unwrap())));
    assert_eq!(found.ads, Some(ConfigSource::Grpc { cluster: "xds-grpc".into(), delta: true }));
    assert_eq!(found.lds, Some((ConfigSource::Ads, Duration::ZERO)));
    assert_eq!(found.cds, Some((ConfigSource::File("/tmp/cds.yaml".into()), Duration::from_secs(15))));
}

#[test]
fn errors_tell_the_place() {
    for (text, error) in [
        ("admin: [", "not readable as YAML or JSON"),
        ("adimn: {}", "envoy.config.bootstrap.v3.Bootstrap has no field \"adimn\""),
        (
            "static_resources: {clusters: [{name: a}, {name: b, nmae: x}]}",
            "static_resources.clusters[1]: envoy.config.cluster.v3.Cluster has no field \"nmae\"",
        ),
        ("static_resources: {clusters: [{connect_timeout: 5}]}", "static_resources.clusters[0].connect_timeout: "),
        ("static_resources: {clusters: [{name: a, type: FOO}]}", "static_resources.clusters[0].type: "),
        (
            "static_resources: {listeners: [{filter_chains: [{filters: [{typed_config: {'@type': x/acme.X}}]}]}]}",
            "static_resources.listeners[0].filter_chains[0].filters[0].typed_config: unknown message type \"acme.X\"",
        ),
        (
            "static_resources: {clusters: [{name: a, health_checks: [{}]}]}",
            "envoy.config.cluster.v3.Cluster \"a\": static_resources.clusters[0].health_checks[0]: is not carried",
        ),
        (
            "static_resources: {clusters: [{name: a}, {name: a}]}",
            "envoy.config.cluster.v3.Cluster \"a\": static_resources.clusters[1].name: a: there is another one",
        ),
        ("stats_sinks: [{}]", "envoy.config.bootstrap.v3.Bootstrap \"\": stats_sinks[0]: is not carried"),
        (
            "layered_runtime: {layers: [{static_layer: {health_check.min_interval: 5}}]}",
            "layers[0].static_layer: runtime key",
        ),
        (
            "{node: {id: node-1}, dynamic_resources: {ads_config: {api_type: GRPC, grpc_services: [{envoy_grpc: \
             {cluster_name: nowhere}}]}}}",
            "dynamic_resources.ads_config: unknown gRPC client cluster 'nowhere'",
        ),
        ("dynamic_resources: {lds_config: {ads: {}}}", "dynamic_resources.lds_config: names ads"),
    ] {
        let found = load(text).unwrap_err().to_string();
        assert!(found.contains(error), "{text}: {found}");
    }
    assert!(load("").is_ok());
    let missing = Bootstrap::load(std::path::Path::new("/nowhere.yaml"), &FilterRegistry::empty()).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read /nowhere.yaml: "));
}
