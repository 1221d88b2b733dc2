//! Load reports, as another client sends them.
#![cfg(all(feature = "server", feature = "client", feature = "test-util"))]
#![allow(clippy::unwrap_used)] // helpers of a test

mod common;

use std::time::Duration;

use common::{PATIENCE, eventually, node};
use mesh_xds::{
    Node,
    server::{
        LoadClusters, LoadReporting, LoadSettings, LoadTotal, LoadTotals, PeerInfo, ServerBuilder, ServerLimits,
        StreamAuthorizer, XdsServer,
    },
    store::{Refusal, SingleView, View},
    testing::{RecordingLoadObserver, TestServer},
};
use mesh_xds_api::envoy::{
    config::endpoint::v3::{ClusterStats, UpstreamLocalityStats},
    service::load_stats::v3::{
        LoadStatsRequest, LoadStatsResponse, load_reporting_service_client::LoadReportingServiceClient,
    },
};
use tokio::{sync::mpsc, sync::watch, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

fn builder() -> ServerBuilder {
    XdsServer::builder(SingleView(View::new()))
}

struct Client {
    reports: mpsc::Sender<LoadStatsRequest>,
    asked: Streaming<LoadStatsResponse>,
}

impl Client {
    async fn connect(server: &TestServer, id: &str) -> Self {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address())).unwrap();
        let mut client = LoadReportingServiceClient::new(endpoint.connect().await.unwrap());
        let (reports, receiver) = mpsc::channel(8);
        let first = LoadStatsRequest { node: Some(node(id)), ..Default::default() };
        reports.send(first).await.unwrap();
        let asked = client.stream_load_stats(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Self { reports, asked }
    }

    async fn asked(&mut self) -> Result<LoadStatsResponse, Status> {
        let asked = timeout(PATIENCE, self.asked.message()).await.expect("in time");
        asked.map(|message| message.expect("not the end"))
    }

    async fn report(&self, cluster: &str, issued: u64, errors: u64) {
        let locality = UpstreamLocalityStats {
            total_issued_requests: issued,
            total_successful_requests: issued - errors,
            total_error_requests: errors,
            ..Default::default()
        };
        let stats = ClusterStats {
            cluster_name: cluster.into(),
            upstream_locality_stats: vec![locality],
            total_dropped_requests: 1,
            ..Default::default()
        };
        self.reports.send(LoadStatsRequest { node: None, cluster_stats: vec![stats] }).await.unwrap();
    }
}

#[tokio::test]
async fn clients_are_asked_report_and_are_asked_anew() {
    let totals = LoadTotals::default();
    let (settings, follow) = watch::channel(LoadSettings::default());
    let server =
        TestServer::start_with_load(builder(), LoadReporting::new(totals.clone()).follow(follow)).await.unwrap();
    let mut client = Client::connect(&server, "n").await;
    let asked = client.asked().await.unwrap();
    assert!(asked.send_all_clusters && asked.clusters.is_empty() && !asked.report_endpoint_granularity);
    assert_eq!(asked.load_reporting_interval.unwrap().seconds, 60);
    for (issued, errors) in [(5, 1), (3, 0)] {
        client.report("a", issued, errors).await;
    }
    client.report("b", 1, 1).await;
    eventually("taken", || server.server().metrics().load_reports == 4).await;
    let expected = |issued, successful, errors, dropped| LoadTotal { issued, successful, errors, dropped };
    let sums: Vec<_> = totals.totals().into_iter().collect();
    assert_eq!(sums, [("a".into(), expected(8, 7, 1, 2)), ("b".into(), expected(1, 0, 1, 1))]);

    let clusters = LoadClusters::Named(vec!["a".into()]);
    let changed = LoadSettings { clusters, interval: Duration::from_millis(1500), per_endpoint: true };
    settings.send(changed).unwrap();
    let asked = client.asked().await.unwrap();
    assert!(!asked.send_all_clusters && asked.report_endpoint_granularity);
    assert_eq!((asked.clusters, asked.load_reporting_interval.unwrap().nanos), (vec!["a".into()], 500_000_000));
    // Nobody changes them any more: reports go on.
    drop(settings);
    client.report("a", 1, 0).await;
    eventually("taken", || totals.totals()["a"].issued == 9).await;
    assert_eq!(server.server().metrics().load_streams_open, 1);
    drop(client);
    eventually("ended", || server.server().metrics().load_streams_open == 0).await;
}

struct NotAnyone;

#[async_trait::async_trait]
impl StreamAuthorizer for NotAnyone {
    async fn authorize(&self, _peer: &PeerInfo, node: &Node) -> Result<Option<String>, Refusal> {
        if node.id() == "known" { Ok(Some("id".into())) } else { Err(Refusal::Denied("who are you".into())) }
    }
}

#[tokio::test]
async fn reporters_are_decided_on_like_others() {
    let observer = RecordingLoadObserver::default();
    let builder = builder().authorizer(NotAnyone);
    let server = TestServer::start_with_load(builder, LoadReporting::new(observer.clone())).await.unwrap();
    let mut stranger = Client::connect(&server, "stranger").await;
    let refused = stranger.asked().await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "who are you"));
    assert_eq!(server.server().metrics().streams_refused, 1);
    let mut known = Client::connect(&server, "known").await;
    known.asked().await.unwrap();
    known.report("a", 1, 0).await;
    eventually("taken", || observer.reports().len() == 2).await;
    let (reporter, clusters) = observer.reports().pop().unwrap();
    assert_eq!((reporter.identity.as_deref(), clusters[0].cluster_name.as_str()), (Some("id"), "a"));
    server.server().shutdown();
    assert_eq!(known.asked().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn reports_are_bounded() {
    let limits = ServerLimits { max_streams: 1, max_request_bytes: 200, ..Default::default() };
    let observer = RecordingLoadObserver::default();
    let reporting = LoadReporting::new(observer.clone());
    let server = TestServer::start_with_load(builder().limits(limits), reporting).await.unwrap();
    let mut first = Client::connect(&server, "n").await;
    first.asked().await.unwrap();
    let mut second = Client::connect(&server, "n").await;
    assert_eq!(second.asked().await.unwrap_err().code(), Code::ResourceExhausted);
    first.report(&"x".repeat(300), 1, 0).await;
    assert_eq!(first.asked().await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(observer.reports().len(), 1, "the first, which is empty");
}
