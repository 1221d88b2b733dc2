//! One gRPC stream, in either variant, in normal form.

use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use http::uri::PathAndQuery;
use mesh_xds_api::envoy::config::core::v3::Node as NodeMessage;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use super::ClientConfig;
use crate::{
    TypeUrl,
    protocol::{DecodeError, Request, Response, Variant},
};

/// Requests that may wait for the transport.
pub(super) const REQUEST_QUEUE: usize = 16;

/// A response, or one that cannot be read.
pub(super) type Received = Result<Response, DecodeError>;

/// What comes in.
pub(super) type Incoming = Result<Received, Status>;

/// Both directions of a stream.
pub(super) struct Duplex {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) responses: BoxStream<'static, Incoming>,
}

/// Opens a stream. Nothing happens before `responses` is polled.
pub(super) fn open(channel: Channel, config: &ClientConfig, node: NodeMessage) -> Duplex {
    let (requests, receiver) = mpsc::channel(REQUEST_QUEUE);
    let client = Grpc::new(channel).max_decoding_message_size(config.max_message_bytes);
    let path = method(config.service.as_ref(), config.variant);
    // The node goes with the first request only.
    let mut node = Some(node);
    let requested = ReceiverStream::new(receiver);
    let responses: BoxStream<'static, Incoming> = match config.variant {
        Variant::Delta => {
            let outgoing = requested.map(move |request: Request| {
                let mut message = request.into_delta();
                message.node = node.take();
                message
            });
            let call = call(client, path, outgoing);
            flatten(call).map_ok(Response::from_delta).boxed()
        }
        Variant::Sotw => {
            let outgoing = requested.map(move |request: Request| {
                let mut message = request.into_sotw();
                message.node = node.take();
                message
            });
            let call = call(client, path, outgoing);
            flatten(call).map_ok(Response::from_sotw).boxed()
        }
    };
    Duplex { requests, responses }
}

/// The method of the aggregated service, or of the service of one type.
fn method(service: Option<&TypeUrl>, variant: Variant) -> &'static str {
    let (delta, sotw) = match service {
        Some(url) if *url == TypeUrl::CLUSTER => (
            "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
            "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters",
        ),
        Some(url) if *url == TypeUrl::ENDPOINT => (
            "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints",
            "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints",
        ),
        Some(url) if *url == TypeUrl::LISTENER => (
            "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners",
            "/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners",
        ),
        Some(url) if *url == TypeUrl::ROUTE => (
            "/envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes",
            "/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes",
        ),
        Some(url) if *url == TypeUrl::SECRET => (
            "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets",
            "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
        ),
        _ => (
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
        ),
    };
    match variant {
        Variant::Delta => delta,
        Variant::Sotw => sotw,
    }
}

async fn call<Q, R>(
    mut client: Grpc<Channel>,
    path: &'static str,
    outgoing: impl Stream<Item = Q> + Send + 'static,
) -> Result<tonic::Response<tonic::Streaming<R>>, Status>
where
    Q: Message + 'static,
    R: Message + Default + 'static,
{
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<Q, R>::default();
    client.streaming(tonic::Request::new(outgoing), PathAndQuery::from_static(path), codec).await
}

/// The call and its stream as one stream: a server may not answer the call before it has read a request.
fn flatten<T: Send + 'static>(
    call: impl Future<Output = Result<tonic::Response<tonic::Streaming<T>>, Status>> + Send + 'static,
) -> impl Stream<Item = Result<T, Status>> + Send + 'static {
    stream::once(call).map_ok(tonic::Response::into_inner).try_flatten()
}
