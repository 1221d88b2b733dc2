//! Pushes on the wire: they go out as they were encoded once for all who are told the same. A large one is not even copied:
//! what a slow client has not taken yet costs nothing.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use tonic::Status;

use super::outbox::Outlet;
use crate::protocol::Push;

/// The body of a stream's response: pushes as length-prefixed messages, then the status
/// ([gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Responses").
pub(super) struct PushBody {
    pushes: Outlet,
    /// What of a push is to be sent yet.
    rest: Option<Bytes>,
    ended: bool,
}

/// A message is preceded by a flag, for compression, and its length.
pub(super) const PREFIX: usize = 5;

/// Up to here a push is copied into one part: a frame of its own would cost more.
const COPIED: usize = 4096;

impl PushBody {
    pub(super) fn new(pushes: Outlet) -> Self {
        Self { pushes, rest: None, ended: false }
    }

    /// The first part of a push.
    fn write(&mut self, push: &Push) -> Result<Bytes, Status> {
        let (shared, own) = push.encoded();
        let length = u32::try_from(shared.len() + own.len())
            .map_err(|_| Status::resource_exhausted("a push of 4 GiB or more cannot be sent"))?;
        let copied = shared.len() <= COPIED;
        let mut head = BytesMut::with_capacity(PREFIX + own.len() + if copied { shared.len() } else { 0 });
        head.put_u8(0);
        head.put_u32(length);
        head.put(own);
        if copied {
            head.put(shared);
            return Ok(self.pushes.last_frame(head.freeze()));
        }
        self.rest = Some(self.pushes.last_frame(shared));
        Ok(head.freeze())
    }

    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.ended = true;
        let mut trailers = http::HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            // A reason that fits no header: the code says enough.
            trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from(status.code() as i32));
        }
        Frame::trailers(trailers)
    }
}

impl Body for PushBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if let Some(rest) = this.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        if this.ended {
            return Poll::Ready(None);
        }
        let written = match ready!(this.pushes.poll_next(cx)) {
            Some(push) => push.and_then(|push| this.write(&push)),
            None => Err(Status::ok("")),
        };
        Poll::Ready(Some(Ok(match written {
            Ok(part) => Frame::data(part),
            Err(status) => this.end(&status),
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc, time::Instant};

    use mesh_xds_api::{envoy::config::cluster::v3::Cluster, envoy::service::discovery::v3::DeltaDiscoveryResponse};
    use prost::Message;
    use tonic::Code;

    use super::*;
    use crate::{
        Resource, TypeUrl,
        protocol::{Content, Variant},
        server::outbox::outbox,
    };

    fn push(padding: usize) -> Push {
        let cluster = Cluster { name: "c".into(), alt_stat_name: "x".repeat(padding), ..Default::default() };
        let resources = vec![Arc::new(Resource::pack("c", &cluster))];
        let content = Content::new(TypeUrl::CLUSTER, Variant::Delta, false, resources, Vec::new());
        Push { nonce: "1".into(), content: Arc::new(content) }
    }

    #[tokio::test]
    async fn messages_then_the_status() {
        let (outbox, outlet) = outbox();
        let mut body = PushBody::new(outlet);
        tokio::spawn(async move {
            for padding in [1, 10_000] {
                outbox.room().await;
                outbox.push(push(padding), Instant::now(), None);
            }
            outbox.room().await;
            outbox.fail(Status::unavailable("away"));
        });
        let (mut data, mut parts, mut trailers) = (Vec::new(), 0, None);
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            match frame.unwrap().into_data() {
                Ok(part) => {
                    parts += 1;
                    data.extend_from_slice(&part);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        assert_eq!(parts, 3, "the small one is one part");
        for padding in [1, 10_000] {
            let length = u32::from_be_bytes(data[1..PREFIX].try_into().unwrap()) as usize;
            let message = DeltaDiscoveryResponse::decode(&data[PREFIX..PREFIX + length]).unwrap();
            assert_eq!((data[0], message), (0, push(padding).into_delta()));
            data.drain(..PREFIX + length);
        }
        assert!(data.is_empty());
        let status = Status::from_header_map(&trailers.unwrap()).unwrap();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "away"));
    }
}
