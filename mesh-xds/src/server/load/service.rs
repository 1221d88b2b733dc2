//! `envoy.service.load_stats.v3.LoadReportingService`.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use futures::{Stream, StreamExt};
use mesh_xds_api::envoy::service::load_stats::v3::{
    LoadStatsRequest, LoadStatsResponse,
    load_reporting_service_server::{LoadReportingService, LoadReportingServiceServer},
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};
use tracing::{info, warn};

use super::{LoadClusters, LoadObserver, LoadReporter, LoadReporting, LoadSettings};
use crate::{
    Node,
    server::{
        Inner, PeerInfo, age,
        limits::RequestRate,
        metrics::add as count,
        stream::{AGED, STOPPED, clock, refusal_code, sleep_until},
    },
};

/// A client without this reports only clusters that are named.
const SUPPORTS_ALL: &str = "envoy.lrs.supports_send_all_clusters";

/// Adds the service.
pub(in crate::server) fn add(
    inner: &Arc<Inner>,
    reporting: LoadReporting,
    builder: &mut tonic::service::RoutesBuilder,
) {
    let LoadReporting { observer, settings } = reporting;
    let service = Service { inner: inner.clone(), observer: Arc::from(observer), settings };
    let limit = inner.limits.max_request_bytes;
    builder.add_service(LoadReportingServiceServer::new(service).max_decoding_message_size(limit));
}

/// The service, and what each of its streams works with.
#[derive(Clone)]
struct Service {
    inner: Arc<Inner>,
    observer: Arc<dyn LoadObserver>,
    settings: watch::Receiver<LoadSettings>,
}

#[async_trait]
impl LoadReportingService for Service {
    type StreamLoadStatsStream = Pin<Box<dyn Stream<Item = Result<LoadStatsResponse, Status>> + Send>>;

