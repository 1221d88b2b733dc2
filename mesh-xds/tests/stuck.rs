//! Clients that misbehave cost a bounded amount, and disturb nobody.
#![cfg(all(feature = "server", feature = "client"))]
#![allow(clippy::unwrap_used)] // helpers of a test

mod common;

use std::time::Duration;

use common::{PATIENCE, Running, Target, cluster, eventually, node, state_of};
use mesh_xds::{
    TypeUrl,
    client::{Client, Watch, WatchEvent},
    protocol::{Subscription, Variant},
    server::{PushLimits, ServerLimits, XdsServer},
    store::{Batch, SingleView, View},
};
use mesh_xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Endpoint};

const GOOD: usize = 180;
const OF_EACH_BAD_KIND: usize = 5;
/// More than a client's window, so that it does not leave unread.
const VIEW: usize = 200 << 10;

/// A client that does what the test wants.
struct Raw {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Raw {
    async fn open(running: &Running, id: &str, type_url: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", running.address)).unwrap();
        let channel = endpoint.initial_stream_window_size(65_535).connect().await.unwrap();
        let (requests, receiver) = mpsc::channel(8);
        let first = DeltaDiscoveryRequest { node: Some(node(id)), type_url: type_url.into(), ..Default::default() };
        requests.send(first).await.unwrap();
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let responses = client.delta_aggregated_resources(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Self { requests, responses }
    }

    async fn next(&mut self) -> Option<DeltaDiscoveryResponse> {
        let next =
            tokio::time::timeout(PATIENCE, self.responses.message()).await.expect("an answer or the end in time");
        next.ok().flatten()
    }
}

/// Everyone has the newest version, and has said so.
async fn converged(running: &Running, view: &View) {
    let version = || view.get(&TypeUrl::CLUSTER, "a").unwrap().version().clone();
    eventually("everyone has acknowledged the newest", || {
        let good =
            running.server.status().streams().into_iter().filter(|s| s.info.node.id().as_str().starts_with("good"));
        let accepted = good.flat_map(|s| s.types).flat_map(|t| t.resources);
        accepted.filter(|r| r.name == "a" && r.version == version() && r.state.as_str() == "ACKED").count() == GOOD
    })
    .await;
}

fn accept_everything(client: Client, mut watch: Watch) {
    tokio::spawn(async move {
        let _kept = client;
        while let Some(WatchEvent::Update(update)) = watch.next().await {
            update.accept();
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_converge_and_the_stuck_end() {
    let view = View::new();
    view.replace([cluster("a", "0"), cluster("ballast", &"x".repeat(VIEW))]);
    // As fast as a loaded test machine surely is, and so slow that the test can watch.
    let pushes =
        PushLimits { write_timeout: Duration::from_secs(10), min_bytes_per_second: u32::MAX, ..Default::default() };
    let limits = ServerLimits { pushes, ..Default::default() };
    let running = Running::start(XdsServer::builder(SingleView(view.clone())).limits(limits)).await;
    let metrics = || running.server.metrics();

    let (mut unread, mut unanswered, mut half_closed) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..OF_EACH_BAD_KIND {
        unread.push(Raw::open(&running, &format!("unread-{i}"), TypeUrl::CLUSTER.as_str()).await);
        let mut silent = Raw::open(&running, &format!("unanswered-{i}"), TypeUrl::CLUSTER.as_str()).await;
        assert_eq!(silent.next().await.unwrap().resources.len(), 2);
        unanswered.push(silent);
        let Raw { requests, responses } = Raw::open(&running, &format!("half-{i}"), TypeUrl::CLUSTER.as_str()).await;
        drop(requests);
        half_closed.push(responses);
        // Garbage: of the protocol, and of no protocol at all.
        let mut garbage = Raw::open(&running, "garbage", "").await;
        assert!(garbage.next().await.is_none());
        let mut noise = TcpStream::connect(running.address).await.unwrap();
        noise.write_all(&[0x5a; 4096]).await.unwrap();
    }
    eventually("the stuck are stuck", || metrics().push_bytes_in_flight >= VIEW as u64).await;
    for i in 0..GOOD {
        let client = Target::new(running.address).client(&format!("good-{i}"), Variant::Delta);
        let watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
        accept_everything(client, watch);
    }
    converged(&running, &view).await;
    for round in 1..=5 {
        view.update(Batch::new().put(cluster("a", &round.to_string())));
        converged(&running, &view).await;
    }
    assert_eq!(state_of(&running.server, "good-0", &TypeUrl::CLUSTER, "a"), Some("ACKED"));

    // Each of the good needed one push for each change; each of the stuck has one, whatever changed since.
    let bad = (OF_EACH_BAD_KIND * 3) as u64;
    assert!(metrics().pushes <= (GOOD * 6) as u64 + bad, "{:?}", metrics());
    assert_eq!((metrics().nacks, metrics().violations, metrics().stale_nonces), (0, OF_EACH_BAD_KIND as u64, 0));
    // A change that comes together with the last answer to the one before counts with it.
    let converged = running.server.convergence_time().count;
    assert!((GOOD as u64..=(GOOD * 5) as u64).contains(&converged), "{converged}");
    // Those who do not read end, those included whose streams had ended but for what was on its way. Those who do not
    // answer cost nothing, and stay.
    eventually("unread streams end", || metrics().write_timeouts == (OF_EACH_BAD_KIND * 2) as u64).await;
    let left = (GOOD + OF_EACH_BAD_KIND) as u64;
    eventually("nothing is held for the stuck", || metrics().push_bytes_in_flight == 0).await;
    eventually("they are gone", || metrics().streams_open == left).await;
    drop((unread, unanswered, half_closed));
}
