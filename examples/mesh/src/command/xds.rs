//! `mesh xds`.

use std::time::Duration;

use anyhow::Context as _;
use mesh_xds::{
    resources::ResourceDir,
    server::{ListenConfig, XdsServer, serve},
    store::{Changed, SingleView, View},
};

use super::{asked_to_end, block_on};
use crate::{cli::XdsArgs, exit, net};

/// How often the folder is looked at.
const PERIOD: Duration = Duration::from_millis(200);

/// References to nothing that are logged one by one.
const MAX_TOLD: usize = 20;

/// Serves a folder of resources to every client alike: ADS and each service alone, both variants.
pub(crate) fn xds(args: XdsArgs) -> anyhow::Result<u8> {
    block_on(serve_folder(args))
}

async fn serve_folder(args: XdsArgs) -> anyhow::Result<u8> {
    let folder = ResourceDir::open(&args.resources)
        .with_context(|| format!("--resources {} is no folder that can be read", args.resources.display()))?;
    let listener = net::bind(args.listen, "--listen").await?;
    let listen = listener.local_addr()?;
    let view = View::new();
    // Filled before the first client is let in, so that nobody sees a part of it.
    view.replace(folder.resources());
    tell(&folder, &Changed::default());
    tokio::spawn(folder.follow(view.clone(), PERIOD, tell));
    let server = XdsServer::builder(SingleView(view)).build();
    if let Some(path) = &args.addresses_path {
        let text = serde_json::json!({ "listen": listen }).to_string();
        net::write_atomically(path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    tracing::info!(%listen, folder = %args.resources.display(), "serving xDS without TLS");
    tokio::spawn({
        let server = server.clone();
        async move {
            asked_to_end().await;
            server.shutdown();
        }
    });
    serve(listener, None, server.routes(), ListenConfig::default(), server.stopped()).await.context("xDS server")?;
    Ok(exit::OK)
}

/// Logs what is in force after a change of the folder.
fn tell(folder: &ResourceDir, changed: &Changed) {
    tracing::info!(put = changed.put.len(), removed = changed.removed.len(), "resources read");
    for error in folder.errors() {
        tracing::error!(%error, "resources: what the file gave last stays in force");
    }
    let dangling = folder.dangling();
    for dangling in dangling.iter().take(MAX_TOLD) {
        tracing::warn!(%dangling, "resources: a reference leads to nothing, unless the client has it from its bootstrap");
    }
    if dangling.len() > MAX_TOLD {
        tracing::warn!(more = dangling.len() - MAX_TOLD, "resources: more references lead to nothing");
    }
}
