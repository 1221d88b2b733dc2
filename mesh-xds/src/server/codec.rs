//! Messages of the discovery services: pushes go out as they were encoded once for all, requests come in normal form.

use std::marker::PhantomData;

use bytes::BufMut;
use mesh_xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::{
    Node,
    protocol::{Push, Request, Variant},
};

/// What a client sends: the node, on the first request at least, and the request.
pub(super) type Asked = (Option<Node>, Request);

/// A request message of either variant.
pub(super) trait RequestMessage: Message + Default + Send + 'static {
    const VARIANT: Variant;

    fn into_asked(self) -> Asked;
}

impl RequestMessage for DiscoveryRequest {
    const VARIANT: Variant = Variant::Sotw;

    fn into_asked(mut self) -> Asked {
        (self.node.take().map(Node::from), self.into())
    }
}

impl RequestMessage for DeltaDiscoveryRequest {
    const VARIANT: Variant = Variant::Delta;

    fn into_asked(mut self) -> Asked {
        (self.node.take().map(Node::from), self.into())
    }
}

/// The codec of a stream whose client sends `Q`.
#[derive(Debug)]
pub(super) struct PushCodec<Q>(PhantomData<Q>);

/// Writes pushes.
#[derive(Debug)]
pub(super) struct PushEncoder;

/// Reads requests.
#[derive(Debug)]
pub(super) struct RequestDecoder<Q>(PhantomData<Q>);

/// Room that each stream holds for what it writes; it grows with a push and is given up with it.
const WRITE_BUFFER: usize = 512;

fn buffers() -> BufferSettings {
    BufferSettings::new(WRITE_BUFFER, 32 << 10)
}

impl<Q> Default for PushCodec<Q> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Q: RequestMessage> Codec for PushCodec<Q> {
    type Encode = Push;
    type Decode = Asked;
    type Encoder = PushEncoder;
    type Decoder = RequestDecoder<Q>;

    fn encoder(&mut self) -> PushEncoder {
        PushEncoder
    }

    fn decoder(&mut self) -> RequestDecoder<Q> {
        RequestDecoder(PhantomData)
    }
}

impl Encoder for PushEncoder {
    type Item = Push;
    type Error = Status;

    fn encode(&mut self, push: Push, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let (shared, own) = push.encoded();
        buffer.reserve(shared.len() + own.len());
        buffer.put(shared);
        buffer.put(own);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

impl<Q: RequestMessage> Decoder for RequestDecoder<Q> {
    type Item = Asked;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Asked>, Status> {
        let message = Q::decode(buffer).map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Some(message.into_asked()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}
