//! Envoy as data plane.

use std::{path::Path, process::Stdio};

use anyhow::Context as _;
use serde_json::Value;
use tokio::process::Command;

use crate::{
    cli::SidecarArgs,
    command::{self, terminate},
    net,
};

/// Runs Envoy until this process is asked to end; then Envoy is asked too and drains.
pub(super) async fn run(binary: &Path, bootstrap: &Value, state: &Path, args: &SidecarArgs) -> anyhow::Result<()> {
    let file = state.join("envoy.json");
    net::write_atomically(&file, bootstrap.to_string().as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))?;
    let mut envoy = Command::new(binary);
    envoy.arg("-c").arg(&file).args(["--disable-hot-restart", "--log-level", "warning"]);
    envoy.arg("--drain-time-s").arg(args.drain_time.as_secs().max(1).to_string());
    if let Some(concurrency) = args.concurrency {
        envoy.arg("--concurrency").arg(concurrency.to_string());
    }
    let mut child = envoy
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start --envoy {}", binary.display()))?;
    tokio::select! {
        status = child.wait() => {
            let status = status.context("cannot wait for Envoy")?;
            anyhow::bail!("Envoy ended by itself with {status}; its log says why");
        }
        () = command::told_to_end(args.end) => {}
    }
    if let Some(id) = child.id() {
        terminate(id).await;
    }
    if tokio::time::timeout(args.drain_time, child.wait()).await.is_err() {
        tracing::info!("Envoy did not end in --drain-time and is killed");
    }
    Ok(())
}
