//! Proxy-less gRPC: an xDS server for gRPC's own clients. `xds:///greeter` is whatever backends the arguments name:
//! `cargo run -p mesh-xds --example proxyless -- 127.0.0.1:50051 127.0.0.1:50052`
//!
//! A client needs a bootstrap, `bootstrap.json`, whose path is in `GRPC_XDS_BOOTSTRAP`:
//!
//! ```json
//! {
//!   "xds_servers": [{"server_uri": "127.0.0.1:15010", "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}],
//!   "node": {"id": "client-1", "locality": {"region": "here"}}
//! }
//! ```
//!
//! and the target. In Python, with `greeter_pb2_grpc` made from gRPC's `helloworld.proto`:
//!
//! ```python
//! import grpc, helloworld_pb2, helloworld_pb2_grpc
//! with grpc.insecure_channel("xds:///greeter") as channel:
//!     stub = helloworld_pb2_grpc.GreeterStub(channel)
//!     for _ in range(10):
//!         print(stub.SayHello(helloworld_pb2.HelloRequest(name="you")).message)
//! ```

use std::{error::Error, net::SocketAddr};

use mesh_xds::{
    Resource,
    server::{ListenConfig, StreamEvent, StreamInfo, XdsServer, serve},
    store::{SingleView, View},
};
use mesh_xds_api::json::{any_from_value, value_from_yaml};
use serde_json::json;

/// What gRPC asks for, one after the other: listener, routes, cluster, and endpoints.
const GREETER: &str = r#"
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: greeter
  api_listener:
    api_listener:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: greeter
      rds: {route_config_name: greeter, config_source: {ads: {}, resource_api_version: V3}}
      http_filters:
      - name: router
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
- "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
  name: greeter
  virtual_hosts:
  - name: greeter
    domains: ["*"]
    routes: [{match: {prefix: ""}, route: {cluster: greeter}}]
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: greeter
  type: EDS
  eds_cluster_config: {eds_config: {ads: {}, resource_api_version: V3}}
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backends = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<Vec<SocketAddr>, _>>()?;
    let mut messages = value_from_yaml(GREETER)?.as_array().cloned().unwrap_or_default();
    let endpoints = backends.iter().map(|backend| {
        let address = json!({"address": backend.ip().to_string(), "port_value": backend.port()});
        json!({"endpoint": {"address": {"socket_address": address}}})
    });
    // gRPC passes over localities without a weight.
    let locality = json!({"region": "here"});
    messages.push(json!({
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": "greeter",
        "endpoints": [{"locality": locality, "load_balancing_weight": 1, "lb_endpoints": endpoints.collect::<Vec<_>>()}],
    }));
    let resources = messages.iter().map(|message| Ok(Resource::from_any(any_from_value(message)?)?));
    let view = View::new();
    view.replace(resources.collect::<Result<Vec<_>, Box<dyn Error>>>()?);

    let server = XdsServer::builder(SingleView(view))
        .observer(|stream: &StreamInfo, event: &StreamEvent| println!("{} {event:?}", stream.node.id()))
        .build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:15010").await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, None, server.routes(), ListenConfig::default(), server.stopped()).await?;
    Ok(())
}
