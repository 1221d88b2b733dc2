//! Load reports against a scripted server.
#![cfg(all(feature = "server", feature = "client"))]
#![allow(clippy::unwrap_used)] // helpers of a test

mod common;

use std::{net::SocketAddr, time::Duration};

use common::{PATIENCE, Target, eventually, node};
use futures::stream::BoxStream;
use mesh_xds::{
    client::{
        BackoffConfig,
        lrs::{LoadReporter, LoadReporterConfig},
    },
    server::{ListenConfig, serve},
};
use mesh_xds_api::envoy::{
    config::{core::v3::Locality, endpoint::v3::UpstreamLocalityStats},
    service::load_stats::v3::{
        LoadStatsRequest, LoadStatsResponse,
        load_reporting_service_server::{LoadReportingService, LoadReportingServiceServer},
    },
};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// One stream, as the server has it. Dropping it closes the stream.
struct Reports {
    requests: Streaming<LoadStatsRequest>,
    answers: mpsc::Sender<Result<LoadStatsResponse, Status>>,
}

impl Reports {
    async fn next(&mut self) -> LoadStatsRequest {
        timeout(PATIENCE, self.requests.message()).await.expect("a report in time").unwrap().expect("not the end")
    }

    async fn ask(&self, clusters: &[&str], all: bool, endpoints: bool) {
        let response = LoadStatsResponse {
            clusters: clusters.iter().map(|c| (*c).to_owned()).collect(),
            send_all_clusters: all,
            load_reporting_interval: Some(prost_types::Duration { seconds: 0, nanos: 20_000_000 }),
            report_endpoint_granularity: endpoints,
        };
        self.answers.send(Ok(response)).await.unwrap();
    }

    /// Reports until one says something of a locality.
    async fn load(&mut self) -> UpstreamLocalityStats {
        loop {
            let stats = self.next().await.cluster_stats;
            if let Some(stats) = stats.into_iter().flat_map(|c| c.upstream_locality_stats).next() {
                return stats;
            }
        }
    }
}

struct Server {
    address: SocketAddr,
    streams: mpsc::Receiver<Reports>,
    stop: CancellationToken,
}

struct Service(mpsc::Sender<Reports>);

#[tonic::async_trait]
impl LoadReportingService for Service {
    type StreamLoadStatsStream = BoxStream<'static, Result<LoadStatsResponse, Status>>;

