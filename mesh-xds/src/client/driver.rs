//! The future that makes a client work: connect, talk, wait, again.

use std::{sync::Arc, time::Instant};

use futures::StreamExt;
use mesh_xds_api::envoy::config::core::v3::Node as NodeMessage;
use tonic::transport::{Channel, Endpoint};
use tracing::{debug, info, warn};

use super::{
    ClientConfig, ClientStatus, Connect, Connection,
    backoff::Backoff,
    shared::Shared,
    stream::{self, Duplex},
};

/// Makes a [`Client`](super::Client) work.
#[must_use = "a client does nothing before its driver runs"]
pub struct Driver {
    shared: Arc<Shared>,
    node: NodeMessage,
    connect: Arc<dyn Connect>,
    config: ClientConfig,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("node", &self.node.id).field("config", &self.config).finish_non_exhaustive()
    }
}

/// Why a stream is over.
struct Ended {
    reason: String,
    /// Something was received, so that the server is worth to be asked again soon.
    useful: bool,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, node: NodeMessage, connect: Arc<dyn Connect>, config: ClientConfig) -> Self {
        Self { shared, node, connect, config }
    }

    /// Runs until the client's last handle is dropped or [`Client::shutdown`](super::Client::shutdown) is called.
    /// Dropping the future ends the stream; watches then get no more events.
    pub async fn run(self) {
        let stop = self.shared.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.reconnect() => {}
        }
        self.shared.status.send_modify(|s| s.connection = Connection::Closed);
    }

    async fn reconnect(&self) {
        let mut backoff = Backoff::new(self.config.backoff.clone());
        loop {
            self.status(|s| s.connection = Connection::Connecting);
            let ended = match self.open().await {
                Ok(channel) => self.talk(channel).await,
                Err(reason) => Ended { reason, useful: false },
            };
            self.shared.with(|core| core.state.disconnected());
            if ended.useful {
                backoff.reset();
            }
            let wait = backoff.next(&mut rand::rng());
            let until = Instant::now() + wait;
            warn!(node = %self.node.id, reason = %ended.reason, ?wait, "xDS stream ended; trying again");
            self.status(|s| {
                s.connection = Connection::Waiting { until };
                s.failures += 1;
                s.last_error = Some(ended.reason);
            });
            self.idle(until).await;
        }
    }

    /// Waits, and meanwhile tells watches whose time runs out.
    async fn idle(&self, until: Instant) {
        loop {
            let now = Instant::now();
            if now >= until {
                return;
            }
            let deadline = self.shared.with(|core| {
                core.deliver(now);
                core.state.poll_timeout()
            });
            let wake_at = deadline.map_or(until, |d| d.min(until));
            tokio::select! {
                () = tokio::time::sleep_until(wake_at.into()) => {}
                () = self.shared.wake.notified() => {}
            }
        }
    }

    async fn open(&self) -> Result<Channel, String> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.config.authority))
            .map_err(|e| format!("authority {:?}: {e}", self.config.authority))?
            .http2_keep_alive_interval(self.config.keepalive)
            .keep_alive_timeout(self.config.keepalive)
            .keep_alive_while_idle(true);
        let connect = self.connect.clone();
        let connector = tower::service_fn(move |_: http::Uri| {
            let opening = connect.connect();
            async move { opening.await.map(hyper_util::rt::TokioIo::new) }
        });
        let opening = endpoint.connect_with_connector(connector);
        tokio::select! {
            opened = opening => opened.map_err(|e| chain(&e)),
            () = self.idle(Instant::now() + self.config.connect_timeout) => Err("connecting took too long".into()),
        }
    }

    async fn talk(&self, channel: Channel) -> Ended {
        let Duplex { requests, mut responses } = stream::open(channel, &self.config, self.node.clone());
        self.shared.with(|core| core.state.connected());
        self.status(|s| {
            s.connection = Connection::Connected { since: Instant::now() };
            s.streams += 1;
        });
        info!(node = %self.node.id, variant = self.config.variant.as_str(), "xDS stream opened");
        let mut useful = false;
        loop {
            let (full, deadline, unread) = self.pump(&requests);
            tokio::select! {
                incoming = responses.next(), if !unread => match incoming {
                    Some(Ok(response)) => {
                        useful = true;
                        self.take(response);
                    }
                    Some(Err(status)) => return Ended { reason: chain(&status), useful },
                    None => return Ended { reason: "the server closed the stream".into(), useful },
                },
                () = self.shared.wake.notified() => {}
                permit = requests.reserve(), if full => drop(permit),
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {}
            }
        }
    }

    /// Hands out updates and requests. Gives whether requests had to wait, the next deadline, and whether nothing more
    /// should be read.
    fn pump(&self, requests: &tokio::sync::mpsc::Sender<crate::protocol::Request>) -> (bool, Option<Instant>, bool) {
        let result = self.shared.with(|core| {
            core.deliver(Instant::now());
            let mut full = false;
            loop {
                match requests.try_reserve() {
                    Ok(permit) => match core.state.poll() {
                        Some(request) => permit.send(request),
                        None => break,
                    },
                    // Closed: the response side will say why.
                    Err(e) => {
                        full = matches!(e, tokio::sync::mpsc::error::TrySendError::Full(()));
                        break;
                    }
                }
            }
            (full, core.state.poll_timeout(), core.state.is_full())
        });
        self.status(|_| {});
        result
    }

    fn take(&self, response: Result<crate::protocol::Response, crate::protocol::DecodeError>) {
        self.shared.with(|core| match response {
            Ok(response) => {
                debug!(type_url = %response.type_url, added = response.resources.len(), nonce = %response.nonce,
                    "xDS response");
                core.state.handle(response, Instant::now());
            }
            Err(error) => {
                warn!(type_url = %error.type_url, %error, "xDS response refused: unreadable");
                core.state.handle_unreadable(error);
            }
        });
    }

    fn status(&self, change: impl FnOnce(&mut ClientStatus)) {
        let types = self.shared.with(|core| core.state.status().map(|(t, s)| (t.clone(), s)).collect());
        self.shared.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            status.types = types;
            *status != before
        });
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
