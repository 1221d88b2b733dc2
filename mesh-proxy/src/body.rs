//! The body type that both codecs carry, so that a message passes from one side to the other without a box.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::http::{Download, UploadBody};

/// Why a body ended before its end.
pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

/// A request or response body. Not `Send`: it never leaves its worker.
pub(crate) enum Body {
    /// No byte.
    Empty,
    /// One chunk, taken when it is sent.
    Full(Option<Bytes>),
    /// As the codec reads it.
    Incoming(Incoming),
    /// A request on its way upstream.
    Upload(UploadBody),
    /// A response on its way to the client.
    Download(Download),
    /// Any other.
    Boxed(Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError>>>),
}

impl Body {
    /// A body of one chunk; none if it is empty.
    pub(crate) fn full(bytes: Bytes) -> Self {
        if bytes.is_empty() { Body::Empty } else { Body::Full(Some(bytes)) }
    }

    /// Any body, in a box.
    pub(crate) fn boxed(body: impl HttpBody<Data = Bytes, Error = BodyError> + 'static) -> Self {
        Body::Boxed(Box::pin(body))
    }
}

impl From<Incoming> for Body {
    fn from(body: Incoming) -> Self {
        if body.is_end_stream() { Body::Empty } else { Body::Incoming(body) }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Body::Empty => Poll::Ready(None),
            Body::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Incoming(body) => {
                Poll::Ready(ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(BodyError::from)))
            }
            Body::Upload(body) => Pin::new(body).poll_frame(cx),
            Body::Download(body) => Pin::new(body).poll_frame(cx),
            Body::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(bytes) => bytes.is_none(),
            Body::Incoming(body) => body.is_end_stream(),
            Body::Upload(body) => body.is_end_stream(),
            Body::Download(body) => body.is_end_stream(),
            Body::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Body::Incoming(body) => body.size_hint(),
            Body::Upload(body) => body.size_hint(),
            Body::Download(body) => body.size_hint(),
            Body::Boxed(body) => body.size_hint(),
        }
    }
}
