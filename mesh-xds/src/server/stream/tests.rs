//! Streams without a network: requests and pushes are channels, and the clock is the test's.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use mesh_xds_api::{envoy::config::core::v3 as core, google::protobuf::Any};
use tokio::sync::mpsc;
use tonic::Code as GrpcCode;

use super::*;
use crate::{
    Resource,
    server::{
        ServerLimits, XdsServer,
        outbox::{Outlet, outbox},
    },
    store::{SingleView, View},
};

/// The client's end of a stream.
struct Client {
    requests: mpsc::UnboundedSender<Incoming>,
    pushes: Outlet,
}

const TYPES: [TypeUrl; 3] = [TypeUrl::CLUSTER, TypeUrl::LISTENER, TypeUrl::RUNTIME];

fn server(limits: ServerLimits) -> XdsServer {
    let view = View::unchecked();
    view.replace(TYPES.map(|t| Resource::new("r", Any { type_url: t.as_str().into(), value: vec![1].into() })));
    XdsServer::builder(SingleView(view)).limits(limits).build()
}

fn open(server: &XdsServer) -> Client {
    let (requests, mut incoming) = mpsc::unbounded_channel();
    let (outbox, pushes) = outbox();
    let incoming = Box::pin(stream::poll_fn(move |cx| incoming.poll_recv(cx)));
    let newcomer = Box::new(Newcomer { variant: Variant::Delta, only: None, peer: PeerInfo::default() });
    tokio::spawn(run(server.inner.clone(), newcomer, incoming, outbox));
    Client { requests, pushes }
}

impl Client {
    fn ask(&self, type_url: TypeUrl) {
        let node = Node::from(core::Node { id: "n".into(), ..Default::default() });
        let request = Request {
            type_url,
            names: vec!["r".into()],
            unsubscribe: Vec::new(),
            initial_versions: Default::default(),
            version: None,
            nonce: None,
            error: None,
        };
        self.requests.send(Ok((Some(node), request))).unwrap();
    }

    /// Asks for three types and reads nothing: one push waits for the transport, another in the stream, and the third is not
    /// made yet.
    async fn ask_without_reading(&self, server: &XdsServer) {
        TYPES.into_iter().for_each(|t| self.ask(t));
        while server.metrics().pushes < 2 {
            tokio::task::yield_now().await;
        }
    }

    async fn next(&mut self) -> Option<Result<Push, Code>> {
        std::future::poll_fn(|cx| self.pushes.poll_next(cx)).await
    }

    /// Every push that comes, and what ended the stream.
    async fn rest(mut self) -> (usize, Option<GrpcCode>) {
        let mut pushes = 0;
        loop {
            match self.next().await {
                Some(Ok(_)) => {
                    pushes += 1;
                    drop(self.pushes.last_frame(Bytes::new()));
                }
                Some(Err(code)) => return (pushes, Some(code.code())),
                None => return (pushes, None),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_sends_what_was_made_and_the_reason() {
    let server = server(ServerLimits::default());
    let client = open(&server);
    client.ask_without_reading(&server).await;
    server.shutdown();
    assert_eq!(client.rest().await, (2, Some(GrpcCode::Unavailable)));
    // Whoever comes now is refused, and counted.
    let late = open(&server);
    late.ask(TypeUrl::CLUSTER);
    assert_eq!(late.rest().await, (0, Some(GrpcCode::Unavailable)));
    assert_eq!(server.metrics().streams_refused, 1);
}

#[tokio::test(start_paused = true)]
async fn an_old_stream_is_ended_behind_its_pushes() {
    let age = Some(Duration::from_secs(1800));
    let server = server(ServerLimits { max_stream_age: age, stream_age_jitter: 0.0, ..Default::default() });
    let started = tokio::time::Instant::now();
    let client = open(&server);
    client.ask(TypeUrl::CLUSTER);
    assert_eq!(client.rest().await, (1, Some(GrpcCode::Unavailable)));
    let lived = started.elapsed();
    assert!(lived >= Duration::from_secs(1800) && lived < Duration::from_secs(1801), "{lived:?}");
    assert_eq!((server.metrics().streams_aged, server.metrics().streams_open), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_ended() {
    let server = server(ServerLimits::default());
    let client = open(&server);
    client.ask_without_reading(&server).await;
    while server.metrics().write_timeouts == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(client.rest().await.0, 1, "the second was never handed over");
}

#[tokio::test(start_paused = true)]
async fn one_push_that_does_not_leave_is_enough() {
    let server = server(ServerLimits::default());
    let mut client = open(&server);
    client.ask(TypeUrl::CLUSTER);
    // The transport takes it, and has no room for more ever after.
    client.next().await.unwrap().unwrap();
    let started = tokio::time::Instant::now();
    while server.metrics().write_timeouts == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(started.elapsed().as_secs(), 60);
    assert_eq!(client.rest().await, (0, Some(GrpcCode::DeadlineExceeded)));
}
