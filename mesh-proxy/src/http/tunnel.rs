//! Upgraded connections (WebSocket, `CONNECT`): bytes both ways after the answer.

use std::time::Duration;

use http::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::{manager::Upgrade, stream::Stream};
use crate::{
    filter::ResponseFlags,
    tcp::copy::{self, Ended, Moved},
    upstream::UpstreamBody,
};

/// Both sides of an upgrade, and how long it may be quiet.
pub(super) struct Tunnel {
    client: OnUpgrade,
    host: OnUpgrade,
    idle: Option<Duration>,
}

impl Tunnel {
    /// The client's side, and the host's side out of its answer.
    pub(super) fn new(upgrade: Upgrade, response: &mut Response<UpstreamBody>, idle: Option<Duration>) -> Self {
        Self { client: upgrade.client, host: hyper::upgrade::on(response), idle }
    }

    /// Carries bytes once both sides have their headers. The stream ends with it.
    pub(super) fn spawn(self, mut stream: Box<Stream>) {
        let stats = &stream.chain.stats;
        stats.cx_upgrades_total.inc();
        let active = stats.cx_upgrades_active.hold();
        tokio::task::spawn_local(async move {
            let _active = active;
            let Ok((client, host)) = tokio::try_join!(self.client, self.host) else { return };
            let info = &mut stream.info;
            let ended = copy::both(TokioIo::new(client), TokioIo::new(host), self.idle, |moved| match moved {
                Moved::Forward(n) => info.bytes_received += n as u64,
                Moved::Back(n) => info.bytes_sent += n as u64,
            })
            .await;
            match ended {
                Ended::Closed => {}
                Ended::Idle => info.flags.insert(ResponseFlags::STREAM_IDLE_TIMEOUT),
                Ended::Failed(e) => tracing::debug!(error = %e, "upgraded connection ended"),
            }
            stream.complete = true;
        });
    }
}
