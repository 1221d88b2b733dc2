use std::fmt;

use http::Request;

use crate::body::{Body, BodyError};

/// A request could not be sent, or no response came.
#[derive(thiserror::Error)]
#[error("{kind}: {source}")]
pub(crate) struct SendError {
    /// What happened.
    pub(crate) kind: SendErrorKind,
    /// The connection had carried requests before: its end may have crossed the request on the way.
    pub(crate) reused: bool,
    /// The request, if no byte of it was sent: it can be sent again as it is.
    pub(crate) request: Option<Box<Request<Body>>>,
    /// The codec's reason.
    pub(crate) source: BodyError,
}

/// What happened to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SendErrorKind {
    /// The connection was closed before the request was written.
    #[error("connection closed before the request was sent")]
    Unsent,
    /// The connection ended before the response began.
    #[error("connection closed before the response")]
    Closed,
    /// The host says that it did not process the stream (REFUSED_STREAM, or GOAWAY with a lower stream id).
    #[error("stream refused")]
    Refused,
    /// The host reset the stream, with this code (RFC 9113 section 7).
    #[error("stream reset with code {0}")]
    Reset(u32),
    /// The response was no valid HTTP.
    #[error("protocol error")]
    Protocol,
    /// The request's body failed: not the host's fault.
    #[error("the request body failed")]
    Body,
}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("kind", &self.kind)
            .field("reused", &self.reused)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl SendError {
    /// An HTTP/1.1 exchange failed.
    pub(super) fn http1(source: hyper::Error, request: Option<Request<Body>>, reused: bool) -> Self {
        let kind = if request.is_some() {
            SendErrorKind::Unsent
        } else if source.is_parse() {
            SendErrorKind::Protocol
        } else if source.is_user() {
            SendErrorKind::Body
        } else {
            SendErrorKind::Closed
        };
        Self { kind, reused, request: request.map(Box::new), source: source.into() }
    }

    /// An HTTP/2 exchange failed.
    pub(super) fn http2(source: h2::Error, request: Option<Box<Request<Body>>>, reused: bool) -> Self {
        let kind = match source.reason() {
            _ if request.is_some() => SendErrorKind::Unsent,
            Some(h2::Reason::REFUSED_STREAM) => SendErrorKind::Refused,
            _ if source.is_io() => SendErrorKind::Closed,
            Some(h2::Reason::NO_ERROR) if source.is_remote() && source.is_go_away() => SendErrorKind::Refused,
            Some(reason) if source.is_remote() => SendErrorKind::Reset(reason.into()),
            _ => SendErrorKind::Protocol,
        };
        Self { kind, reused, request, source: source.into() }
    }
}
