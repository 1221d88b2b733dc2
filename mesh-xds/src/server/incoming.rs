//! Requests of a stream as they come: length-prefixed messages in the frames of its body. What has been read is let go of: an
//! idle stream keeps no room for the largest request it ever got.

use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use futures::Stream;
use http_body::Body as _;
use mesh_xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use prost::Message;
use tonic::{Status, body::Body};

use super::codec::PREFIX;
use crate::{
    Node,
    protocol::{Request, Variant},
};

/// What a client sends: the node, on the first request at least, and the request.
pub(super) type Asked = (Option<Node>, Request);

/// A request message of either variant.
pub(super) trait RequestMessage: Message + Default + 'static {
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

/// The requests of a client that sends `Q`. Ends with the first error.
pub(super) struct Requests<Q> {
    body: Body,
    /// The largest message.
    limit: usize,
    /// What has come and not been read yet.
    frame: Bytes,
    /// The beginning of a message that has not come whole yet, with its prefix.
    begun: BytesMut,
    message: PhantomData<fn() -> Q>,
}

impl<Q: RequestMessage> Requests<Q> {
    pub(super) fn new(body: Body, limit: usize) -> Self {
        Self { body, limit, frame: Bytes::new(), begun: BytesMut::new(), message: PhantomData }
    }

    /// The next message of what has come, if it is there whole.
    fn read(&mut self) -> Result<Option<Asked>, Status> {
        if self.begun.is_empty() {
            return match self.whole(&self.frame)? {
                Some(length) if self.frame.len() >= length => {
                    let message = self.frame.split_to(length);
                    decode::<Q>(&message[PREFIX..]).map(Some)
                }
                whole => {
                    self.begin(whole);
                    Ok(None)
                }
            };
        }
        // The prefix may come in pieces, too.
        let short = PREFIX.saturating_sub(self.begun.len()).min(self.frame.len());
        self.begun.extend_from_slice(&self.frame.split_to(short));
        let Some(length) = self.whole(&self.begun)? else { return Ok(None) };
        let missing = (length - self.begun.len()).min(self.frame.len());
        self.begun.extend_from_slice(&self.frame.split_to(missing));
        if self.begun.len() < length {
            return Ok(None);
        }
        let message = std::mem::take(&mut self.begun);
        decode::<Q>(&message[PREFIX..]).map(Some)
    }

    /// Keeps what has come of a message.
    fn begin(&mut self, whole: Option<usize>) {
        if self.frame.has_remaining() {
            // What a client announces and does not send takes no room.
            let room = whole.unwrap_or(PREFIX).min(self.frame.len() * 4);
            self.begun = BytesMut::with_capacity(room);
            self.begun.extend_from_slice(&self.frame);
            self.frame = Bytes::new();
        }
    }

    /// The length of the message that `bytes` begin with, prefix included, if so much of it is there.
    fn whole(&self, bytes: &[u8]) -> Result<Option<usize>, Status> {
        let Some((&[flag, a, b, c, d], _)) = bytes.split_first_chunk() else { return Ok(None) };
        if flag != 0 {
            return Err(Status::invalid_argument("compressed requests are not understood"));
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > self.limit {
            return Err(Status::resource_exhausted(format!("a request of {length} bytes")));
        }
        Ok(Some(PREFIX + length))
    }
}

fn decode<Q: RequestMessage>(message: &[u8]) -> Result<Asked, Status> {
    let message = Q::decode(message).map_err(|error| Status::invalid_argument(error.to_string()))?;
    Ok(message.into_asked())
}

impl<Q: RequestMessage> Stream for Requests<Q> {
    type Item = Result<Asked, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match this.read() {
                Ok(Some(asked)) => return Poll::Ready(Some(Ok(asked))),
                Ok(None) => {}
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                // Trailers of a request say nothing.
                Some(Ok(frame)) => this.frame = frame.into_data().unwrap_or_default(),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None if this.begun.is_empty() => return Poll::Ready(None),
                None => {
                    this.begun = BytesMut::new();
                    return Poll::Ready(Some(Err(Status::invalid_argument("the stream ended within a request"))));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{FutureExt, StreamExt};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use proptest::prelude::*;

    use super::*;

    fn request(name: &str) -> Vec<u8> {
        let message = DeltaDiscoveryRequest { resource_names_subscribe: vec![name.into()], ..Default::default() };
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0][..], &length, &message].concat()
    }

    /// What is read of `bytes` when they come in pieces of these sizes.
    fn read(bytes: &[u8], sizes: &[usize]) -> Vec<Result<String, String>> {
        let (mut pieces, mut rest, mut sizes) = (Vec::new(), bytes, sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, others) = rest.split_at((*sizes.next().unwrap()).clamp(1, rest.len()));
            pieces.push(Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))));
            rest = others;
        }
        let body = Body::new(StreamBody::new(futures::stream::iter(pieces)));
        let requests = Requests::<DeltaDiscoveryRequest>::new(body, 100);
        let read = requests.map(|item| match item {
            Ok((_, request)) => Ok(request.names.first().map(ToString::to_string).unwrap_or_default()),
            Err(status) => Err(status.message().to_owned()),
        });
        // An error is the last that is asked for.
        let mut all = Vec::new();
        let mut read = Box::pin(read);
        while let Some(item) = read.next().now_or_never().flatten() {
            all.push(item);
            if all.last().is_some_and(Result::is_err) {
                break;
            }
        }
        all
    }

    proptest! {
        #[test]
        fn however_it_comes_it_is_read(names in prop::collection::vec("[a-z]{1,40}", 0..5),
            sizes in prop::collection::vec(1usize..60, 1..6))
        {
            let bytes: Vec<u8> = names.iter().flat_map(|name| request(name)).collect();
            let expected: Vec<_> = names.into_iter().map(Ok).collect();
            prop_assert_eq!(read(&bytes, &sizes), expected);
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..50) {
            read(&bytes, &[size]).into_iter().for_each(drop);
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for size in [1, 1000] {
            assert_eq!(read(&[1, 0, 0, 0, 1, 0], &[size]), [Err("compressed requests are not understood".into())]);
            assert_eq!(read(&[0, 0, 0, 0, 101], &[size]), [Err("a request of 101 bytes".into())]);
            assert_eq!(read(&request("a")[..7], &[size]), [Err("the stream ended within a request".into())]);
        }
    }
}
