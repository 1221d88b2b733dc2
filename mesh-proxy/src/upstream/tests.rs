use std::{
    cell::Cell,
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

use super::{LocalCluster, SendErrorKind, Upstreams};
use crate::{
    balancer::PickContext,
    body::Body,
    cluster::{ClusterDeps, ClusterHandle, testing},
    dial::ConnectError,
    model::{Address, CircuitBreakers, Cluster, HttpProtocol, PoolOptions, Thresholds},
};

pub(super) fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { tokio::time::timeout(Duration::from_secs(20), test).await.unwrap() })
}

/// An HTTP server; the body of a response tells the number of its connection.
struct Server {
    address: SocketAddr,
    connections: Rc<Cell<u32>>,
}

#[derive(Clone, Copy)]
pub(super) struct LocalExec;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExec {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

pub(super) async fn answer(
    number: u32,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Some(delay) = request.uri().path().strip_prefix("/slow/") {
        tokio::time::sleep(Duration::from_millis(delay.parse().unwrap())).await;
    }
    Ok(Response::new(Full::from(number.to_string())))
}

async fn serve(http2: bool) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Rc::new(Cell::new(0));
    let counter = connections.clone();
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = counter.get() + 1;
            counter.set(number);
            let service = service_fn(move |request| answer(number, request));
            tokio::task::spawn_local(async move {
                let io = TokioIo::new(stream);
                if http2 {
                    let mut server = hyper::server::conn::http2::Builder::new(LocalExec);
                    let _ = server.max_concurrent_streams(2).serve_connection(io, service).await;
                } else {
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                }
            });
        }
    });
    Server { address, connections }
}

pub(super) fn local(config: Cluster) -> (Rc<LocalCluster>, ClusterDeps) {
    let deps = ClusterDeps::default();
    let handle = ClusterHandle::new(Arc::new(config), &deps);
    (LocalCluster::new(handle, 1), deps)
}

pub(super) fn request(address: SocketAddr, path: &str, http2: bool) -> Request<Body> {
    let request = Request::builder().header("host", "example");
    let request =
        if http2 { request.version(Version::HTTP_2).uri(format!("http://{address}{path}")) } else { request.uri(path) };
    request.body(Body::Empty).unwrap()
}

/// One request; the connection's number.
pub(super) async fn call(cluster: &LocalCluster, address: SocketAddr, path: &str) -> u32 {
    let host = cluster.pick(&PickContext::default()).unwrap();
    let sender = cluster.http(&host, None, false).await.unwrap();
    let http2 = sender.is_http2();
    let response = sender.send(request(address, path, http2)).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap().parse().unwrap()
}

/// Lets tasks that are ready run.
pub(super) async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn http1_connections_are_used_again() {
    run(async {
        let server = serve(false).await;
        let (cluster, deps) = local(testing::cluster(&[server.address]));
        for _ in 0..5 {
            assert_eq!(call(&cluster, server.address, "/").await, 1);
            settle().await;
        }
        let together = futures::future::join_all((0..3).map(|_| call(&cluster, server.address, "/slow/30"))).await;
        assert_eq!(together.iter().max(), Some(&3), "one for each request under way: {together:?}");
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_total"), Some(3));
        assert_eq!(deps.stats.value("cluster.c.upstream_rq_total"), Some(8));
        assert_eq!(deps.stats.value("cluster.c.upstream_rq_active"), Some(0));
        let host = cluster.pick(&PickContext::default()).unwrap();
        assert_eq!(host.state.active_requests(), 0);
    });
}

#[test]
fn a_full_cluster_makes_requests_wait_and_a_full_queue_refuses() {
    run(async {
        let server = serve(false).await;
        let default = Thresholds { max_connections: 1, max_pending_requests: 2, ..Thresholds::default() };
        let circuit_breakers = CircuitBreakers { default, ..CircuitBreakers::default() };
        let (cluster, deps) = local(Cluster { circuit_breakers, ..testing::cluster(&[server.address]) });
        assert_eq!(call(&cluster, server.address, "/").await, 1);
        settle().await;
        let slow = call(&cluster, server.address, "/slow/50");
        let waiting = futures::future::join(call(&cluster, server.address, "/"), call(&cluster, server.address, "/"));
        let refused = async {
            settle().await;
            let host = cluster.pick(&PickContext::default()).unwrap();
            cluster.http(&host, None, false).await.map(drop)
        };
        let (a, (b, c), refused) = futures::join!(slow, waiting, refused);
        assert_eq!([a, b, c], [1; 3]);
        assert!(refused.unwrap_err().is_overflow());
        assert_eq!(deps.stats.value("cluster.c.upstream_rq_pending_overflow"), Some(1));
        assert_eq!(deps.stats.value("cluster.c.upstream_rq_pending_active"), Some(0));
        assert_eq!(server.connections.get(), 1);
    });
}

