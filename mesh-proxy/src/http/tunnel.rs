//! Upgraded connections (WebSocket): bytes both ways after `101 Switching Protocols`.

use std::time::Duration;

use http::Response;
use hyper_util::rt::TokioIo;

use super::{manager::Upgrade, stream::Stream};
use crate::{
    tcp::copy::{self, Ended},
    upstream::UpstreamBody,
};

/// Joins the client's and the host's side of an upgrade once both have sent their headers.
pub(super) fn upgraded(
    stream: &mut Stream,
    upgrade: Upgrade,
    response: &mut Response<UpstreamBody>,
    idle: Option<Duration>,
) {
    let host = hyper::upgrade::on(response);
    let stats = &stream.chain.stats;
    stats.cx_upgrades_total.inc();
    let active = stats.cx_upgrades_active.hold();
    tokio::task::spawn_local(async move {
        let _active = active;
        let Ok((client, host)) = tokio::try_join!(upgrade.client, host) else { return };
        let ended = copy::both(TokioIo::new(client), TokioIo::new(host), idle, |_| {}).await;
        if let Ended::Failed(e) = ended {
            tracing::debug!(error = %e, "upgraded connection ended");
        }
    });
}
