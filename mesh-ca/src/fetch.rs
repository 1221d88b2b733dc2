//! Fetching of small public documents over HTTPS: bundles and key sets of others.
//!
//! One request per connection: documents are fetched every few minutes at most, and each fetch verifies the server anew.
//! Redirects are followed to `https` only, with the same verification. Sizes and times are bounded.

mod freshness;
mod roots;
mod url;

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use roots::{WebRoots, WebRootsError};
pub use url::{HttpsUrl, HttpsUrlError};

/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// Most bytes of a response's head.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Why a document could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The server could not be reached.
    #[error("cannot connect to {authority}: {reason}")]
    Connect {
        /// Host and port.
        authority: String,
        /// What is in the way.
        reason: String,
    },
    /// The TLS handshake failed, most often because the server is not who it must be.
    #[error("TLS handshake with {authority} failed: {reason}")]
    Tls {
        /// Host and port.
        authority: String,
        /// What is wrong.
        reason: String,
    },
    /// The server did not speak HTTP, or stopped in between.
    #[error("the exchange broke off: {0}")]
    Broken(String),
    /// The answer is not 200.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// The server sends us somewhere that we do not go.
    #[error("redirect refused: {0}")]
    Redirect(String),
    /// The document is larger than is read.
    #[error("the document has more than {0} bytes")]
    TooLarge(usize),
    /// It took longer than allowed.
    #[error("no complete answer within {0:?}")]
    TimedOut(Duration),
}

/// A document as it came.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) body: Bytes,
    /// How long it may be used without asking again, when the server says so.
    pub(crate) fresh_for: Option<Duration>,
}

/// Limits of one fetch, redirects included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchLimits {
    pub(crate) timeout: Duration,
    pub(crate) max_bytes: usize,
}

/// Gets the document at `url`. `tls` verifies every server on the way.
pub(crate) async fn get(url: &HttpsUrl, tls: ClientConfig, limits: FetchLimits) -> Result<Fetched, FetchError> {
    let mut tls = tls;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let follow = follow(url.clone(), Arc::new(tls), limits.max_bytes);
    tokio::time::timeout(limits.timeout, follow).await.map_err(|_| FetchError::TimedOut(limits.timeout))?
}

async fn follow(mut url: HttpsUrl, tls: Arc<ClientConfig>, max_bytes: usize) -> Result<Fetched, FetchError> {
    for _ in 0..=MAX_REDIRECTS {
        match request(&url, Arc::clone(&tls), max_bytes).await? {
            Answer::Document(fetched) => return Ok(fetched),
            Answer::Elsewhere(location) => {
                url = url.join(&location).map_err(|e| FetchError::Redirect(format!("{location:?}: {e}")))?;
            }
        }
    }
    Err(FetchError::Redirect(format!("more than {MAX_REDIRECTS} in a row")))
}

enum Answer {
    Document(Fetched),
    Elsewhere(String),
}

async fn request(url: &HttpsUrl, tls: Arc<ClientConfig>, max_bytes: usize) -> Result<Answer, FetchError> {
    let authority = url.authority();
    let tcp = TcpStream::connect((url.host(), url.port()))
        .await
        .map_err(|e| FetchError::Connect { authority: authority.clone(), reason: e.to_string() })?;
    let stream = TlsConnector::from(tls)
        .connect(url.server_name(), tcp)
        .await
        .map_err(|e| FetchError::Tls { authority: authority.clone(), reason: tls_reason(&e) })?;
    let broken = |e: hyper::Error| FetchError::Broken(e.to_string());
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(url.path_and_query())
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "mesh-ca")
        .body(Empty::<Bytes>::new())
        .map_err(|e| FetchError::Broken(e.to_string()))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        read(response, max_bytes).await
    };
    // The connection is driven beside the exchange, and dropped with it.
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = &mut connection => match (exchange.await, ended) {
            // All may have been read from the socket before it broke; what is left is in memory.
            (Ok(answer), _) => Ok(answer),
            (Err(_), Err(e)) => Err(broken(e)),
            (Err(e), Ok(())) => Err(e),
        },
    }
}

async fn read(response: http::Response<hyper::body::Incoming>, max_bytes: usize) -> Result<Answer, FetchError> {
    let (head, body) = response.into_parts();
    if is_redirect(head.status) {
        return match head.headers.get(header::LOCATION).and_then(|l| l.to_str().ok()) {
            Some(location) => Ok(Answer::Elsewhere(location.to_owned())),
            None => Err(FetchError::Redirect("there is no location".into())),
        };
    }
    if head.status != StatusCode::OK {
        return Err(FetchError::Status(head.status.as_u16()));
    }
    let body = Limited::new(body, max_bytes).collect().await.map_err(|e| {
        if e.is::<LengthLimitError>() { FetchError::TooLarge(max_bytes) } else { FetchError::Broken(e.to_string()) }
    })?;
    Ok(Answer::Document(Fetched { body: body.to_bytes(), fresh_for: fresh_for(&head.headers) }))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    freshness::lifetime(text(header::CACHE_CONTROL), text(header::AGE).next())
}

/// rustls' own text, without tokio's wrapping.
fn tls_reason(error: &io::Error) -> String {
    error.get_ref().map_or_else(|| error.to_string(), |inner| inner.to_string())
}