#[test]
fn a_connection_that_the_host_closed_is_not_used() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let closed = Rc::new(tokio::sync::Notify::new());
        let close = closed.clone();
        tokio::task::spawn_local(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n7").await.unwrap();
                close.notified().await;
            }
        });
        let (cluster, deps) = local(testing::cluster(&[address]));
        assert_eq!(call(&cluster, address, "/").await, 7);
        closed.notify_one();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(call(&cluster, address, "/").await, 7);
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_total"), Some(2));
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_active"), Some(1));
    });
}

async fn read_head(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.push(stream.read_u8().await.unwrap());
    }
}

#[test]
fn a_connection_closed_under_a_request_says_whether_it_was_used_before() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n7").await.unwrap();
            read_head(&mut stream).await;
            drop(stream);
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(b"nonsense\r\n\r\n").await.unwrap();
        });
        let (cluster, deps) = local(testing::cluster(&[address]));
        assert_eq!(call(&cluster, address, "/").await, 7);
        settle().await;
        let host = cluster.pick(&PickContext::default()).unwrap();
        let sender = cluster.http(&host, None, false).await.unwrap();
        let error = sender.send(request(address, "/", false)).await.unwrap_err();
        assert_eq!((error.kind, error.reused), (SendErrorKind::Closed, true));
        let sender = cluster.http(&host, None, false).await.unwrap();
        let error = sender.send(request(address, "/", false)).await.unwrap_err();
        assert_eq!((error.kind, error.reused), (SendErrorKind::Protocol, false));
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_protocol_error"), Some(1));
    });
}

#[test]
fn connections_end_after_their_last_request_and_when_idle() {
    run(async {
        let server = serve(false).await;
        let pool = PoolOptions {
            max_requests_per_connection: Some(2),
            idle_timeout: Duration::from_secs(10),
            ..PoolOptions::default()
        };
        let (cluster, deps) = local(Cluster { pool, ..testing::cluster(&[server.address]) });
        let mut numbers = Vec::new();
        for _ in 0..3 {
            numbers.push(call(&cluster, server.address, "/").await);
            settle().await;
        }
        assert_eq!(numbers, [1, 1, 2]);
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_max_requests"), Some(1));
        cluster.sweep(Instant::now() + Duration::from_secs(11));
        settle().await;
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_idle_timeout"), Some(1));
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_active"), Some(0));
    });
}

#[test]
fn connections_to_removed_hosts_are_closed_and_clusters_end() {
    run(async {
        let (one, two) = (serve(false).await, serve(false).await);
        let deps = ClusterDeps::default();
        let handle = ClusterHandle::new(Arc::new(testing::with_kind(testing::eds())), &deps);
        handle.set_assignment(&testing::assignment([Address::Tcp(one.address)]));
        let upstreams = Upstreams::new(1);
        let clusters = [(Arc::from("c"), handle.clone())].into_iter().collect();
        upstreams.update(&clusters);
        let cluster = upstreams.cluster("c").unwrap();
        call(&cluster, one.address, "/").await;
        settle().await;
        let active = || deps.stats.value("cluster.c.upstream_cx_active");
        assert_eq!(active(), Some(1));
        handle.set_assignment(&testing::assignment([Address::Tcp(two.address)]));
        call(&cluster, two.address, "/").await;
        settle().await;
        assert_eq!((one.connections.get(), two.connections.get(), active()), (1, 1, Some(1)));
        upstreams.update(&Default::default());
        settle().await;
        assert!(upstreams.cluster("c").is_none());
        assert_eq!(active(), Some(0));
        assert_eq!(call(&cluster, two.address, "/").await, 2, "a request that holds the cluster still goes out");
        settle().await;
        assert_eq!(active(), Some(0), "and its connection is not kept");
    });
}

#[test]
fn http2_streams_share_connections_up_to_what_the_peer_allows() {
    run(async {
        let server = serve(true).await;
        let config = Cluster { protocol: HttpProtocol::Http2, ..testing::cluster(&[server.address]) };
        let (cluster, deps) = local(config);
        assert_eq!(call(&cluster, server.address, "/").await, 1);
        assert_eq!(call(&cluster, server.address, "/").await, 1);
        let all = futures::future::join_all((0..4).map(|_| call(&cluster, server.address, "/slow/50"))).await;
        assert_eq!(all, [1, 1, 2, 2], "two streams each, then another connection");
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_http2_total"), Some(2));
        assert_eq!(deps.stats.value("cluster.c.upstream_rq_active"), Some(0));
    });
}

