//! [`BundleEndpoint`]: the own bundle for everybody.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::StreamExt;
use tower::Service;

use crate::{
    server::{IncomingLimits, tls_incoming},
    spiffe::SpiffeBundle,
};

/// How long a client may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers `GET PATH` with the bundle document, as a service that goes into any axum router or hyper server
/// (SPIFFE_Federation.md sections 5.2.1.3 and 5.2.2.3). It asks nobody who it is, as the standard wants.
///
/// Which profile it is depends on the certificate that is shown: one of a public authority makes `https_web`, an X.509-SVID
/// ([`server_config_without_client_auth`](crate::tls::server_config_without_client_auth)) `https_spiffe`.
///
/// | answer | when |
/// |---|---|
/// | 200, `application/json` | `GET` or `HEAD` of the path |
/// | 304 | as 200, and the client has the newest document (`If-None-Match`) |
/// | 404 | another path |
/// | 405 | another method |
#[derive(Debug, Clone)]
pub struct BundleEndpoint {
    path: Arc<str>,
    bundle: watch::Receiver<Arc<SpiffeBundle>>,
}

impl BundleEndpoint {
    /// Serves what `bundle` has, usually from [`BundlePublisher::subscribe`](super::BundlePublisher::subscribe), at `path`.
    pub fn new(path: impl Into<Arc<str>>, bundle: watch::Receiver<Arc<SpiffeBundle>>) -> Self {
        Self { path: path.into(), bundle }
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.uri().path() != &*self.path {
            return status(StatusCode::NOT_FOUND);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = status(StatusCode::METHOD_NOT_ALLOWED);
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let bundle = Arc::clone(&self.bundle.borrow());
        let tag = bundle.sequence.and_then(|n| HeaderValue::from_str(&format!("\"{n}\"")).ok());
        let held = request.headers().get(header::IF_NONE_MATCH);
        let mut response = if tag.is_some() && held == tag.as_ref() {
            status(StatusCode::NOT_MODIFIED)
        } else {
            // A server leaves out the body of an answer to HEAD by itself.
            let mut document = Response::new(Full::new(Bytes::from(bundle.to_jwks())));
            document.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            document
        };
        if let Some(tag) = tag {
            response.headers_mut().insert(header::ETAG, tag);
        }
        // Nobody in between may hand out an old one: "the most up-to-date version available".
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

impl<B> Service<Request<B>> for BundleEndpoint {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer(&request)))
    }
}

/// Serves the endpoint over HTTP/1.1 and HTTP/2 until the future is dropped. `tls` says with which certificate; its ALPN
/// protocols are set here.
///
/// # Errors
/// Never by itself: connections that fail are dropped.
pub async fn serve_bundle(
    listener: TcpListener,
    mut tls: ServerConfig,
    endpoint: BundleEndpoint,
    limits: IncomingLimits,
) -> io::Result<()> {
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let incoming = tls_incoming(listener, Arc::new(tls), limits);
    tokio::pin!(incoming);
    // Dropped with this future, and so end the connections.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            next = incoming.next() => match next {
                Some(Ok(stream)) => {
                    let service = TowerToHyperService::new(endpoint.clone());
                    connections.spawn(async move {
                        let mut server = auto::Builder::new(TokioExecutor::new());
                        server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
                        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                            tracing::debug!(error, "connection to the bundle endpoint broke off");
                        }
                    });
                }
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
