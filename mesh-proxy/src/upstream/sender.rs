use std::{
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use http::{Request, Response};

use super::{
    SendError, SendErrorKind,
    body::{From, UpstreamBody},
    connection::H1,
    http2::{Exchange, H2, Refusal},
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
    pub(crate) fn send(
        mut self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<UpstreamBody>, SendError>> {
        // Begun before the future is made, which then has no room for the request.
        let begun = match self.connection.take() {
            Some(Lease::H1(mut connection)) => {
                let reused = connection.shared.count_request() > 1;
                let response = connection.tx.try_send_request(request);
                Begun::H1(response, connection, reused)
            }
            Some(Lease::H2(connection)) => {
                let reused = connection.count_request() > 1;
                Begun::H2(connection.begin_exchange(request), reused)
            }
            None => unreachable!("a sender has its connection until it is used up"),
        };
        self.sending = true;
        async move {
            match begun {
                Begun::H1(response, connection, reused) => match response.await {
                    Ok(response) => Ok(self.receive(response, |body| From::H1(body, Some(connection)))),
                    Err(mut failed) => {
                        let request = failed.take_message();
                        Err(self.failed(SendError::http1(failed.into_error(), request, reused)))
                    }
                },
                Begun::H2(exchange, reused) => {
                    let response = match exchange {
                        Ok(exchange) => exchange.response().await.map_err(|e| (e, None)),
                        Err(refusal) => Err(refusal),
                    };
                    match response {
                        Ok(response) => Ok(self.receive(response, From::H2)),
                        Err((error, request)) => Err(self.failed(SendError::http2(error, request, reused))),
                    }
                }
            }
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

    fn receive<B>(mut self, response: Response<B>, from: impl FnOnce(B) -> From) -> Response<UpstreamBody> {
        self.sending = false;
        let guard = self.guard.take();
        response.map(|body| UpstreamBody::new(from(body), guard))
    }
}

/// A request on its way.
enum Begun<F> {
    H1(F, H1, bool),
    H2(Result<Exchange, Refusal>, bool),
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
    pub(super) fn reset(&self) {
        if let Some(pool) = &self.pool {
            pool.cluster.stats().upstream_rq_tx_reset.inc();
        }
    }

    /// The pool that the stream's connection belongs to.
    pub(super) fn pool(&self) -> Option<&Rc<HostPool>> {
        self.pool.as_ref()
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
