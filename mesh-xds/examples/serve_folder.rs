//! An xDS server over a folder of resources: `cargo run -p mesh-xds --example serve_folder -- DIR 127.0.0.1:15010`.
//!
//! Point an Envoy or a gRPC client at it, edit the folder, and see who took what.

use std::{error::Error, time::Duration};

use mesh_xds::{
    resources::ResourceDir,
    server::{ListenConfig, StreamEvent, StreamInfo, XdsServer, serve},
    store::{SingleView, View},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: serve_folder DIR ADDRESS".into());
    };
    let view = View::new();
    let server = XdsServer::builder(SingleView(view.clone()))
        .observer(|stream: &StreamInfo, event: &StreamEvent| println!("{} {event:?}", stream.node.id()))
        .build();
    let dir = ResourceDir::open(folder)?;
    tokio::spawn(dir.follow(view, Duration::from_millis(200), |dir, changed| {
        println!("{} changed, {} removed", changed.put.len(), changed.removed.len());
        dir.errors().for_each(|error| eprintln!("{error}"));
    }));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, None, server.routes(), ListenConfig::default(), server.stopped()).await?;
    Ok(())
}
