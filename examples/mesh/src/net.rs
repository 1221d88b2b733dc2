//! Small network helpers: binding with an error that says what to do, and a plain HTTP client for admin interfaces.

use std::{io, net::SocketAddr, path::Path, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Most bytes read of an admin answer.
const ANSWER_LIMIT: usize = 64 << 20;

/// Binds `addr`, or says what to do about it.
pub(crate) async fn bind(addr: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| match () {
        () if addr.port() < 1024 && addr.port() != 0 => {
            format!("cannot listen on {addr}: ports below 1024 need privileges; choose another with {option}")
        }
        () => format!("cannot listen on {addr}: end what uses it, or choose another address with {option}"),
    })
}

/// What a `POST` to an admin port must carry: a web page that somebody was led to cannot send it.
pub(crate) const ADMIN_HEADER: &str = "x-mesh-admin";

/// One `GET`, on a connection of its own.
pub(crate) async fn get(addr: SocketAddr, path: &str, timeout: Duration) -> anyhow::Result<(u16, Bytes)> {
    ask(http::Method::GET, addr, path, timeout).await
}

/// One `POST` without a body, on a connection of its own.
pub(crate) async fn post(addr: SocketAddr, path: &str, timeout: Duration) -> anyhow::Result<(u16, Bytes)> {
    ask(http::Method::POST, addr, path, timeout).await
}

async fn ask(method: http::Method, addr: SocketAddr, path: &str, timeout: Duration) -> anyhow::Result<(u16, Bytes)> {
    let what = || format!("cannot ask http://{addr}{path}");
    let exchange = async {
        let stream = TcpStream::connect(addr).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = http::Request::builder().method(method).uri(path).header("host", addr.to_string());
        let request = request.header(ADMIN_HEADER, "1").body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_LIMIT);
        let body = body.collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
        driver.abort();
        anyhow::Ok((status, body))
    };
    tokio::time::timeout(timeout, exchange)
        .await
        .map_err(|_| anyhow::anyhow!("no answer in {timeout:?}"))
        .and_then(|r| r)
        .with_context(what)
}

/// Writes `content` so that a reader sees all of it or nothing.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, content)?;
    std::fs::rename(temporary, path)
}
