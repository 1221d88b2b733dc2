//! A proxy between a client and a server, which breaks one rule.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, TryStreamExt};
use mesh_xds::{
    Resource, TypeUrl,
    protocol::Request,
    server::{ListenConfig, serve},
};
use mesh_xds_api::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource as Wrapped,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
            aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
        },
    },
    google::protobuf::Any,
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

/// A response of either variant.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) type_url: TypeUrl,
    pub(crate) nonce: String,
    pub(crate) version: String,
    /// In SotW only name and content are used.
    pub(crate) resources: Vec<Wrapped>,
    pub(crate) removed: Vec<String>,
}

impl From<DiscoveryResponse> for Told {
    fn from(response: DiscoveryResponse) -> Self {
        let wrap = |any: Any| {
            let name = Resource::from_any(any.clone()).map(|r| r.name().to_string()).unwrap_or_default();
            Wrapped { name, resource: Some(any), ..Default::default() }
        };
        Self {
            type_url: response.type_url.into(),
            nonce: response.nonce,
            version: response.version_info,
            resources: response.resources.into_iter().map(wrap).collect(),
            removed: Vec::new(),
        }
    }
}

impl From<DeltaDiscoveryResponse> for Told {
    fn from(response: DeltaDiscoveryResponse) -> Self {
        Self {
            type_url: response.type_url.into(),
            nonce: response.nonce,
            version: response.system_version_info,
            resources: response.resources,
            removed: response.removed_resources,
        }
    }
}

impl From<Told> for DiscoveryResponse {
    fn from(told: Told) -> Self {
        Self {
            version_info: told.version,
            resources: told.resources.into_iter().filter_map(|r| r.resource).collect(),
            type_url: told.type_url.as_str().to_owned(),
            nonce: told.nonce,
            ..Default::default()
        }
    }
}

impl From<Told> for DeltaDiscoveryResponse {
    fn from(told: Told) -> Self {
        Self {
            system_version_info: told.version,
            resources: told.resources,
            type_url: told.type_url.as_str().to_owned(),
            removed_resources: told.removed,
            nonce: told.nonce,
            ..Default::default()
        }
    }
}

/// Carries both directions of one stream through `link`.
async fn carry<R: From<Told> + Into<Told> + Send + 'static>(
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
                Some(Ok(response)) => link.response(response.into()),
                Some(Err(status)) => {
                    let _ = down.send(Err(status)).await;
                    return;
                }
                None => return,
            },
        };
        for told in out.down {
            let (slow, down) = (link.is_slow(&told.type_url), down.clone());
            if slow {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(60)).await;
                    let _ = down.send(Ok(told.into())).await;
                });
            } else {
                let _ = down.send(Ok(told.into())).await;
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