    async fn stream_load_stats(
        &self,
        request: Request<Streaming<LoadStatsRequest>>,
    ) -> Result<Response<Self::StreamLoadStatsStream>, Status> {
        let peer = request.extensions().get::<PeerInfo>().cloned().unwrap_or_default();
        // One for what is asked, one for why it ended.
        let (answers, receiver) = mpsc::channel(2);
        tokio::spawn(self.clone().run(peer, request.into_inner(), answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

type Answers = mpsc::Sender<Result<LoadStatsResponse, Status>>;

impl Service {
    async fn run(self, peer: PeerInfo, requests: Streaming<LoadStatsRequest>, answers: Answers) {
        let inner = self.inner.clone();
        let outcome = tokio::select! {
            biased;
            () = answers.closed() => return,
            () = inner.stop.cancelled() => Err(Status::unavailable(STOPPED)),
            outcome = self.serve(&peer, requests, &answers) => outcome,
        };
        if let Err(status) = outcome {
            // A client that does not read does not get the reason either.
            let _ = answers.try_send(Err(status));
        }
    }

    async fn serve(
        mut self,
        peer: &PeerInfo,
        mut requests: Streaming<LoadStatsRequest>,
        answers: &Answers,
    ) -> Result<(), Status> {
        let _open = Open::new(&self.inner).map_err(|status| self.refuse(peer, None, status))?;
        let first = tokio::time::timeout(self.inner.limits.first_request_timeout, requests.message());
        let first = match first.await {
            Err(_) => return Err(self.refuse(peer, None, Status::deadline_exceeded("no request came"))),
            Ok(first) => first.map_err(|status| self.refuse(peer, None, status))?,
        };
        let Some(mut first) = first else { return Ok(()) };
        let reporter = self.admit(peer, first.node.take().map(Node::from).unwrap_or_default()).await?;
        info!(node = reporter.node.id().as_str(), stream = reporter.id, "load reports begin");
        self.report(&reporter, &first);
        let outcome = self.converse(&reporter, requests, answers).await;
        let reason = outcome.as_ref().err().map_or("the client closed the stream", Status::message);
        info!(node = reporter.node.id().as_str(), stream = reporter.id, reason, "load reports end");
        outcome
    }

    async fn converse(
        &mut self,
        reporter: &LoadReporter,
        mut requests: Streaming<LoadStatsRequest>,
        answers: &Answers,
    ) -> Result<(), Status> {
        let mut rate = RequestRate::new(self.inner.limits.max_requests_per_second, clock());
        let end = age::end(&self.inner.limits, clock(), rand::random());
        let mut ask = true;
        let mut fixed = false;
        loop {
            if std::mem::take(&mut ask) {
                let asked = question(&self.settings.borrow_and_update(), reporter);
                // Room is made by reading; who does not read is asked later.
                answers.send(Ok(asked)).await.map_err(|_| Status::cancelled("the client went away"))?;
            }
            let blocked = rate.blocked_until();
            tokio::select! {
                message = requests.next(), if blocked.is_none() => match message {
                    None => return Ok(()),
                    Some(message) => {
                        rate.take(clock());
                        self.report(reporter, &message?);
                    }
                },
                changed = self.settings.changed(), if !fixed => match changed {
                    Ok(()) => ask = true,
                    // Nobody will change them any more.
                    Err(_) => fixed = true,
                },
                () = sleep_until(blocked), if blocked.is_some() => rate.refill(clock()),
                () = sleep_until(end), if end.is_some() => {
                    count(&self.inner.metrics.streams_aged, 1);
                    return Err(Status::unavailable(AGED));
                }
            }
        }
    }

    fn report(&self, reporter: &LoadReporter, request: &LoadStatsRequest) {
        count(&self.inner.metrics.load_reports, 1);
        self.observer.observe(reporter, &request.cluster_stats);
    }

    /// Decides on a client as for a stream of resources.
    async fn admit(&self, peer: &PeerInfo, node: Node) -> Result<LoadReporter, Status> {
        let limit = self.inner.limits.stream.max_name_bytes;
        if node.id().as_str().len() > limit {
            let status = Status::invalid_argument(format!("node.id is too long, at most {limit} bytes are read"));
            return Err(self.refuse(peer, None, status));
        }
        match self.inner.authorizer.authorize(peer, &node).await {
            Ok(identity) => {
                Ok(LoadReporter { id: self.inner.stream_id(), node, identity, peer_addr: peer.remote_addr })
            }
            Err(refusal) => Err(self.refuse(peer, Some(&node), refusal_code(&refusal))),
        }
    }

    fn refuse(&self, peer: &PeerInfo, node: Option<&Node>, status: Status) -> Status {
        count(&self.inner.metrics.streams_refused, 1);
        let node = node.map_or("", |n| n.id().as_str());
        warn!(node, peer = ?peer.remote_addr, reason = status.message(), "load reports refused");
        status
    }
}

fn question(settings: &LoadSettings, reporter: &LoadReporter) -> LoadStatsResponse {
    let (send_all_clusters, clusters) = match &settings.clusters {
        LoadClusters::All => (true, Vec::new()),
        LoadClusters::Named(names) => (false, names.clone()),
    };
    if send_all_clusters && !reporter.node.has_feature(SUPPORTS_ALL) {
        warn!(
            node = reporter.node.id().as_str(),
            stream = reporter.id,
            "the client cannot report all clusters, only named ones"
        );
    }
    LoadStatsResponse {
        clusters,
        send_all_clusters,
        // One that does not fit is longer than any client runs.
        load_reporting_interval: settings.interval.try_into().ok(),
        report_endpoint_granularity: settings.per_endpoint,
    }
}

/// Counts an open stream.
struct Open(Arc<Inner>);

impl Open {
    fn new(inner: &Arc<Inner>) -> Result<Self, Status> {
        let open = inner.metrics.load_streams_open.fetch_add(1, Relaxed);
        let counted = Self(inner.clone());
        if open >= inner.limits.max_streams {
            return Err(Status::resource_exhausted("too many streams; try another server"));
        }
        Ok(counted)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.load_streams_open.fetch_sub(1, Relaxed);
    }
}
