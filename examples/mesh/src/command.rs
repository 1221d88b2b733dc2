//! The commands but for `demo`, one file each.

mod analyze;
mod ca;
mod diff;
mod explain;
mod input;
mod proxy;
mod rotate;
mod status;
mod translate;
mod validate;
mod xds;

use std::{future::Future, io::Read as _, process::Stdio};

pub(crate) use self::{
    analyze::analyze,
    ca::{ca_root, ca_token, ca_verify, prepare_authority},
    diff::diff,
    explain::explain,
    proxy::{proxy, run_sidecar},
    rotate::{ca_revoke, ca_rotate},
    status::{proxy_config, proxy_status},
    translate::translate,
    validate::validate,
    xds::xds,
};
use crate::cli::EndArgs;
pub(crate) use crate::{control_plane::run as control_plane, sidecar::run as sidecar};

/// Runs a future to its end on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(future)
}

/// Ready when the process is asked to end, or was to end with its standard input and that is closed.
pub(crate) async fn told_to_end(args: EndArgs) {
    if !args.end_with_stdin {
        return asked_to_end().await;
    }
    let (closed, is_closed) = tokio::sync::oneshot::channel::<()>();
    // A thread of its own: it blocks until the end, and ends with the process.
    std::thread::spawn(move || {
        let (mut input, mut buffer) = (std::io::stdin().lock(), [0; 256]);
        // Whatever is written there has no meaning.
        while input.read(&mut buffer).is_ok_and(|n| n > 0) {}
        drop(closed);
    });
    tokio::select! {
        _ = is_closed => {}
        () = asked_to_end() => {}
    }
}

/// Ready when the process is asked to end (Ctrl-C or SIGTERM).
pub(crate) async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be handled: only Ctrl-C ends this process gracefully");
            drop(tokio::signal::ctrl_c().await);
        }
    }
}

/// Sends SIGTERM, by the system's own `kill`: sending signals needs `unsafe`, which this program forbids.
pub(crate) async fn terminate(id: u32) {
    let mut kill = tokio::process::Command::new("kill");
    let sent = kill.arg(id.to_string()).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    if !sent.is_ok_and(|s| s.success()) {
        tracing::debug!(id, "could not be signalled; it may have ended already");
    }
}
