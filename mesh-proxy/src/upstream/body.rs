use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use super::{
    connection::H1,
    http2::H2Body,
    sender::StreamGuard,
    tunnel::{HostTunnel, StreamTunnel},
};
use crate::body::BodyError;

/// Body of a response. The stream ends with its last frame, or when it is dropped.
#[derive(Debug)]
pub(crate) struct UpstreamBody {
    from: From,
    guard: Option<StreamGuard>,
}

/// Where a body comes from.
#[derive(Debug)]
pub(super) enum From {
    /// An HTTP/1.1 connection, which is free again at the end.
    H1(Incoming, Option<H1>),
    /// An HTTP/2 stream.
    H2(H2Body),
    /// Nowhere: it became a tunnel.
    Nothing,
}

impl UpstreamBody {
    pub(super) fn new(from: From, guard: StreamGuard) -> Self {
        let mut body = Self { from, guard: Some(guard) };
        if body.is_end_stream() {
            body.end();
        }
        body
    }

    /// There is no more to come: the connection is free for the next request.
    fn end(&mut self) {
        let guard = self.guard.take();
        let From::H1(_, connection) = &mut self.from else { return };
        let Some(connection) = connection.take() else { return };
        match guard.as_ref().and_then(StreamGuard::pool) {
            Some(pool) if connection.tx.is_ready() => pool.release(connection),
            _ => connection.give_back(),
        }
    }

    /// The host's side of the upgrade that `response` grants.
    pub(crate) fn tunnel(response: &mut Response<Self>) -> impl Future<Output = io::Result<HostTunnel>> + use<> {
        let body = response.body_mut();
        let stream = match std::mem::replace(&mut body.from, From::Nothing) {
            From::H2(stream) => stream.into_tunnel().map(|(send, receive)| {
                let guard = body.guard.take();
                StreamTunnel { send, receive, rest: Bytes::new(), _guard: guard }
            }),
            from => {
                body.from = from;
                None
            }
        };
        let upgrade = stream.is_none().then(|| hyper::upgrade::on(response));
        async move {
            match (stream, upgrade) {
                (Some(stream), _) => Ok(HostTunnel::Stream(stream)),
                (None, Some(upgrade)) => {
                    let upgraded = upgrade.await.map_err(io::Error::other)?;
                    Ok(HostTunnel::Connection(TokioIo::new(upgraded)))
                }
                (None, None) => Err(io::ErrorKind::Unsupported.into()),
            }
        }
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if let Some(guard) = &self.guard {
            guard.reset();
        }
        if let From::H1(_, connection) = &mut self.from
            && let Some(connection) = connection.take()
        {
            connection.give_back();
        }
    }
}

impl HttpBody for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = match &mut this.from {
            From::H1(body, _) => Pin::new(body).poll_frame(cx).map_err(BodyError::from),
            From::H2(body) => body.poll_frame(cx),
            From::Nothing => Poll::Ready(None),
        };
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || this.is_end_stream() {
            this.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            From::H1(body, _) => body.is_end_stream(),
            From::H2(body) => body.is_end_stream(),
            From::Nothing => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            From::H1(body, _) => body.size_hint(),
            From::H2(body) => body.length().map_or_else(SizeHint::default, SizeHint::with_exact),
            From::Nothing => SizeHint::with_exact(0),
        }
    }
}
