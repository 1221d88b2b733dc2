//! Requests to a proxy, plain or through TLS, over connections that are kept.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    HeaderMap, Request,
    client::conn::http1::{self, SendRequest},
    header::CONNECTION,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::upstream::digest;

/// Longer than any answer takes that should come.
const LIMIT: Duration = Duration::from_secs(20);

/// Where requests go.
#[derive(Debug, Clone)]
pub struct Target {
    /// The address.
    pub address: SocketAddr,
    /// How TLS is spoken there, if it is.
    pub tls: Option<Arc<ClientConfig>>,
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    /// Short form of the server's certificate.
    pub certificate: Option<String>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: String,
    /// Short form of the server's certificate.
    pub certificate: Option<String>,
}

impl Target {
    /// Opens a connection.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub async fn connect(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Connection::over(stream, None).await };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let stream = TlsConnector::from(tls.clone()).connect(name, stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(digest);
        Connection::over(stream, certificate).await
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn fetch(&self, host: &str, headers: &[(&str, &str)]) -> io::Result<Reply> {
        let asking = async { self.connect().await?.send(host, headers).await.map_err(io::Error::other) };
        tokio::time::timeout(LIMIT, asking).await?
    }
}

impl Connection {
    async fn over<S>(stream: S, certificate: Option<String>) -> io::Result<Self>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { sender, certificate })
    }

    /// Whether the other side has not ended it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// One request.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send(&mut self, host: &str, headers: &[(&str, &str)]) -> hyper::Result<Reply> {
        self.sender.ready().await?;
        let mut request = Request::get("/").header("host", host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new()).expect("names and values of headers are well-formed");
        let response = self.sender.send_request(request).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.into_body().collect().await?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Reply { status, headers, body, certificate: self.certificate.clone() })
    }
}

impl Reply {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// Whether the connection ends with this answer.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.header(CONNECTION.as_str()).is_some_and(|v| v.eq_ignore_ascii_case("close"))
    }
}
