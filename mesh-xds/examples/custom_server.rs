//! A custom xDS server that drives Envoy: who answers is told on standard input, and Envoy follows without a dropped request.
//!
//! ```text
//! cargo run -p mesh-xds --example custom_server -- 127.0.0.1:15010 127.0.0.1:10000     # xDS, and where Envoy is to listen
//! envoy -c bootstrap.yaml
//! curl 127.0.0.1:10000      # after a line such as `127.0.0.1:8080 127.0.0.1:8081` on standard input; the next line replaces it
//! ```
//!
//! What each proxy was sent, and what it answered, is printed. `bootstrap.yaml`, state of the world or delta as you like
//! (`api_type: GRPC`):
//!
//! ```yaml
//! node: { id: a-proxy, cluster: examples }
//! dynamic_resources:
//!   ads_config:
//!     api_type: DELTA_GRPC
//!     transport_api_version: V3
//!     grpc_services: [{ envoy_grpc: { cluster_name: xds } }]
//!   cds_config: { ads: {}, resource_api_version: V3 }
//!   lds_config: { ads: {}, resource_api_version: V3 }
//! static_resources:
//!   clusters:
//!   - name: xds
//!     type: STATIC
//!     typed_extension_protocol_options:
//!       envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
//!         "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
//!         explicit_http_config: { http2_protocol_options: {} }
//!     load_assignment:
//!       cluster_name: xds
//!       endpoints:
//!       - lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 15010 } } } }]
//! ```

use std::{error::Error, io::stdin, net::SocketAddr, thread};

use mesh_xds::{
    Resource,
    server::{ListenConfig, StreamEvent, StreamInfo, XdsServer, serve},
    store::{Batch, SingleView, View},
};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addresses = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<Vec<SocketAddr>, _>>()?;
    let [xds, proxy] = addresses[..] else { return Err("usage: custom_server XDS_ADDRESS PROXY_ADDRESS".into()) };
    let eds = json!({ "eds_config": { "ads": {}, "resource_api_version": "V3" } });
    let cluster = json!({ "name": "app", "type": "EDS", "eds_cluster_config": eds });
    let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "app" } });
    let router = json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" });
    let filter = json!({ "name": "http", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front", "http_filters": [{ "name": "router", "typed_config": router }],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] } } });
    let listener = json!({ "name": "front", "filter_chains": [{ "filters": [filter] }], "address": address(proxy) });
    let view = View::new();
    let all = [resource("cluster.v3.Cluster", cluster)?, endpoints("")?, resource("listener.v3.Listener", listener)?];
    view.replace(all);
    let log = |stream: &StreamInfo, event: &StreamEvent| println!("{} {event:?}", stream.node.id());
    let server = XdsServer::builder(SingleView(view.clone())).observer(log).build();
    thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            println!("{:?}", endpoints(&line).map(|endpoints| view.update(Batch::new().put(endpoints))));
        }
    });
    let listener = tokio::net::TcpListener::bind(xds).await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(serve(listener, None, server.routes(), ListenConfig::default(), server.stopped()).await?)
}

fn endpoints(addresses: &str) -> Result<Resource, Box<dyn Error>> {
    let of = |text: &str| text.parse().map(|at| json!({ "endpoint": { "address": address(at) } }));
    let all = json!([{ "lb_endpoints": addresses.split_whitespace().map(of).collect::<Result<Vec<_>, _>>()? }]);
    resource("endpoint.v3.ClusterLoadAssignment", json!({ "cluster_name": "app", "endpoints": all }))
}
fn resource(kind: &str, mut message: Value) -> Result<Resource, Box<dyn Error>> {
    message["@type"] = format!("type.googleapis.com/envoy.config.{kind}").into();
    Ok(Resource::from_any(mesh_xds_api::json::any_from_value(&message)?)?)
}
fn address(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip(), "port_value": at.port() } })
}
