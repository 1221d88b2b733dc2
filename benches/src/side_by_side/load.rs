//! The load: a closed loop over connections that stay open. Any answer but 200 ends the run.

use std::{
    net::Ipv4Addr,
    path::Path,
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
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use super::{
    bootstrap::{MANY, ROUTES},
    case::Case,
    certs::NAME,
};

/// Connections that share the streams of an HTTP/2 load.
const H2_CONNECTIONS: usize = 4;

/// The load of one case.
#[derive(Clone)]
pub(crate) struct Load {
    case: Case,
    port: u16,
    tls: TlsConnector,
}

impl Load {
    /// Toward `port`. Certificates are in `certs`.
    pub(crate) fn new(case: Case, port: u16, certs: &Path) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certs.join("ca.pem"))?)?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        // A handshake is to be a whole one.
        config.resumption = tokio_rustls::rustls::client::Resumption::disabled();
        Ok(Self { case, port, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Requests answered within `time`.
    pub(crate) async fn run(&self, concurrency: usize, time: Duration) -> anyhow::Result<u64> {
        let count = Arc::new(AtomicU64::new(0));
        let end = Instant::now() + time;
        let mut tasks = JoinSet::new();
        if self.case == Case::H2 {
            for _ in 0..H2_CONNECTIONS {
                let stream = self.connect().await?;
                let (sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                for _ in 0..concurrency.div_ceil(H2_CONNECTIONS) {
                    tasks.spawn(http2(sender.clone(), end, count.clone()));
                }
            }
        } else {
            for start in 0..concurrency {
                tasks.spawn(self.clone().http1(start, end, count.clone()));
            }
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(count.load(Ordering::Relaxed))
    }

    /// Connections that were answered once and stay open.
    pub(crate) async fn idle(&self, connections: usize) -> anyhow::Result<Vec<TcpStream>> {
        let mut open = Vec::with_capacity(connections);
        for i in 0..connections {
            let mut stream = self.connect().await?;
            exchange(&mut stream, &self.request(i), &mut Vec::new()).await?;
            open.push(stream);
        }
        Ok(open)
    }

    fn request(&self, turn: usize) -> String {
        match self.case {
            Case::Routes => {
                let (host, route) = (turn % MANY, turn % ROUTES);
                format!("GET /r{route}/x HTTP/1.1\r\nhost: svc{host}.bench.local\r\n\r\n")
            }
            Case::Handshake => {
                format!("GET {} HTTP/1.1\r\nhost: bench.local\r\nconnection: close\r\n\r\n", self.case.path())
            }
            _ => format!("GET {} HTTP/1.1\r\nhost: bench.local\r\n\r\n", self.case.path()),
        }
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn http1(self, start: usize, end: Instant, count: Arc<AtomicU64>) -> anyhow::Result<()> {
        let mut turn = start * 7;
        while Instant::now() < end {
            let stream = self.connect().await?;
            if self.case.is_tls_in_front() {
                let name = ServerName::try_from(NAME)?;
                let stream = self.tls.connect(name, stream).await?;
                self.talk(stream, &mut turn, end, &count).await?;
            } else {
                self.talk(stream, &mut turn, end, &count).await?;
            }
        }
        Ok(())
    }

    async fn talk(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        turn: &mut usize,
        end: Instant,
        count: &AtomicU64,
    ) -> anyhow::Result<()> {
        let mut buffer = Vec::with_capacity(8192);
        while Instant::now() < end {
            *turn += 1;
            exchange(&mut stream, &self.request(*turn), &mut buffer).await?;
            count.fetch_add(1, Ordering::Relaxed);
            if self.case == Case::Handshake {
                break;
            }
        }
        Ok(())
    }
}

async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &str,
    buffer: &mut Vec<u8>,
) -> anyhow::Result<()> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    buffer.clear();
    let mut whole = None;
    while whole.is_none_or(|w| buffer.len() < w) {
        anyhow::ensure!(stream.read_buf(buffer).await? > 0, "the connection was closed");
        if whole.is_none() {
            whole = length(buffer)?;
        }
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
