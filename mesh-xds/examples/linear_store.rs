//! One type, as a plain map from name to resource: a server of endpoints and nothing else, for clients whose clusters come
//! from elsewhere.
//!
//! ```text
//! cargo run -p mesh-xds --example linear_store -- 127.0.0.1:15010
//! reviews 10.0.0.1:9080 10.0.0.2:9080     <- on standard input: the endpoints of a cluster
//! reviews                                 <- none any more: the resource goes
//! ```
//!
//! A line costs what it names, however many clusters there are. Envoy asks with a cluster such as
//!
//! ```yaml
//! name: reviews
//! type: EDS
//! eds_cluster_config:
//!   eds_config:
//!     resource_api_version: V3
//!     api_config_source:
//!       api_type: DELTA_GRPC
//!       transport_api_version: V3
//!       grpc_services: [{ envoy_grpc: { cluster_name: xds } }]
//! ```

use std::{error::Error, net::SocketAddr};

use mesh_xds::{
    Resource, TypeUrl,
    server::{ListenConfig, XdsServer, serve},
    store::{Batch, SingleView, View},
};
use mesh_xds_api::envoy::config::{
    core::v3::{Address, SocketAddress, address, socket_address::PortSpecifier},
    endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: linear_store XDS_ADDRESS")?;
    let view = View::new();
    let server = XdsServer::builder(SingleView(view.clone())).build();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            match change(&line) {
                Ok(batch) => println!("{:?}", view.update(batch)),
                Err(error) => eprintln!("{line}: {error}"),
            }
        }
    });
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(serve(listener, None, server.routes(), ListenConfig::default(), server.stopped()).await?)
}

/// What a line asks for.
fn change(line: &str) -> Result<Batch, Box<dyn Error>> {
    let mut words = line.split_whitespace();
    let name = words.next().ok_or("CLUSTER ADDRESS...")?;
    let addresses: Vec<SocketAddr> = words.map(str::parse).collect::<Result<_, _>>()?;
    if addresses.is_empty() {
        return Ok(Batch::new().remove(TypeUrl::ENDPOINT, name));
    }
    let lb_endpoints = addresses.into_iter().map(endpoint).collect();
    let endpoints = vec![LocalityLbEndpoints { lb_endpoints, ..Default::default() }];
    let assignment = ClusterLoadAssignment { cluster_name: name.to_owned(), endpoints, ..Default::default() };
    Ok(Batch::new().put(Resource::pack(name, &assignment)))
}

fn endpoint(at: SocketAddr) -> LbEndpoint {
    let port_specifier = Some(PortSpecifier::PortValue(at.port().into()));
    let socket = SocketAddress { address: at.ip().to_string(), port_specifier, ..Default::default() };
    let address = Some(Address { address: Some(address::Address::SocketAddress(socket)) });
    let endpoint = Endpoint { address, ..Default::default() };
    LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() }
}
