//! The generated services, all over the same stream.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt};
use mesh_xds_api::envoy::{
    config::core::v3::Node as NodeMessage,
    service::{
        cluster::v3::cluster_discovery_service_server as cds,
        discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
            aggregated_discovery_service_server as ads,
        },
        endpoint::v3::endpoint_discovery_service_server as eds,
        extension::v3::extension_config_discovery_service_server as ecds,
        listener::v3::listener_discovery_service_server as lds,
        route::v3::route_discovery_service_server as rds,
        runtime::v3::runtime_discovery_service_server as rtds,
        secret::v3::secret_discovery_service_server as sds,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    Inner, PeerInfo,
    fetch::{self, Fetched},
    stream::{self, Kind, PUSH_QUEUE},
};
use crate::{
    Node, TypeUrl,
    protocol::{Push, Request as Normal, Variant},
};

type Outgoing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Adds every discovery service.
pub(super) fn add_all(inner: &Arc<Inner>, builder: &mut tonic::service::RoutesBuilder) {
    let limit = inner.limits.max_request_bytes;
    let service = |only: Option<TypeUrl>| Service { inner: inner.clone(), only };
    builder.add_service(ads::AggregatedDiscoveryServiceServer::new(service(None)).max_decoding_message_size(limit));
    macro_rules! add {
        ($($server:ty, $type_url:expr;)*) => {
            $(builder.add_service(<$server>::new(service(Some($type_url))).max_decoding_message_size(limit));)*
        };
    }
    add! {
        cds::ClusterDiscoveryServiceServer<Service>, TypeUrl::CLUSTER;
        eds::EndpointDiscoveryServiceServer<Service>, TypeUrl::ENDPOINT;
        lds::ListenerDiscoveryServiceServer<Service>, TypeUrl::LISTENER;
        rds::RouteDiscoveryServiceServer<Service>, TypeUrl::ROUTE;
        sds::SecretDiscoveryServiceServer<Service>, TypeUrl::SECRET;
        ecds::ExtensionConfigDiscoveryServiceServer<Service>, TypeUrl::EXTENSION_CONFIG;
        rtds::RuntimeDiscoveryServiceServer<Service>, TypeUrl::RUNTIME;
    }
}

/// One service: of all types, or of one.
pub(super) struct Service {
    inner: Arc<Inner>,
    only: Option<TypeUrl>,
}

/// A request message of either variant.
trait RequestMessage: Into<Normal> {
    fn take_node(&mut self) -> Option<NodeMessage>;
}

impl RequestMessage for DiscoveryRequest {
    fn take_node(&mut self) -> Option<NodeMessage> {
        self.node.take()
    }
}

impl RequestMessage for DeltaDiscoveryRequest {
    fn take_node(&mut self) -> Option<NodeMessage> {
        self.node.take()
    }
}

impl Service {
    fn sotw(&self, request: Request<Streaming<DiscoveryRequest>>) -> Response<Outgoing<DiscoveryResponse>> {
        self.open(request, Variant::Sotw, Push::into_sotw)
    }

    fn delta(&self, request: Request<Streaming<DeltaDiscoveryRequest>>) -> Response<Outgoing<DeltaDiscoveryResponse>> {
        self.open(request, Variant::Delta, Push::into_delta)
    }

    fn open<Q, R>(
        &self,
        request: Request<Streaming<Q>>,
        variant: Variant,
        encode: fn(Push) -> R,
    ) -> Response<Outgoing<R>>
    where
        Q: RequestMessage + Send + 'static,
        R: Send + 'static,
    {
        let peer = peer_of(&request);
        let requests = request
            .into_inner()
            .map(|message| message.map(|mut message| (message.take_node().map(Node::from), message.into())));
        let (sender, pushes) = mpsc::channel(PUSH_QUEUE);
        let kind = Kind { variant, only: self.only.clone() };
        tokio::spawn(stream::run(self.inner.clone(), kind, peer, requests, sender));
        Response::new(Box::pin(ReceiverStream::new(pushes).map(move |push| push.map(encode))))
    }

    /// The unary form.
    async fn fetch(&self, request: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
        let peer = peer_of(&request);
        let mut message = request.into_inner();
        // gRPC has no way to say that nothing changed.
        message.version_info.clear();
        match fetch::fetch(&self.inner, self.only.as_ref(), &peer, message).await? {
            Fetched::Push(push) => Ok(Response::new(push.into_sotw())),
            Fetched::Unchanged => Err(Status::internal("a fetch without a version is always answered")),
        }
    }
}

fn peer_of<T>(request: &Request<T>) -> PeerInfo {
    request.extensions().get::<PeerInfo>().cloned().unwrap_or_default()
}

#[async_trait]
impl ads::AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Outgoing<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Outgoing<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Outgoing<DiscoveryResponse>>, Status> {
        Ok(self.sotw(request))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Outgoing<DeltaDiscoveryResponse>>, Status> {
        Ok(self.delta(request))
    }
}

macro_rules! per_type {
    ($($service:path: $Sotw:ident $sotw:ident, $Delta:ident $delta:ident, $fetch:ident;)*) => { $(
        #[async_trait]
        impl $service for Service {
            type $Sotw = Outgoing<DiscoveryResponse>;
            type $Delta = Outgoing<DeltaDiscoveryResponse>;

            async fn $sotw(
                &self,
                request: Request<Streaming<DiscoveryRequest>>,
            ) -> Result<Response<Outgoing<DiscoveryResponse>>, Status> {
                Ok(self.sotw(request))
            }

            async fn $delta(
                &self,
                request: Request<Streaming<DeltaDiscoveryRequest>>,
            ) -> Result<Response<Outgoing<DeltaDiscoveryResponse>>, Status> {
                Ok(self.delta(request))
            }

            async fn $fetch(
                &self,
                request: Request<DiscoveryRequest>,
            ) -> Result<Response<DiscoveryResponse>, Status> {
                self.fetch(request).await
            }
        }
    )* };
}

per_type! {
    cds::ClusterDiscoveryService: StreamClustersStream stream_clusters, DeltaClustersStream delta_clusters,
        fetch_clusters;
    eds::EndpointDiscoveryService: StreamEndpointsStream stream_endpoints, DeltaEndpointsStream delta_endpoints,
        fetch_endpoints;
    lds::ListenerDiscoveryService: StreamListenersStream stream_listeners, DeltaListenersStream delta_listeners,
        fetch_listeners;
    rds::RouteDiscoveryService: StreamRoutesStream stream_routes, DeltaRoutesStream delta_routes, fetch_routes;
    sds::SecretDiscoveryService: StreamSecretsStream stream_secrets, DeltaSecretsStream delta_secrets, fetch_secrets;
    ecds::ExtensionConfigDiscoveryService: StreamExtensionConfigsStream stream_extension_configs,
        DeltaExtensionConfigsStream delta_extension_configs, fetch_extension_configs;
    rtds::RuntimeDiscoveryService: StreamRuntimeStream stream_runtime, DeltaRuntimeStream delta_runtime, fetch_runtime;
}
