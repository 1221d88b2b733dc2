//! `mesh proxy`.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use mesh_proxy::{Proxy, ProxyBuilder, config::Bootstrap, filters};
use tokio::signal::unix::{SignalKind, signal};

use super::{asked_to_end, block_on};
use crate::{
    cli::{ProxyArgs, ProxyMode},
    exit, net,
};

/// How long what is under way may take at the end, at most.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// Only the data plane, from an Envoy v3 bootstrap.
pub(crate) fn proxy(args: ProxyArgs) -> anyhow::Result<u8> {
    let path = args.config_path.display();
    let mut bootstrap =
        Bootstrap::load(&args.config_path, &filters::builtin()).with_context(|| format!("bootstrap {path}"))?;
    if let Some(id) = args.service_node {
        bootstrap.node.id = id;
    }
    if let Some(cluster) = args.service_cluster {
        bootstrap.node.cluster = cluster;
    }
    let drain_time = Duration::from_secs(args.drain_time_s);
    let mut builder = Proxy::builder(bootstrap).drain_time(drain_time).shutdown_time(drain_time.min(SHUTDOWN));
    if let Some(workers) = args.concurrency {
        builder = builder.concurrency(workers);
    }
    if args.mode == ProxyMode::Validate {
        builder.build()?;
        println!("configuration '{path}' OK");
        return Ok(exit::OK);
    }
    block_on(run(builder, args.admin_address_path.as_deref()))
}

async fn run(builder: ProxyBuilder, admin_address_path: Option<&std::path::Path>) -> anyhow::Result<u8> {
    let proxy = builder.build()?;
    let handle = proxy.handle();
    if let (Some(path), Some(address)) = (admin_address_path, handle.admin_address()) {
        net::write_atomically(path, address.to_string().as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    tokio::spawn(reopen_logs(handle));
    proxy.run(asked_to_end()).await?;
    Ok(exit::OK)
}

/// SIGUSR1 opens access logs again under their names, as in Envoy.
async fn reopen_logs(handle: mesh_proxy::ProxyHandle) {
    let Ok(mut rotated) = signal(SignalKind::user_defined1()) else {
        tracing::warn!("SIGUSR1 cannot be handled: access logs are not reopened");
        return;
    };
    while rotated.recv().await.is_some() {
        handle.reopen_logs();
    }
}

/// Runs the data plane of a sidecar until `end`.
pub(crate) async fn run_sidecar(
    bootstrap: serde_json::Value,
    secrets: (&str, Arc<dyn mesh_proxy::tls::SecretSource>),
    concurrency: Option<usize>,
    drain_time: Duration,
    end: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let bootstrap = Bootstrap::from_value(bootstrap, &filters::builtin()).context("the sidecar's own bootstrap")?;
    let mut builder =
        Proxy::builder(bootstrap).secret_source(secrets.0, secrets.1).drain_time(drain_time).shutdown_time(drain_time);
    if let Some(workers) = concurrency {
        builder = builder.concurrency(workers);
    }
    builder.build()?.run(end).await?;
    Ok(())
}