    async fn stream_load_stats(
        &self,
        request: Request<Streaming<LoadStatsRequest>>,
    ) -> Result<Response<Self::StreamLoadStatsStream>, Status> {
        let (answers, receiver) = mpsc::channel(8);
        self.0.send(Reports { requests: request.into_inner(), answers }).await.unwrap();
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, streams) = mpsc::channel(8);
        let mut routes = tonic::service::Routes::builder();
        routes.add_service(LoadReportingServiceServer::new(Service(sender)));
        let stop = CancellationToken::new();
        let config = ListenConfig { drain_timeout: Duration::from_millis(50), ..Default::default() };
        tokio::spawn(serve(listener, None, routes.routes(), config, stop.clone().cancelled_owned()));
        Self { address, streams, stop }
    }

    async fn stream(&mut self) -> Reports {
        timeout(PATIENCE, self.streams.recv()).await.expect("a stream in time").unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn reporter(target: &Target) -> LoadReporter {
    let config = LoadReporterConfig {
        backoff: BackoffConfig { base: Duration::from_millis(10), max: Duration::from_millis(40) },
        min_interval: Duration::from_millis(10),
        ..LoadReporterConfig::default()
    };
    LoadReporter::builder(node("n"), target.connect()).config(config).spawn()
}

fn zone() -> Locality {
    Locality { region: "r".into(), zone: "z".into(), ..Default::default() }
}

#[tokio::test]
async fn the_first_request_is_the_node_and_reports_follow_the_servers_wish() {
    let mut server = Server::start().await;
    let load = reporter(&Target::new(server.address));
    let clusters = ["a", "b"].map(|c| load.cluster(c, Some("service")));
    let localities = clusters.each_ref().map(|c| c.locality(&zone(), 0));
    localities.iter().for_each(|l| l.started().finished(true));
    clusters[1].dropped();

    let mut stream = server.stream().await;
    let first = stream.next().await;
    let node = first.node.expect("the node comes first");
    assert_eq!((node.id.as_str(), first.cluster_stats.len()), ("n", 0));
    assert!(node.client_features.iter().any(|f| f == "envoy.lrs.supports_send_all_clusters"));

    stream.ask(&["a"], false, false).await;
    let report = stream.next().await;
    assert_eq!(report.node, None);
    let [stats] = &report.cluster_stats[..] else { panic!("{report:?}") };
    assert_eq!((stats.cluster_name.as_str(), stats.cluster_service_name.as_str()), ("a", "service"));
    assert_eq!(stats.upstream_locality_stats[0].total_successful_requests, 1);
    assert_eq!(stats.upstream_locality_stats[0].locality, Some(zone()));
    assert!(stats.load_report_interval.is_some_and(|i| i.seconds > 0 || i.nanos >= 20_000_000));

    stream.ask(&[], true, false).await;
    let dropped = loop {
        let report = stream.next().await;
        if let Some(stats) = report.cluster_stats.iter().find(|c| c.cluster_name == "b") {
            break stats.total_dropped_requests;
        }
    };
    assert_eq!(dropped, 1);

    let endpoint = localities[0].endpoint(([192, 0, 2, 1], 80).into());
    stream.ask(&[], true, true).await;
    endpoint.started().finished(false);
    let stats = stream.load().await;
    assert_eq!((stats.total_error_requests, stats.upstream_endpoint_stats.len()), (1, 1));
}

#[tokio::test]
async fn counts_survive_the_stream_and_each_is_told_once() {
    let mut server = Server::start().await;
    let target = Target::new(server.address);
    let load = reporter(&target);
    let locality = load.cluster("c", None).locality(&zone(), 0);
    let mut told = 0;
    let mut issued = 0;
    for round in 0..4 {
        let mut stream = server.stream().await;
        stream.next().await;
        stream.ask(&["c"], false, false).await;
        for _ in 0..10 {
            locality.started().finished(true);
            issued += 1;
        }
        while told < issued {
            told += stream.load().await.total_issued_requests;
        }
        drop(stream);
        eventually("noticed", || load.status().borrow().failures > round).await;
        if round == 1 {
            server = Server::start().await;
            target.move_to(server.address);
        }
        // Nobody asks for these before the next stream.
        for _ in 0..10 {
            locality.started().finished(true);
            issued += 1;
        }
    }
    assert_eq!(told, issued - 10);
}

#[tokio::test]
async fn a_server_without_the_service_is_tried_again_and_counting_goes_on() {
    let running = common::Running::start(mesh_xds::server::XdsServer::builder(mesh_xds::store::SingleView(
        mesh_xds::store::View::new(),
    )))
    .await;
    let target = Target::new(running.address);
    let load = reporter(&target);
    let locality = load.cluster("c", None).locality(&zone(), 0);
    locality.started().finished(true);
    eventually("refused", || load.status().borrow().failures >= 2).await;
    let mut server = Server::start().await;
    target.move_to(server.address);
    let mut stream = server.stream().await;
    stream.next().await;
    stream.ask(&[], true, false).await;
    assert_eq!(stream.load().await.total_issued_requests, 1);
}

#[tokio::test]
async fn the_reporter_ends_with_its_last_handle() {
    let mut server = Server::start().await;
    let load = reporter(&Target::new(server.address));
    let cluster = load.cluster("c", None);
    let mut stream = server.stream().await;
    stream.next().await;
    drop(load.clone());
    stream.ask(&["c"], false, false).await;
    stream.next().await;
    drop(load);
    cluster.dropped();
    let ended = async { while let Ok(Some(_)) = stream.requests.message().await {} };
    timeout(PATIENCE, ended).await.expect("the stream ends");
}
