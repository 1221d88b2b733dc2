//! The body type that both codecs carry, so that a message passes from one side to the other without a box.

use std::{
    collections::VecDeque,
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::http::{Download, UploadBody};

/// Why a body ended before its end.
pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

/// A request or response body. Not `Send`: it never leaves its worker.
pub(crate) enum Body {
    /// No byte.
    Empty,
    /// Chunks at hand.
    Chunks(VecDeque<Bytes>),
    /// A request on its way upstream.
    Upload(UploadBody),
    /// A response on its way to the client.
    Download(Download),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Body::Empty => Poll::Ready(None),
            Body::Chunks(chunks) => Poll::Ready(chunks.pop_front().map(|chunk| Ok(Frame::data(chunk)))),
            Body::Upload(body) => Pin::new(body).poll_frame(cx),
            Body::Download(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Chunks(chunks) => chunks.is_empty(),
            Body::Upload(body) => body.is_end_stream(),
            Body::Download(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Chunks(chunks) => SizeHint::with_exact(chunks.iter().map(|chunk| chunk.len() as u64).sum()),
            Body::Upload(body) => body.size_hint(),
            Body::Download(body) => body.size_hint(),
        }
    }
}
