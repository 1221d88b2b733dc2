//! `mesh sidecar`: agent and data plane for one workload.
//!
//! The agent gets an identity and keeps it fresh; the data plane is configured by the control plane, over TLS with that
//! identity. The built-in data plane takes keys from the agent within this process; a foreign one (Envoy) takes them by SDS
//! from a Unix socket that only this user may open, as it would from Istio's agent.

mod bootstrap;
mod envoy;
mod identity;
mod secrets;
mod status;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;

use crate::{cli::SidecarArgs, command, exit, net};

/// How long the first certificate may take before the agent says what it waits for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs until asked to end.
pub(crate) fn run(args: SidecarArgs) -> anyhow::Result<u8> {
    command::block_on(sidecar(args))
}

async fn sidecar(args: SidecarArgs) -> anyhow::Result<u8> {
    let status = net::bind(args.status, "--status").await?;
    let (state, _temporary) = state_folder(&args)?;
    let trust_domain = identity::trust_domain(&args)?;
    let identity = identity::start(&args, trust_domain.clone())?;
    let watch = identity.watch();
    tokio::spawn(status::serve(status, watch.clone(), args.admin));
    while tokio::time::timeout(PATIENCE, watch.ready()).await.is_err() {
        let state = watch.state();
        let reason = state.last_error.as_deref().unwrap_or("no answer yet");
        tracing::warn!(control_plane = args.control_plane, reason, "still without a certificate; trying again");
    }
    let socket = state.join("sds.sock");
    let bootstrap = bootstrap::bootstrap(&args, &socket)?;
    let ended = match &args.envoy {
        Some(binary) => {
            secrets::serve_sds(&socket, trust_domain, &watch)?;
            envoy::run(binary, &bootstrap, &state, &args).await
        }
        None => {
            let secrets = Arc::new(secrets::IdentitySecrets::new(watch, trust_domain));
            let end = command::told_to_end(args.end);
            command::run_sidecar(bootstrap, (bootstrap::SDS, secrets), args.concurrency, args.drain_time, end).await
        }
    };
    ended?;
    Ok(exit::OK)
}

/// Where sockets and files of the data plane are; the guard removes a folder that was made for it.
fn state_folder(args: &SidecarArgs) -> anyhow::Result<(PathBuf, Option<tempfile::TempDir>)> {
    let Some(folder) = &args.state else {
        let made =
            tempfile::Builder::new().prefix("mesh-sidecar-").tempdir().context("cannot make a folder for sockets")?;
        return Ok((made.path().to_owned(), Some(made)));
    };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make {}: choose another folder with --state", folder.display()))?;
    Ok((folder.clone(), None))
}
