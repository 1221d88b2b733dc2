//! The load: a closed loop over connections that stay open. Any answer but 200 ends the run.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::case::Case;

const REQUEST: &[u8] = b"GET /svc/x HTTP/1.1\r\nhost: bench.local\r\n\r\n";
/// Connections that share the streams of an HTTP/2 load.
const H2_CONNECTIONS: usize = 2;

/// Requests answered within `time`.
pub(crate) async fn run(case: Case, port: u16, concurrency: usize, time: Duration) -> anyhow::Result<u64> {
    let count = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    match case {
        Case::H1 | Case::Tcp => {
            for _ in 0..concurrency {
                tasks.spawn(http1(port, end, count.clone()));
            }
        }
        Case::H2 => {
            for _ in 0..H2_CONNECTIONS {
                let stream = connect(port).await?;
                let (sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                for _ in 0..concurrency.div_ceil(H2_CONNECTIONS) {
                    tasks.spawn(http2(sender.clone(), end, count.clone()));
                }
            }
        }
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(count.load(Ordering::Relaxed))
}

async fn connect(port: u16) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn http1(port: u16, end: Instant, count: Arc<AtomicU64>) -> anyhow::Result<()> {
    let mut stream = connect(port).await?;
    let mut buffer = Vec::with_capacity(8192);
    while Instant::now() < end {
        stream.write_all(REQUEST).await?;
        buffer.clear();
        let mut whole = None;
        while whole.is_none_or(|w| buffer.len() < w) {
            anyhow::ensure!(stream.read_buf(&mut buffer).await? > 0, "the connection was closed");
            if whole.is_none() {
                whole = length(&buffer)?;
            }
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Bytes of the whole answer, once its head is there.
fn length(buffer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&buffer[..head])?;
    anyhow::ensure!(text.starts_with("HTTP/1.1 200"), "answered {:?}", text.lines().next());
    let size = text.lines().find_map(|l| {
        let (name, value) = l.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Ok(Some(head + 4 + size.context("no content-length")?))
}

async fn http2(
    mut sender: hyper::client::conn::http2::SendRequest<Empty<Bytes>>,
    end: Instant,
    count: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    while Instant::now() < end {
        let request = http::Request::get("http://bench.local/svc/x").body(Empty::new())?;
        let response = sender.send_request(request).await?;
        anyhow::ensure!(response.status() == 200, "answered {}", response.status());
        response.into_body().collect().await?;
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
