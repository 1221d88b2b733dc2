//! Upgraded connections (WebSocket, `CONNECT`): bytes both ways after the answer.

use std::{future::Future, io, pin::Pin, time::Duration};

use http::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::{manager::Upgrade, stream::Stream};
use crate::{
    dial::UpstreamStream,
    filter::ResponseFlags,
    tcp::copy::{self, Ended, Moved},
    upstream::{HostTunnel, UpstreamBody},
};

/// Both sides of an upgrade, and how long it may be quiet.
pub(super) struct Tunnel {
    client: OnUpgrade,
    host: Host,
    idle: Option<Duration>,
}

/// The host's side.
enum Host {
    /// After its answer.
    Upgrade(Pin<Box<dyn Future<Output = io::Result<HostTunnel>>>>),
    /// A connection of its own.
    Stream(Box<UpstreamStream>),
}

impl Tunnel {
    /// The client's side, and the host's side out of its answer.
    pub(super) fn new(upgrade: Upgrade, response: &mut Response<UpstreamBody>, idle: Option<Duration>) -> Self {
        Self { client: upgrade.client, host: Host::Upgrade(Box::pin(UpstreamBody::tunnel(response))), idle }
    }

    /// The client's side, and a connection to the host.
    pub(super) fn direct(upgrade: Upgrade, host: UpstreamStream, idle: Option<Duration>) -> Self {
        Self { client: upgrade.client, host: Host::Stream(Box::new(host)), idle }
    }

    /// Carries bytes once both sides have their headers. The stream ends with it.
    pub(super) fn spawn(self, mut stream: Box<Stream>) {
        let stats = &stream.chain.stats;
        stats.cx_upgrades_total.inc();
        let active = stats.cx_upgrades_active.hold();
        tokio::task::spawn_local(async move {
            let _active = active;
            let info = &mut stream.info;
            let count = |moved| match moved {
                Moved::Forward(n) => info.bytes_received += n as u64,
                Moved::Back(n) => info.bytes_sent += n as u64,
            };
            let ended = match self.host {
                Host::Upgrade(host) => {
                    let (Ok(client), Ok(host)) = tokio::join!(self.client, host) else { return };
                    copy::both(TokioIo::new(client), host, self.idle, count).await
                }
                Host::Stream(host) => {
                    let Ok(client) = self.client.await else { return };
                    copy::both(TokioIo::new(client), *host, self.idle, count).await
                }
            };
            match ended {
                Ended::Closed => {}
                Ended::Idle => info.flags.insert(ResponseFlags::STREAM_IDLE_TIMEOUT),
                Ended::Failed(e) => tracing::debug!(error = %e, "upgraded connection ended"),
            }
            stream.complete = true;
        });
    }
}
