//! Resources as gRPC understands them, in protobuf's JSON form.

use std::net::SocketAddr;

use mesh_xds::Resource;
use mesh_xds_api::json::any_from_value;
use serde_json::{Value, json};

const CONFIG: &str = "type.googleapis.com/envoy.config";
pub(crate) const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters";

/// The resource of a message with its `@type`.
pub(crate) fn resource(message: &Value) -> Resource {
    Resource::from_any(any_from_value(message).unwrap()).unwrap()
}

fn ads() -> Value {
    json!({"ads": {}, "resource_api_version": "V3"})
}

pub(crate) fn router() -> Value {
    json!({"name": "router", "typed_config": {"@type": format!("{FILTERS}.http.router.v3.Router")}})
}

/// An API listener whose routes come by RDS.
pub(crate) fn listener(name: &str, routes: &str) -> Resource {
    resource(&json!({
        "@type": format!("{CONFIG}.listener.v3.Listener"), "name": name,
        "api_listener": {"api_listener": {
            "@type": format!("{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": name,
            "rds": {"route_config_name": routes, "config_source": ads()},
            "http_filters": [router()],
        }},
    }))
}

/// Routes of one virtual host for everything.
pub(crate) fn routes(name: &str, routes: &Value) -> Resource {
    resource(&json!({
        "@type": format!("{CONFIG}.route.v3.RouteConfiguration"), "name": name,
        "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
    }))
}

/// Everything to one cluster.
pub(crate) fn route_to(name: &str, cluster: &str) -> Resource {
    routes(name, &json!([{"match": {"prefix": ""}, "route": {"cluster": cluster}}]))
}

/// A cluster whose endpoints come by EDS under `endpoints`, with further fields.
pub(crate) fn cluster_with(name: &str, endpoints: &str, fields: &Value) -> Resource {
    let mut message = json!({
        "@type": format!("{CONFIG}.cluster.v3.Cluster"), "name": name, "type": "EDS", "lb_policy": "ROUND_ROBIN",
        "eds_cluster_config": {"eds_config": ads(), "service_name": endpoints},
    });
    message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    resource(&message)
}

/// A cluster whose endpoints come by EDS under its own name.
pub(crate) fn cluster(name: &str) -> Resource {
    cluster_with(name, name, &json!({}))
}

/// Endpoints, one locality for each priority.
pub(crate) fn endpoints_by_priority(name: &str, priorities: &[&[SocketAddr]]) -> Resource {
    let endpoint = |a: &SocketAddr| json!({"endpoint": {"address": {"socket_address": {"address": a.ip().to_string(), "port_value": a.port()}}}});
    let localities = priorities.iter().enumerate().map(|(priority, addresses)| {
        json!({
            "locality": {"region": "r", "zone": format!("z{priority}")}, "load_balancing_weight": 1, "priority": priority,
            "lb_endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
        })
    });
    resource(&json!({
        "@type": format!("{CONFIG}.endpoint.v3.ClusterLoadAssignment"), "cluster_name": name,
        "endpoints": localities.collect::<Vec<_>>(),
    }))
}

/// Endpoints of one locality.
pub(crate) fn endpoints(name: &str, addresses: &[SocketAddr]) -> Resource {
    endpoints_by_priority(name, &[addresses])
}
