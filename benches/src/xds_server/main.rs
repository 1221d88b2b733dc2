//! mesh-xds's server with made-up content, to be measured by `xds-side-by-side` or by any xDS client.
//!
//! What it serves, to every node alike and in cleartext: clusters `cluster-0` to `cluster-(n-1)` of type EDS, and an
//! assignment of m endpoints for each. What changes, the control port says: see [`control`].

mod content;
mod control;
mod resources;

use std::net::Ipv4Addr;

use clap::Parser;
use mesh_xds::{
    server::{ListenConfig, XdsServer, serve},
    store::SingleView,
};
use tokio::net::TcpListener;

use self::content::Content;

#[derive(Debug, Parser)]
struct Args {
    /// Clusters.
    #[arg(long, visible_alias = "n", default_value_t = 1000)]
    clusters: usize,
    /// Endpoints of each.
    #[arg(long, visible_alias = "m", default_value_t = 10)]
    endpoints: usize,
    /// The ADS port.
    #[arg(long, default_value_t = 18000)]
    port: u16,
    /// The control port.
    #[arg(long, default_value_t = 18001)]
    http: u16,
}

/// Connections let in: more than the largest run makes.
const CONNECTIONS: usize = 20_000;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // As many workers as the process may use cores: the harness pins it to one.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let content = Content::new(args.clusters, args.endpoints);
    let server = XdsServer::builder(SingleView(content.view().clone())).build();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await?;
    let control = TcpListener::bind((Ipv4Addr::LOCALHOST, args.http)).await?;
    tokio::spawn(control::run(control, content));
    let config = ListenConfig { max_connections: CONNECTIONS, ..Default::default() };
    serve(listener, None, server.routes(), config, server.stopped()).await?;
    Ok(())
}
