//! Times to live over a connection, against a scripted server.
#![cfg(all(feature = "server", feature = "client"))]
#![allow(clippy::unwrap_used)] // helpers of a test

mod common;

use std::{net::SocketAddr, time::Duration};

use common::{PATIENCE, Target, added, cluster, removed, update};
use futures::{StreamExt, stream::BoxStream};
use mesh_xds::{
    TypeUrl,
    client::Source,
    protocol::{Subscription, Variant},
    server::{ListenConfig, serve},
};
use mesh_xds_api::{
    any,
    envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
        aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
    },
};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tonic::{Request, Response, Status, Streaming};

/// Answers the first request of each stream with one cluster that lives for 50 ms, and never speaks again. Tells the
/// features that the node declares.
struct OneShot(mpsc::Sender<Vec<String>>);

fn mortal() -> Resource {
    Resource {
        name: "a".into(),
        version: "1".into(),
        resource: Some(cluster("a", "1").any().clone()),
        ttl: Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 }),
        ..Default::default()
    }
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// One answer to the first request; what follows is read and not answered.
fn once<Q: Send + 'static, A: Send + 'static>(requests: Streaming<Q>, answer: A) -> Answers<A> {
    let rest = requests.filter_map(|_| futures::future::ready(None));
    futures::stream::iter([Ok(answer)]).chain(rest).boxed()
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for OneShot {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.unwrap();
        self.0.send(first.node.unwrap().client_features).await.unwrap();
        let answer = DiscoveryResponse {
            type_url: first.type_url,
            nonce: "1".into(),
            version_info: "1".into(),
            resources: vec![any::pack(&mortal())],
            ..Default::default()
        };
        Ok(Response::new(once(requests, answer)))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.unwrap();
        self.0.send(first.node.unwrap().client_features).await.unwrap();
        let answer = DeltaDiscoveryResponse {
            type_url: first.type_url,
            nonce: "1".into(),
            resources: vec![mortal()],
            ..Default::default()
        };
        Ok(Response::new(once(requests, answer)))
    }
}

async fn serving() -> (SocketAddr, mpsc::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (features, receiver) = mpsc::channel(1);
    let mut routes = tonic::service::Routes::builder();
    routes.add_service(AggregatedDiscoveryServiceServer::new(OneShot(features)));
    let config = ListenConfig::default();
    tokio::spawn(serve(listener, None, routes.routes(), config, futures::future::pending()));
    (address, receiver)
}

#[tokio::test]
async fn a_resource_the_server_falls_silent_about_ends_while_the_stream_is_open() {
    for (variant, declared) in [
        (Variant::Delta, vec!["xds.config.supports-resource-ttl"]),
        (Variant::Sotw, vec!["xds.config.supports-resource-ttl", "xds.config.supports-resource-in-sotw"]),
    ] {
        let (address, mut features) = serving().await;
        let client = Target::new(address).client("n", variant);
        let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
        let first = update(&mut watch).await;
        assert_eq!((added(&first), first.source()), (vec!["a"], Source::Server));
        assert_eq!(first.added()[0].ttl(), Some(Duration::from_millis(50)));
        first.accept();
        let ended = update(&mut watch).await;
        assert_eq!((removed(&ended), ended.source()), (vec!["a"], Source::Expiry), "{variant:?}");
        ended.accept();
        assert_eq!(timeout(PATIENCE, features.recv()).await.unwrap().unwrap(), declared);
        assert!(client.status().borrow().is_connected());
    }
}
