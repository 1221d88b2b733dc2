//! One gRPC stream, in either variant, in normal form.

use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use mesh_xds_api::envoy::{
    config::core::v3::Node as NodeMessage,
    service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Channel};

use crate::protocol::{DecodeError, Request, Response, Variant};

/// Requests that may wait for the transport.
const REQUEST_QUEUE: usize = 16;

/// What comes in.
pub(super) type Incoming = Result<Result<Response, DecodeError>, Status>;

/// Both directions of a stream.
pub(super) struct Duplex {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) responses: BoxStream<'static, Incoming>,
}

/// Opens a stream. Nothing happens before `responses` is polled.
pub(super) fn open(channel: Channel, variant: Variant, node: NodeMessage, max_message_bytes: usize) -> Duplex {
    let (requests, receiver) = mpsc::channel(REQUEST_QUEUE);
    let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(max_message_bytes);
    // The node goes with the first request only.
    let mut node = Some(node);
    let requested = ReceiverStream::new(receiver);
    let responses: BoxStream<'static, Incoming> = match variant {
        Variant::Delta => {
            let outgoing = requested.map(move |request: Request| {
                let mut message = request.into_delta();
                message.node = node.take();
                message
            });
            let call = async move { client.delta_aggregated_resources(outgoing).await };
            flatten(call).map_ok(Response::from_delta).boxed()
        }
        Variant::Sotw => {
            let outgoing = requested.map(move |request: Request| {
                let mut message = request.into_sotw();
                message.node = node.take();
                message
            });
            let call = async move { client.stream_aggregated_resources(outgoing).await };
            flatten(call).map_ok(Response::from_sotw).boxed()
        }
    };
    Duplex { requests, responses }
}

/// The call and its stream as one stream: a server may not answer the call before it has read a request.
fn flatten<T: Send + 'static>(
    call: impl Future<Output = Result<tonic::Response<tonic::Streaming<T>>, Status>> + Send + 'static,
) -> impl Stream<Item = Result<T, Status>> + Send + 'static {
    stream::once(call).map_ok(tonic::Response::into_inner).try_flatten()
}
