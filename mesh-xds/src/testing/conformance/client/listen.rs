//! The scripted server's outside: streams that the client under test opens, handed to the case.

use std::{net::SocketAddr, pin::Pin};

use futures::{Stream, StreamExt};
use mesh_xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::{
    protocol::Variant,
    server::{ListenConfig, serve},
    testing::conformance::wire::{Ask, Told},
};

/// Messages of one direction that may wait.
const QUEUE: usize = 256;

/// A stream the client has opened.
pub(super) struct Accepted {
    pub(super) variant: Variant,
    pub(super) requests: mpsc::Receiver<Ask>,
    pub(super) responses: mpsc::Sender<Result<Told, Status>>,
}

/// Listens on a free port of loopback. Ends when dropped.
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) streams: mpsc::Receiver<Accepted>,
    _stop: DropGuard,
}

impl Listener {
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (sender, streams) = mpsc::channel(QUEUE);
        let mut routes = tonic::service::Routes::builder();
        routes.add_service(AggregatedDiscoveryServiceServer::new(Service { streams: sender }));
        let stop = CancellationToken::new();
        let config = ListenConfig { drain_timeout: std::time::Duration::ZERO, ..Default::default() };
        tokio::spawn(serve(listener, None, routes.routes(), config, stop.clone().cancelled_owned()));
        Ok(Self { address, streams, _stop: stop.drop_guard() })
    }
}

struct Service {
    streams: mpsc::Sender<Accepted>,
}

impl Service {
    async fn open<Q, R>(&self, request: Request<Streaming<Q>>, variant: Variant) -> Result<Outgoing<R>, Status>
    where
        Q: Into<Ask> + Send + 'static,
        R: From<Told> + Send + 'static,
    {
        let (heard, requests) = mpsc::channel(QUEUE);
        let (responses, told) = mpsc::channel::<Result<Told, Status>>(QUEUE);
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(request)) = incoming.next().await {
                if heard.send(request.into()).await.is_err() {
                    return;
                }
            }
        });
        let accepted = Accepted { variant, requests, responses };
        self.streams.send(accepted).await.map_err(|_| Status::unavailable("the case is over"))?;
        Ok(Box::pin(ReceiverStream::new(told).map(|told| told.map(R::from))))
    }
}

type Outgoing<R> = Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>>;

#[async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Outgoing<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Outgoing<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Outgoing<DiscoveryResponse>>, Status> {
        self.open(request, Variant::Sotw).await.map(Response::new)
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Outgoing<DeltaDiscoveryResponse>>, Status> {
        self.open(request, Variant::Delta).await.map(Response::new)
    }
}
