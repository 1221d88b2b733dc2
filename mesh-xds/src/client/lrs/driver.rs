//! The future that makes a reporter work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use futures::{Stream, StreamExt, stream};
use mesh_xds_api::envoy::{
    config::core::v3::Node as NodeMessage,
    service::load_stats::v3::{LoadStatsRequest, load_reporting_service_client::LoadReportingServiceClient},
};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::{debug, warn};

use super::{LoadReporterConfig, LoadStatus, counters::Loads, report::Report, schedule::Schedule};
use crate::client::{
    Connect, Connection,
    backoff::Backoff,
    channel::{self, chain},
};

/// Makes a [`LoadReporter`](super::LoadReporter) work.
#[must_use = "a reporter does nothing before its driver runs"]
pub struct LoadDriver {
    node: NodeMessage,
    connect: Arc<dyn Connect>,
    config: LoadReporterConfig,
    loads: Loads,
    status: watch::Sender<LoadStatus>,
    stop: CancellationToken,
}

impl std::fmt::Debug for LoadDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadDriver").field("node", &self.node.id).field("config", &self.config).finish_non_exhaustive()
    }
}

/// One report on its way to the transport.
#[derive(Debug, Default)]
struct Outbox {
    report: Mutex<Option<Report>>,
    changed: Notify,
    /// The stream is over: its requests end too, or the transport would wait for more.
    closed: AtomicBool,
}

impl LoadDriver {
    pub(super) fn new(
        node: NodeMessage,
        connect: Arc<dyn Connect>,
        config: LoadReporterConfig,
        loads: Loads,
        status: watch::Sender<LoadStatus>,
        stop: CancellationToken,
    ) -> Self {
        Self { node, connect, config, loads, status, stop }
    }

    /// Runs until the reporter's last handle is dropped. Dropping the future ends the stream; counting goes on without
    /// effect.
    pub async fn run(self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.reconnect() => {}
        }
        self.status.send_modify(|s| s.connection = Connection::Closed);
    }

    async fn reconnect(&self) {
        let mut backoff = Backoff::new(self.config.backoff.clone());
        loop {
            self.status.send_modify(|s| s.connection = Connection::Connecting);
            let mut answered = false;
            let reason = match channel::open(self.connect.clone(), self.config.channel()).await {
                Ok(channel) => self.talk(channel, &mut answered).await,
                Err(reason) => reason,
            };
            if answered {
                backoff.reset();
            }
            let wait = backoff.next(&mut rand::rng());
            warn!(node = %self.node.id, %reason, ?wait, "load reporting stream ended; trying again");
            self.status.send_modify(|s| {
                s.connection = Connection::Waiting { until: Instant::now() + wait };
                s.failures += 1;
                s.last_error = Some(reason);
            });
            tokio::time::sleep(wait).await;
        }
    }

    /// Reports until the stream ends, and says why it did. Counts that were not handed over go to the next stream.
    async fn talk(&self, channel: Channel, answered: &mut bool) -> String {
        let outbox = Unsent(Arc::default());
        let requests = outgoing(self.node.clone(), outbox.0.clone());
        let mut schedule = Schedule::new(self.config.min_interval);
        let mut client = LoadReportingServiceClient::new(channel);
        let call = client.stream_load_stats(requests);
        let mut responses = Box::pin(stream::once(call).flat_map(|opened| match opened {
            Ok(response) => response.into_inner().left_stream(),
            Err(status) => stream::iter([Err(status)]).right_stream(),
        }));
        self.status.send_modify(|s| {
            s.connection = Connection::Connected { since: Instant::now() };
            s.streams += 1;
        });
        loop {
            let next = schedule.poll_timeout();
            tokio::select! {
                response = responses.next() => match response {
                    Some(Ok(response)) => {
                        *answered = true;
                        debug!(?response, "load reports wanted");
                        schedule.told(response, Instant::now());
                    }
                    Some(Err(status)) => return chain(&status),
                    None => return "the server closed the stream".into(),
                },
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now).into()), if next.is_some() => {
                    self.report(&mut schedule, &outbox.0);
                }
            }
        }
    }

    fn report(&self, schedule: &mut Schedule, outbox: &Outbox) {
        let now = Instant::now();
        let Some(wanted) = schedule.due(now) else { return };
        let mut waiting = outbox.report.lock();
        // The transport has not taken the last one: what is counted goes with a later one.
        if waiting.is_none() {
            *waiting = Some(self.loads.take(wanted, now));
            outbox.changed.notify_one();
            self.status.send_modify(|s| {
                s.reports += 1;
                s.uncounted = self.loads.uncounted();
            });
        }
    }
}

/// Ends the requests when the stream ends, however it ends, and counts again what was not sent.
struct Unsent(Arc<Outbox>);

impl Drop for Unsent {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Relaxed);
        self.0.changed.notify_one();
        if let Some(report) = self.0.report.lock().take() {
            report.put_back();
        }
    }
}

/// The node first, then reports as they are taken from the outbox.
fn outgoing(node: NodeMessage, outbox: Arc<Outbox>) -> impl Stream<Item = LoadStatsRequest> + Send + 'static {
    let first = LoadStatsRequest { node: Some(node), cluster_stats: Vec::new() };
    let reports = stream::unfold(outbox, |outbox| async move {
        loop {
            if outbox.closed.load(Ordering::Relaxed) {
                return None;
            }
            let report = outbox.report.lock().take();
            if let Some(report) = report {
                return Some((LoadStatsRequest { node: None, cluster_stats: report.stats }, outbox));
            }
            outbox.changed.notified().await;
        }
    });
    stream::iter([first]).chain(reports)
}