#[test]
fn a_connection_that_goes_away_finishes_and_takes_no_more() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let leave = Rc::new(tokio::sync::Notify::new());
        let leaving = leave.clone();
        tokio::task::spawn_local(async move {
            for number in 1.. {
                let (stream, _) = listener.accept().await.unwrap();
                let leaving = leaving.clone();
                tokio::task::spawn_local(async move {
                    let service = service_fn(move |request| answer(number, request));
                    let server = hyper::server::conn::http2::Builder::new(LocalExec);
                    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
                    tokio::select! {
                        _ = &mut connection => return,
                        () = leaving.notified() => connection.as_mut().graceful_shutdown(),
                    }
                    let _ = connection.await;
                });
            }
        });
        let (cluster, deps) = local(Cluster { protocol: HttpProtocol::Http2, ..testing::cluster(&[address]) });
        let slow = call(&cluster, address, "/slow/100");
        let later = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            leave.notify_one();
            tokio::time::sleep(Duration::from_millis(30)).await;
            let host = cluster.pick(&PickContext::default()).unwrap();
            let sender = cluster.http(&host, None, false).await.unwrap();
            // hyper notices GOAWAY with the next request, and gives it back untouched.
            let error = sender.send(request(address, "/", true)).await.unwrap_err();
            assert!(error.kind == SendErrorKind::Unsent && error.request.is_some());
            call(&cluster, address, "/").await
        };
        assert_eq!(futures::join!(slow, later), (1, 2));
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_active"), Some(1));
    });
}

#[test]
fn connections_close_with_the_host_set_if_asked() {
    run(async {
        let server = serve(false).await;
        let config = Cluster { close_connections_on_set_change: true, ..testing::with_kind(testing::eds()) };
        let (cluster, _) = local(config);
        let set = |hosts: &[SocketAddr]| {
            cluster.handle().set_assignment(&testing::assignment(hosts.iter().copied().map(Address::Tcp)));
        };
        set(&[server.address]);
        assert_eq!(call(&cluster, server.address, "/").await, 1);
        settle().await;
        set(&[server.address]);
        assert_eq!(call(&cluster, server.address, "/").await, 1, "nobody came or went");
        settle().await;
        let other = ([127, 0, 0, 1], 1).into();
        set(&[server.address, other]);
        set(&[server.address]);
        let next = call(&cluster, server.address, "/").await;
        assert_eq!(next, 1, "the set is the same again when it is looked at");
        settle().await;
        set(&[server.address, other]);
        cluster.sweep(Instant::now());
        set(&[server.address]);
        assert_eq!(call(&cluster, server.address, "/").await, 2);
    });
}

#[test]
fn failures_to_connect_are_told_and_counted() {
    run(async {
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let (cluster, deps) = local(testing::cluster(&[address]));
        let host = cluster.pick(&PickContext::default()).unwrap();
        let error = cluster.http(&host, None, false).await.unwrap_err();
        assert!(matches!(error, ConnectError::Connect(_)), "{error}");
        assert!(cluster.tcp(&host, None).await.is_err());
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_connect_fail"), Some(2));
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_active"), Some(0));
        assert_eq!(deps.stats.value("cluster.c.upstream_rq_pending_failure_eject"), Some(1));
    });
}

#[test]
fn giving_up_leaves_nothing_behind() {
    run(async {
        let server = serve(false).await;
        let (cluster, deps) = local(testing::cluster(&[server.address]));
        let host = cluster.pick(&PickContext::default()).unwrap();
        // While waiting for the connection: it is kept for others.
        drop(futures::poll!(std::pin::pin!(cluster.http(&host, None, false))));
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(deps.stats.value("cluster.c.upstream_rq_cancelled"), Some(1));
        assert_eq!(call(&cluster, server.address, "/").await, 1);
        settle().await;
        // Reserved but not used: it goes back.
        drop(cluster.http(&host, None, false).await.unwrap());
        assert_eq!(call(&cluster, server.address, "/").await, 1);
        settle().await;
        // While waiting for the response: the connection is closed.
        let sender = cluster.http(&host, None, false).await.unwrap();
        let sent =
            tokio::time::timeout(Duration::from_millis(20), sender.send(request(server.address, "/slow/5000", false)));
        assert!(sent.await.is_err());
        settle().await;
        assert_eq!(deps.stats.value("cluster.c.upstream_rq_tx_reset"), Some(1));
        assert_eq!(deps.stats.value("cluster.c.upstream_rq_active"), Some(0));
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_active"), Some(0));
        assert_eq!(call(&cluster, server.address, "/").await, 2);
    });
}

#[test]
fn tcp_connections_count_while_they_are_open() {
    run(async {
        let server = serve(false).await;
        let default = Thresholds { max_connections: 1, ..Thresholds::default() };
        let circuit_breakers = CircuitBreakers { default, ..CircuitBreakers::default() };
        let (cluster, deps) = local(Cluster { circuit_breakers, ..testing::cluster(&[server.address]) });
        let host = cluster.pick(&PickContext::default()).unwrap();
        let (mut stream, info) = cluster.tcp(&host, None).await.unwrap();
        assert!(info.local.is_some() && info.tls.is_none());
        assert_eq!(host.state.active_requests(), 1);
        assert!(cluster.tcp(&host, None).await.unwrap_err().is_overflow());
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200"));
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_rx_bytes_total"), Some(text.len() as u64));
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_tx_bytes_total"), Some(46));
        drop(stream);
        assert_eq!(host.state.active_requests(), 0);
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_overflow"), Some(1));
        assert_eq!(deps.stats.value("cluster.c.upstream_cx_active"), Some(0));
    });
}
