//! Several producers, each with resources of its own, behind one server: endpoints that change all the time and certificates
//! that are made elsewhere need not be gathered into one snapshot with the rest.
//!
//! ```text
//! cargo run -p mesh-xds --example multiplexed_store -- 127.0.0.1:15010 clusters/ endpoints/ secrets/
//! ```
//!
//! Each folder is a producer with its own pace. Each puts and removes what is its own, and leaves the others' alone. What the
//! server does with the changes is the same as if they came from one: a cluster goes out before the route to it, whoever
//! told first.

use std::{collections::HashSet, error::Error, sync::Arc, time::Duration};

use mesh_xds::{
    Resource, ResourceKey,
    resources::ResourceDir,
    server::{ListenConfig, XdsServer, serve},
    store::{Batch, Changed, SingleView, View},
};

/// How often a producer looks for news.
const PACE: Duration = Duration::from_millis(500);

/// One producer's part of a view.
struct Part {
    view: Arc<View>,
    own: HashSet<ResourceKey>,
}

impl Part {
    fn of(view: &Arc<View>) -> Self {
        Self { view: view.clone(), own: HashSet::new() }
    }

    /// Makes `resources` all that this producer has.
    fn replace(&mut self, resources: Vec<Resource>) -> Changed {
        let next: HashSet<ResourceKey> = resources.iter().map(Resource::key).collect();
        let mut batch: Batch = resources.into_iter().collect();
        for gone in self.own.difference(&next) {
            batch = batch.remove(gone.type_url.clone(), gone.name.clone());
        }
        self.own = next;
        self.view.update(batch)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: multiplexed_store XDS_ADDRESS FOLDER...")?;
    let view = View::new();
    for folder in arguments {
        tokio::spawn(produce(Part::of(&view), ResourceDir::open(&folder)?, folder));
    }
    let server = XdsServer::builder(SingleView(view)).build();
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(serve(listener, None, server.routes(), ListenConfig::default(), server.stopped()).await?)
}

/// Publishes a folder, and again whenever something in it is different. A file that cannot be read keeps what it last gave.
async fn produce(mut part: Part, mut dir: ResourceDir, folder: String) {
    loop {
        let changed = part.replace(dir.resources());
        println!("{folder}: {} changed, {} removed", changed.put.len(), changed.removed.len());
        dir.errors().for_each(|error| eprintln!("{error}"));
        while !dir.scan() {
            tokio::time::sleep(PACE).await;
        }
    }
}
