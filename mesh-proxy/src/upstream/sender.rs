use std::{
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    SendError, SendErrorKind,
    connection::{H1, H2},
    pool::HostPool,
};
use crate::{body::Body, dial::UpstreamConnInfo};

/// A connection reserved for one request. Dropped unused, it goes back to its pool.
#[derive(Debug)]
pub(crate) struct HttpSender {
    connection: Option<Lease>,
    guard: StreamGuard,
    /// The request is on its way: given up now, the stream is reset.
    sending: bool,
}

/// A place on a connection.
#[derive(Debug)]
pub(super) enum Lease {
    H1(H1),
    H2(Rc<H2>),
}

impl HttpSender {
    pub(super) fn new(lease: Lease, pool: &Rc<HostPool>) -> Self {
        let stream = match &lease {
            Lease::H1(_) => None,
            Lease::H2(connection) => {
                connection.begin();
                Some(connection.clone())
            }
        };
        Self { connection: Some(lease), guard: StreamGuard::new(pool, stream), sending: false }
    }

    /// Facts of the connection.
    pub(crate) fn info(&self) -> &Arc<UpstreamConnInfo> {
        match self.connection.as_ref() {
            Some(Lease::H1(connection)) => &connection.shared.info,
            Some(Lease::H2(connection)) => &connection.info,
            // The lease is taken only by `send` and `drop`, which consume the sender.
            None => unreachable!("a sender has its connection until it is used up"),
        }
    }

    /// The connection speaks HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.connection, Some(Lease::H2(_)))
    }

    /// Sends a request and waits for the head of the response. HTTP/1.1 wants the path as target and a `Host` header,
    /// HTTP/2 a full URI.
    ///
    /// Dropping the future gives the request up: the stream is reset, or the HTTP/1.1 connection closed.
    pub(crate) async fn send(mut self, request: Request<Body>) -> Result<Response<UpstreamBody>, SendError> {
        let lease = self.connection.take();
        self.sending = true;
        match lease {
            Some(Lease::H1(mut connection)) => {
                let reused = connection.shared.count_request() > 1;
                match connection.tx.try_send_request(request).await {
                    Ok(response) => {
                        connection.give_back();
                        Ok(self.receive(response))
                    }
                    Err(mut failed) => {
                        let request = failed.take_message();
                        Err(self.failed(SendError::new(failed.into_error(), request, reused)))
                    }
                }
            }
            Some(Lease::H2(connection)) => {
                let reused = connection.count_request() > 1;
                match connection.tx.clone().try_send_request(request).await {
                    Ok(response) => Ok(self.receive(response)),
                    Err(mut failed) => {
                        let request = failed.take_message();
                        if request.is_some() {
                            connection.stop_using();
                        }
                        Err(self.failed(SendError::new(failed.into_error(), request, reused)))
                    }
                }
            }
            None => unreachable!("a sender has its connection until it is used up"),
        }
    }

    fn failed(&mut self, error: SendError) -> SendError {
        self.sending = false;
        if error.kind == SendErrorKind::Protocol
            && let Some(pool) = &self.guard.pool
        {
            pool.cluster.stats().upstream_cx_protocol_error.inc();
        }
        error
    }

    fn receive(mut self, response: Response<Incoming>) -> Response<UpstreamBody> {
        self.sending = false;
        let guard = self.guard.take();
        response.map(|incoming| UpstreamBody { guard: (!incoming.is_end_stream()).then_some(guard), incoming })
    }
}

impl Drop for HttpSender {
    fn drop(&mut self) {
        if self.sending {
            self.guard.reset();
        }
        if let Some(Lease::H1(connection)) = self.connection.take()
            && let Some(pool) = &self.guard.pool
        {
            pool.release(connection);
        }
    }
}

/// Counts a stream while it is under way, and keeps its place on an HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct StreamGuard {
    pool: Option<Rc<HostPool>>,
    connection: Option<Rc<H2>>,
}

impl StreamGuard {
    fn new(pool: &Rc<HostPool>, connection: Option<Rc<H2>>) -> Self {
        let state = &pool.host.state;
        state.rq_total.fetch_add(1, Relaxed);
        state.rq_active.fetch_add(1, Relaxed);
        let stats = pool.cluster.stats();
        stats.upstream_rq_total.inc();
        stats.upstream_rq_active.inc();
        Self { pool: Some(pool.clone()), connection }
    }

    /// Counts that the stream is given up before its end.
    fn reset(&self) {
        if let Some(pool) = &self.pool {
            pool.cluster.stats().upstream_rq_tx_reset.inc();
        }
    }

    fn take(&mut self) -> Self {
        Self { pool: self.pool.take(), connection: self.connection.take() }
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        pool.host.state.rq_active.fetch_sub(1, Relaxed);
        pool.cluster.stats().upstream_rq_active.dec();
        if let Some(connection) = self.connection.take() {
            connection.end();
            pool.stream_ended();
        }
    }
}

/// Body of a response. The stream ends with its last frame, or when it is dropped.
#[derive(Debug)]
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    guard: Option<StreamGuard>,
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if let Some(guard) = &self.guard {
            guard.reset();
        }
    }
}

impl HttpBody for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || self.incoming.is_end_stream() {
            self.guard = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
