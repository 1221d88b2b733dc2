//! What the rules of the API mean, by cases. Envoy's own verdict on each of them is asked in the workspace's tests.

mod kinds;
mod names;
mod properties;
mod reference;
mod wire;

use prost_reflect::DescriptorPool;
use serde_json::{Value, json};

use super::{MAX_VIOLATIONS, Registry, Violations, Walker, compile};
use crate::json as codec;

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// Path and rule of each violation.
fn told(result: Result<(), Violations>) -> Vec<String> {
    result.err().into_iter().flatten().map(|v| format!("{} {}", v.path, v.rule)).collect()
}

fn check(message: &Value) -> Vec<String> {
    told(super::any(&codec::any_from_value(message).unwrap()))
}

/// The registry of another set, for as long as the test program lives.
fn registry_of(pool: &DescriptorPool) -> &'static Registry {
    let (registry, unknown) = compile::registry(pool);
    assert_eq!(unknown, [] as [&str; 0]);
    Box::leak(Box::new(registry))
}

fn check_with(registry: &'static Registry, name: &str, bytes: &[u8]) -> Vec<String> {
    told(Walker::new(registry).check(name, bytes))
}

#[test]
fn a_sound_cluster_passes() {
    let endpoint = json!({"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}}});
    let cluster = json!({"@type": CLUSTER, "name": "a", "connect_timeout": "1s", "load_assignment": {
        "cluster_name": "a", "endpoints": [{"lb_endpoints": [endpoint], "load_balancing_weight": 1}]}});
    assert_eq!(check(&cluster), [] as [&str; 0]);
}

#[test]
fn every_violation_is_told_with_its_path() {
    let endpoint = json!({"endpoint": {"address": {"socket_address": {"port_value": 65536}}}});
    let cluster = json!({"@type": CLUSTER, "connect_timeout": "0s", "load_assignment": {
        "cluster_name": "a", "endpoints": [{}, {"priority": 129, "lb_endpoints": [endpoint, {"endpoint": {"address": {}}}]}]}});
    let address = "load_assignment.endpoints[1].lb_endpoints[0].endpoint.address.socket_address";
    let expected = [
        "name string.min_len".to_owned(),
        "connect_timeout duration.gt".to_owned(),
        format!("{address}.address string.min_len"),
        format!("{address}.port_value uint32.lte"),
        "load_assignment.endpoints[1].lb_endpoints[1].endpoint.address.address oneof.required".to_owned(),
        "load_assignment.endpoints[1].priority uint32.lte".to_owned(),
    ];
    assert_eq!(check(&cluster), expected);
    let any = codec::any_from_value(&cluster).unwrap();
    let violations = super::any(&any).unwrap_err();
    assert_eq!(violations.as_slice()[3].message, "envoy.config.core.v3.SocketAddress");
    let text = violations.to_string();
    assert!(text.starts_with("envoy.config.cluster.v3.Cluster: name: must not be empty; "), "{text}");
    assert!(text.ends_with("priority: must be <= 128"), "{text}");
}

#[test]
fn unset_is_not_the_same_everywhere() {
    // A wrapper, a message and a member of a oneof have rules only where they are set.
    let unset = json!({"@type": CLUSTER, "name": "a"});
    assert_eq!(check(&unset), [] as [&str; 0]);
    let set = json!({"@type": CLUSTER, "name": "a", "type": 99, "upstream_connection_options": {"happy_eyeballs_config": {}},
        "health_checks": [{"timeout": "1s", "interval": "1s", "unhealthy_threshold": 1, "tcp_health_check": {}}],
        "round_robin_lb_config": {"slow_start_config": {"min_weight_percent": {"value": 101.0}}}});
    let expected = [
        "health_checks[0].healthy_threshold message.required",
        "type enum.defined_only",
        "round_robin_lb_config.slow_start_config.min_weight_percent.value double.lte",
    ];
    assert_eq!(check(&set), expected);
}

#[test]
fn the_content_of_an_any_is_checked_under_its_path() {
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "a", "route_config": {"virtual_hosts": [{"name": "v", "domains": []}]}});
    let foreign = json!({"@type": "type.googleapis.com/google.protobuf.Empty", "value": {}});
    let filters = json!([{"name": "a", "typed_config": foreign}, {"name": "b", "typed_config": manager}, {"name": ""}]);
    let listener =
        json!({"@type": LISTENER, "address": {"pipe": {"path": "/x"}}, "filter_chains": [{"filters": filters}]});
    let expected = [
        "filter_chains[0].filters[1].typed_config.route_config.virtual_hosts[0].domains repeated.min_items",
        "filter_chains[0].filters[2].name string.min_len",
    ];
    assert_eq!(check(&listener), expected);
    let wrapped = json!({"@type": "type.googleapis.com/envoy.service.discovery.v3.Resource", "name": "l",
        "resource": listener});
    assert_eq!(check(&wrapped), expected.map(|e| format!("resource.{e}")));
}

#[test]
fn maps_are_told_by_key() {
    let metadata = json!({"filter_metadata": {"": {}, "ok": {}}, "typed_filter_metadata": {
        "k\"": {"@type": CLUSTER, "name": ""}}});
    let cluster = json!({"@type": CLUSTER, "name": "a", "metadata": metadata});
    let expected = [
        "metadata.filter_metadata[\"\"] map.keys.string.min_len",
        "metadata.typed_filter_metadata[\"k\\\"\"].name string.min_len",
    ];
    assert_eq!(check(&cluster), expected);
}

#[test]
fn no_more_are_told_than_anyone_reads() {
    let check = json!({"timeout": "1s"});
    let cluster = json!({"@type": CLUSTER, "name": "a", "health_checks": vec![check; 100]});
    let violations = super::any(&codec::any_from_value(&cluster).unwrap()).unwrap_err();
    assert_eq!((violations.as_slice().len(), violations.is_truncated()), (MAX_VIOLATIONS, true));
    assert!(violations.to_string().ends_with("; and perhaps more"));
}

#[test]
fn a_type_that_is_not_known_has_no_rules() {
    assert_eq!(super::bytes("acme.Thing", &[0xff]), Ok(()));
    assert_eq!(super::message(&crate::google::protobuf::Any::default()), Ok(()));
    let inside = crate::google::protobuf::Any { type_url: CLUSTER.into(), value: Default::default() };
    assert_eq!(told(super::message(&inside)), ["name string.min_len"]);
}
