//! The data plane end to end, over real sockets: configuration values in, requests and answers out.

mod http1;
mod http2;
mod limits;
mod listeners;
mod manager;
mod tcp;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::DataPlane;
use crate::{
    access_log::LogSinks,
    cluster::ClusterDeps,
    model::{Action, Address, Cluster, Forward, HttpConnectionManager, HttpProtocol, Listener, TerminalFilter},
    state::Snapshot,
    stats::Stats,
    testing,
    tls::SecretStore,
    worker::{Command, Shared},
};

/// A running data plane.
pub(super) struct Plane {
    pub(super) plane: DataPlane,
    pub(super) stats: Stats,
    pub(super) commands: Arc<watch::Sender<Command>>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    deps: ClusterDeps,
}

impl Plane {
    /// With one worker.
    pub(super) async fn start(listeners: Vec<Listener>, clusters: Vec<Cluster>) -> Self {
        let stats = Stats::default();
        let deps = ClusterDeps { stats: stats.clone(), secrets: SecretStore::default() };
        let first = testing::snapshot(1, listeners, clusters, &deps);
        let (snapshots, seen) = watch::channel(first);
        let sinks = LogSinks::new(&stats);
        let shared = Shared::new(stats.clone(), sinks, SecretStore::default(), None, Duration::from_secs(5));
        let commands = Arc::new(watch::channel(Command::Serve).0);
        let plane = DataPlane::start(1, shared, &seen, commands.clone(), 7).unwrap();
        assert!(plane.applied(1).await);
        assert_eq!(plane.bind_failures(), []);
        Self { plane, stats, commands, snapshots, deps }
    }

    /// Replaces the configuration.
    pub(super) async fn update(&self, listeners: Vec<Listener>, clusters: Vec<Cluster>) {
        let version = self.snapshots.borrow().version + 1;
        self.snapshots.send_replace(testing::snapshot(version, listeners, clusters, &self.deps));
        assert!(self.plane.applied(version).await);
    }

    /// Where the listener is bound.
    pub(super) fn address(&self, listener: &str) -> SocketAddr {
        match self.plane.bound().into_iter().find(|(name, _)| name == listener) {
            Some((_, Address::Tcp(addr))) => addr,
            other => panic!("{listener}: {other:?}"),
        }
    }

    /// A connection to the listener.
    pub(super) async fn connect(&self, listener: &str) -> TcpStream {
        TcpStream::connect(self.address(listener)).await.unwrap()
    }

    /// A counter or gauge.
    pub(super) fn stat(&self, name: &str) -> u64 {
        self.stats.value(name).unwrap_or(0)
    }

    /// Waits until a statistic has this value.
    pub(super) async fn until(&self, name: &str, value: u64) {
        for _ in 0..500 {
            if self.stat(name) == value {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{name} is {} and not {value}", self.stat(name));
    }
}

/// A listener `l` that forwards everything to cluster `c`, as `edit` changes it.
pub(super) fn forwarding(edit: impl FnOnce(&mut Forward)) -> Listener {
    let mut forward = testing::forward("c");
    edit(&mut forward);
    routing(Action::Forward(Box::new(forward)))
}

/// A listener `l` with one route.
pub(super) fn routing(action: Action) -> Listener {
    let manager = testing::manager(testing::table(vec![testing::route("/", action)]));
    testing::listener("l", vec![testing::chain(TerminalFilter::Http(Arc::new(manager)))])
}

/// As [`forwarding`], with another connection manager.
pub(super) fn managed(edit: impl FnOnce(&mut HttpConnectionManager)) -> Listener {
    let to_cluster = testing::route("/", Action::Forward(Box::new(testing::forward("c"))));
    let mut manager = testing::manager(testing::table(vec![to_cluster]));
    edit(&mut manager);
    testing::listener("l", vec![testing::chain(TerminalFilter::Http(Arc::new(manager)))])
}

pub(super) fn cluster(hosts: &[SocketAddr]) -> Cluster {
    testing::cluster("c", hosts, HttpProtocol::Http1)
}

/// An HTTP server that speaks both versions.
pub(super) async fn http_server<F>(answer: F) -> SocketAddr
where
    F: AsyncAnswer,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let response = answer.answer(request);
                    async move { Ok::<_, Infallible>(response.await) }
                });
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection_with_upgrades(TokioIo::new(socket), service).await;
            });
        }
    });
    addr
}

/// What a test server does.
pub(super) trait AsyncAnswer: Send + Sync + 'static {
    fn answer(&self, request: Request<Incoming>) -> futures::future::BoxFuture<'static, Response<Full<Bytes>>>;
}

impl<F, R> AsyncAnswer for F
where
    F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    fn answer(&self, request: Request<Incoming>) -> futures::future::BoxFuture<'static, Response<Full<Bytes>>> {
        Box::pin(self(request))
    }
}

/// Answers with the request line, headers and body it got.
pub(super) async fn echo(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let mut text = format!("{} {} {:?}\n", parts.method, parts.uri, parts.version);
    for (name, value) in &parts.headers {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    let body = body.collect().await.unwrap().to_bytes();
    text.push('\n');
    text.push_str(&String::from_utf8_lossy(&body));
    Response::new(Full::new(text.into()))
}

/// Sends raw bytes and reads until the peer closes.
pub(super) async fn raw(mut socket: TcpStream, bytes: &str) -> String {
    socket.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// `GET /` with `connection: close`.
pub(super) const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
