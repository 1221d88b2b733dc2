//! One request for the text, on a connection of its own.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::HttpOptions;

/// By what the server knows a text again.
#[derive(Clone, Debug, Default)]
pub(super) struct Validators {
    etag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
}

/// An answer.
#[derive(Debug)]
pub(super) enum Fetched {
    /// It is still the text that is known.
    Unchanged,
    /// The text.
    Text { text: Bytes, known: Validators },
}

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the server cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    #[error("the exchange broke: {0}")]
    Exchange(#[source] hyper::Error),
    #[error("the server answers {0}")]
    Status(StatusCode),
    #[error("the server answers {0} to {1:?}, which is not followed: name the URL that configuration comes from")]
    Redirected(StatusCode, String),
    #[error("the text has content coding {0:?}, though none was asked for")]
    Coding(String),
    #[error("the text is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the text broke off: {0}")]
    Broken(String),
    #[error("there was no whole answer within {0:?}")]
    Late(Duration),
    #[error("the reading was given up")]
    GivenUp,
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        Self { etag: headers.get(header::ETAG).cloned(), modified: headers.get(header::LAST_MODIFIED).cloned() }
    }

    fn add_to(&self, headers: &mut HeaderMap) {
        // The tag is the more exact of the two; with both, servers must look at the tag only (RFC 9110, 13.2.2).
        if let Some(etag) = &self.etag {
            headers.insert(header::IF_NONE_MATCH, etag.clone());
        } else if let Some(modified) = &self.modified {
            headers.insert(header::IF_MODIFIED_SINCE, modified.clone());
        }
    }
}

/// Asks for the text.
pub(super) async fn fetch(uri: &Uri, options: &HttpOptions, known: &Validators) -> Result<Fetched, FetchError> {
    let tls = options.tls.as_ref().filter(|_| uri.scheme_str() == Some("https"));
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    let socket = TcpStream::connect((host, port)).await.map_err(FetchError::Unreachable)?;
    match tls {
        None => exchange(socket, uri, options, known).await,
        Some(tls) => {
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other);
            let name = name.map_err(FetchError::Unreachable)?;
            let connector = TlsConnector::from(Arc::clone(tls));
            let socket = connector.connect(name, socket).await.map_err(FetchError::Unreachable)?;
            exchange(socket, uri, options, known).await
        }
    }
}

fn request(uri: &Uri, options: &HttpOptions, known: &Validators) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    let path = uri.path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    let headers = request.headers_mut();
    // The authority without credentials, which have a header of their own.
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let authority = authority.rsplit('@').next().unwrap_or_default();
    if let Ok(host) = HeaderValue::from_str(authority) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/yaml, application/json, text/*, */*;q=0.1"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("mesh-config"));
    if let Some(authorization) = &options.authorization {
        headers.insert(header::AUTHORIZATION, authorization.clone());
    }
    known.add_to(headers);
    request
}

async fn exchange<I>(io: I, uri: &Uri, options: &HttpOptions, known: &Validators) -> Result<Fetched, FetchError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(FetchError::Exchange)?;
    let answer = async {
        let answer = sender.send_request(request(uri, options, known)).await.map_err(FetchError::Exchange)?;
        read(answer, options.max_bytes, known).await
    };
    // The connection is driven here, so that giving up the reading closes it.
    tokio::pin!(connection, answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            // What has come before the end may still be read.
            Ok(()) => answer.await,
            Err(error) => Err(FetchError::Exchange(error)),
        },
    }
}

async fn read(
    answer: http::Response<hyper::body::Incoming>,
    max_bytes: usize,
    known: &Validators,
) -> Result<Fetched, FetchError> {
    let (status, headers) = (answer.status(), answer.headers());
    // Without a condition it is no answer.
    if status == StatusCode::NOT_MODIFIED && (known.etag.is_some() || known.modified.is_some()) {
        return Ok(Fetched::Unchanged);
    }
    if let Some(to) = headers.get(header::LOCATION).filter(|_| status.is_redirection()) {
        return Err(FetchError::Redirected(status, String::from_utf8_lossy(to.as_bytes()).into_owned()));
    }
    if status != StatusCode::OK {
        return Err(FetchError::Status(status));
    }
    let coding = headers.get(header::CONTENT_ENCODING).filter(|coding| *coding != "identity");
    if let Some(coding) = coding {
        return Err(FetchError::Coding(String::from_utf8_lossy(coding.as_bytes()).into_owned()));
    }
    let known = Validators::of(headers);
    let body = Limited::new(answer.into_body(), max_bytes).collect().await;
    let text = body.map_err(|error| {
        if error.is::<LengthLimitError>() {
            FetchError::TooLarge(max_bytes)
        } else {
            FetchError::Broken(error.to_string())
        }
    })?;
    Ok(Fetched::Text { text: text.to_bytes(), known })
}
