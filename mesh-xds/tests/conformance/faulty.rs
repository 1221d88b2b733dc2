//! A proxy between a client and a server, which breaks one rule.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, TryStreamExt};
use mesh_xds::{
    protocol::{DecodeError, Push, Request, Response},
    server::{ListenConfig, serve},
};
use mesh_xds_api::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
    },
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, async_trait, transport::Channel};

use super::fault::{Fault, Link};

/// Starts one in front of `upstream`. It lives as long as the test.
pub(crate) async fn start(upstream: SocketAddr, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = Proxy { upstream, fault, streams: Arc::default() };
    let mut routes = tonic::service::Routes::builder();
    routes.add_service(AggregatedDiscoveryServiceServer::new(proxy));
    tokio::spawn(serve(listener, None, routes.routes(), ListenConfig::default(), std::future::pending()));
    address
}

struct Proxy {
    upstream: SocketAddr,
    fault: Fault,
    streams: Arc<std::sync::atomic::AtomicU32>,
}

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Said = (Option<Node>, Request);

impl Proxy {
    async fn channel(&self) -> Result<Channel, Status> {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", self.upstream)).unwrap();
        endpoint.connect().await.map_err(|e| Status::unavailable(e.to_string()))
    }

    fn link(&self, delta: bool) -> Link {
        let stream = self.streams.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Link::new(self.fault, delta, stream)
    }
}

/// A response as it came.
trait Raw: Clone + Send + 'static {
    fn read(self) -> Result<Response, DecodeError>;
    fn write(push: Push) -> Self;
    fn version(&self) -> &str;
}

impl Raw for DiscoveryResponse {
    fn read(self) -> Result<Response, DecodeError> {
        Response::from_sotw(self)
    }

    fn write(push: Push) -> Self {
        push.into_sotw()
    }

    fn version(&self) -> &str {
        &self.version_info
    }
}

impl Raw for DeltaDiscoveryResponse {
    fn read(self) -> Result<Response, DecodeError> {
        Response::from_delta(self)
    }

    fn write(push: Push) -> Self {
        push.into_delta()
    }

    fn version(&self) -> &str {
        &self.system_version_info
    }
}

/// Carries both directions of one stream through `link`.
async fn carry<R: Raw>(
    mut link: Link,
    mut requests: impl Stream<Item = Result<Said, Status>> + Unpin,
    up: mpsc::Sender<Said>,
    mut responses: impl Stream<Item = Result<R, Status>> + Unpin,
    down: mpsc::Sender<Result<R, Status>>,
) {
    loop {
        let out = tokio::select! {
            request = requests.next() => match request {
                Some(Ok((node, request))) => link.request(node, request),
                _ => return,
            },
            response = responses.next() => match response {
                Some(Ok(raw)) => match raw.clone().read() {
                    Ok(response) => link.response(response),
                    // Not to be broken any more: it goes on as it is.
                    Err(error) => {
                        link.passed(&error.type_url, error.nonce.as_str(), raw.version());
                        let _ = down.send(Ok(raw)).await;
                        continue;
                    }
                },
                Some(Err(status)) => {
                    let _ = down.send(Err(status)).await;
                    return;
                }
                None => return,
            },
        };
        for push in out.down {
            let (slow, raw, down) = (link.is_slow(&push.type_url), R::write(push), down.clone());
            if slow {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(60)).await;
                    let _ = down.send(Ok(raw)).await;
                });
            } else {
                let _ = down.send(Ok(raw)).await;
            }
        }
        for said in out.up {
            let _ = up.send(said).await;
        }
    }
}

#[async_trait]
impl AggregatedDiscoveryService for Proxy {
    type StreamAggregatedResourcesStream = Outgoing<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Outgoing<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: tonic::Request<Streaming<DiscoveryRequest>>,
    ) -> Result<tonic::Response<Outgoing<DiscoveryResponse>>, Status> {
        let (up, said) = mpsc::channel::<Said>(64);
        let (down, told) = mpsc::channel(64);
        let outgoing =
            ReceiverStream::new(said).map(|(node, request)| DiscoveryRequest { node, ..request.into_sotw() });
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel().await?);
        let requests = request.into_inner().map_ok(|mut message| (message.node.take(), Request::from(message)));
        let link = self.link(false);
        tokio::spawn(async move {
            let call = futures::stream::once(async move { client.stream_aggregated_resources(outgoing).await });
            let responses = call.map_ok(tonic::Response::into_inner).try_flatten();
            carry(link, requests, up, Box::pin(responses), down).await;
        });
        Ok(tonic::Response::new(Box::pin(ReceiverStream::new(told))))
    }

    async fn delta_aggregated_resources(
        &self,
        request: tonic::Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<tonic::Response<Outgoing<DeltaDiscoveryResponse>>, Status> {
        let (up, said) = mpsc::channel::<Said>(64);
        let (down, told) = mpsc::channel(64);
        let outgoing =
            ReceiverStream::new(said).map(|(node, request)| DeltaDiscoveryRequest { node, ..request.into_delta() });
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel().await?);
        let requests = request.into_inner().map_ok(|mut message| (message.node.take(), Request::from(message)));
        let link = self.link(true);
        tokio::spawn(async move {
            let call = futures::stream::once(async move { client.delta_aggregated_resources(outgoing).await });
            let responses = call.map_ok(tonic::Response::into_inner).try_flatten();
            carry(link, requests, up, Box::pin(responses), down).await;
        });
        Ok(tonic::Response::new(Box::pin(ReceiverStream::new(told))))
    }
}
