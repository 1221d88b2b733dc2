//! Whole snapshots, one for each group of nodes: who makes them need not know what changed, and clients hear of the difference
//! only.
//!
//! ```text
//! cargo run -p mesh-xds --example snapshot_store -- 127.0.0.1:15010
//! edge /etc/mesh/edge-7       <- on standard input: nodes whose `cluster` is "edge" see this folder of resources from now on
//! inner /etc/mesh/inner-3
//! edge /etc/mesh/edge-6       <- and back again
//! ```
//!
//! A snapshot takes effect as a whole: what is new in it goes out first, then what refers to it, and what it lacks leaves
//! when no client uses it any more.

use std::{collections::HashMap, error::Error, sync::Arc};

use mesh_xds::{
    Node,
    resources::ResourceDir,
    server::{ListenConfig, XdsServer, serve},
    store::{GroupedViews, Refusal, View},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: snapshot_store XDS_ADDRESS")?;
    let views = GroupedViews::new(|node: &Node| match node.cluster() {
        "" => Err(Refusal::Denied("tell node.cluster".into())),
        group => Ok(group.to_owned()),
    });
    let server = XdsServer::builder(views.clone()).build();
    std::thread::spawn(move || {
        // A group's view lives while somebody holds it: so that snapshots outlive their clients, this does.
        let mut held: HashMap<String, Arc<View>> = HashMap::new();
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let Some((group, folder)) = line.split_once(' ') else {
                eprintln!("GROUP FOLDER");
                continue;
            };
            let view = held.entry(group.to_owned()).or_insert_with(|| views.view(group));
            match show(view, folder) {
                Ok(told) => println!("{group}: {told}"),
                Err(error) => eprintln!("{group}: {error}"),
            }
        }
    });
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(serve(listener, None, server.routes(), ListenConfig::default(), server.stopped()).await?)
}

/// Makes the folder's resources the whole content of the view, unless something is wrong with one of them.
fn show(view: &View, folder: &str) -> Result<String, Box<dyn Error>> {
    let dir = ResourceDir::open(folder)?;
    if let Some(error) = dir.errors().next() {
        return Err(error.clone().into());
    }
    let changed = view.replace(dir.resources());
    Ok(format!("{} changed, {} removed", changed.put.len(), changed.removed.len()))
}
