//! xDS-enabled servers (A36).

use std::net::SocketAddr;

use mesh_xds::{Resource, TypeUrl, store::Batch};
use serde_json::{Value, json};

use crate::{
    grpc::Implementation,
    resources::{FILTERS, resource, router},
    world::{NODE, World, plaintext},
};

with_every! {
    a_server_serves_while_it_has_a_listener: Core Node Go;
}

/// How a server's listener is named, in bootstraps.
pub(crate) const TEMPLATE: &str = "grpc/server?xds.resource.listening_address=%s";

/// The listener of a server at an address: one filter chain for everything, with further fields.
pub(crate) fn listener(address: &str, fields: &Value) -> Resource {
    let host =
        json!({"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": ""}, "non_forwarding_action": {}}]});
    let manager = json!({
        "@type": format!("{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "inbound",
        "route_config": {"name": "inbound", "virtual_hosts": [host]}, "http_filters": [router()],
    });
    let mut chain = json!({"name": "all", "filters": [{"name": "http", "typed_config": manager}]});
    chain.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let socket: SocketAddr = address.parse().unwrap();
    resource(&json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": TEMPLATE.replace("%s", address),
        "address": {"socket_address": {"address": socket.ip().to_string(), "port_value": socket.port()}},
        "filter_chains": [chain],
    }))
}

fn a_server_serves_while_it_has_a_listener(implementation: Implementation) {
    let world = World::new();
    let fields = json!({
        "xds_servers": [plaintext(world.management.address)], "server_listener_resource_name_template": TEMPLATE,
    });
    let mut process = world.client_with(implementation, &fields);
    let address = process.serve("a");
    let made = listener(&address, &json!({}));
    let name = made.name().as_str().to_owned();
    process.open("early", &address);
    let error = process.fails("early");
    assert!(error.starts_with("UNAVAILABLE"), "{error}");

    world.update(Batch::new().put(made));
    process.reaches("early", &["a"]);
    world.management.until(NODE, &TypeUrl::LISTENER, &name, Some("ACKED"));

    world.update(Batch::new().remove(TypeUrl::LISTENER, name.as_str()));
    let error = process.fails("early");
    assert!(error.starts_with("UNAVAILABLE"), "{error}");
}
