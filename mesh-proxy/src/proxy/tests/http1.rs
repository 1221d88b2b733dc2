use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{GET, Plane, cluster, echo, forwarding, http_server, managed, raw, routing};
use crate::{
    model::{Action, DirectResponse, HostRewrite, InternalAddresses, PathRewrite, Redirect, RetryOn},
    testing,
};

#[tokio::test]
async fn forwards_and_cleans_headers() {
    let upstream = http_server(echo).await;
    let plane = Plane::start(vec![forwarding(|_| {})], vec![cluster(&[upstream])]).await;
    let request = "POST /a/../b?q=1 HTTP/1.1\r\nHost: a\r\nConnection: close, x-hop\r\nX-Hop: 1\r\n\
        x-envoy-max-retries: 3\r\ncontent-length: 5\r\n\r\nhello";
    let answer = raw(plane.connect("l").await, request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("server: envoy\r\n"), "{answer}");
    assert!(answer.contains("x-envoy-upstream-service-time: "), "{answer}");
    assert!(answer.contains("POST /b?q=1 HTTP/1.1\n"), "{answer}");
    assert!(answer.contains("host: a\n"), "{answer}");
    assert!(answer.contains("x-request-id: "), "{answer}");
    assert!(answer.contains("x-forwarded-proto: http\n"), "{answer}");
    assert!(answer.contains("x-envoy-expected-rq-timeout-ms: 15000\n"), "{answer}");
    assert!(!answer.contains("x-hop") && !answer.contains("max-retries"), "{answer}");
    assert!(answer.ends_with("\nhello"), "{answer}");
    plane.until("http.test.downstream_rq_2xx", 1).await;
    assert_eq!(plane.stat("cluster.c.upstream_rq_total"), 1);
}

#[tokio::test]
async fn keep_alive_reuses_both_connections() {
    let upstream = http_server(echo).await;
    let plane = Plane::start(vec![forwarding(|_| {})], vec![cluster(&[upstream])]).await;
    let mut client = plane.connect("l").await;
    client.write_all(b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 4096];
    let n = client.read(&mut answer).await.unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 200 OK"));
    let answer = raw(client, GET).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(plane.stat("cluster.c.upstream_cx_total"), 1);
    assert_eq!(plane.stat("http.test.downstream_cx_total"), 1);
}

#[tokio::test]
async fn head_keeps_its_length() {
    let upstream = http_server(|_| async {
        http::Response::builder().header("content-length", "1000").body(Full::default()).unwrap()
    })
    .await;
    let plane = Plane::start(vec![forwarding(|_| {})], vec![cluster(&[upstream])]).await;
    let answer = raw(plane.connect("l").await, "HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("content-length: 1000\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn local_answers() {
    let direct = routing(Action::Direct(DirectResponse { status: StatusCode::IM_A_TEAPOT, body: "tea".into() }));
    let plane = Plane::start(vec![direct], vec![]).await;
    let answer = raw(plane.connect("l").await, GET).await;
    assert!(answer.starts_with("HTTP/1.1 418"), "{answer}");
    assert!(answer.ends_with("\r\n\r\ntea"), "{answer}");

    let redirect = Redirect { scheme: Some("https".into()), ..Redirect::default() };
    plane.update(vec![routing(Action::Redirect(Box::new(redirect)))], vec![]).await;
    let answer = raw(plane.connect("l").await, GET).await;
    assert!(answer.starts_with("HTTP/1.1 301") && answer.contains("location: https://a/\r\n"), "{answer}");

    plane.update(vec![forwarding(|_| {})], vec![]).await;
    let answer = raw(plane.connect("l").await, GET).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    plane.update(vec![forwarding(|_| {})], vec![cluster(&[])]).await;
    let answer = raw(plane.connect("l").await, GET).await;
    assert!(answer.ends_with("no healthy upstream"), "{answer}");
}

#[tokio::test]
async fn a_refused_connection_is_told_as_envoy_does() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let plane = Plane::start(vec![forwarding(|_| {})], vec![cluster(&[unused])]).await;
    let answer = raw(plane.connect("l").await, GET).await;
    // Why is in the log only, as in Envoy 1.40.
    let body = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with(body), "{answer}");
}

#[tokio::test]
async fn rewrites_path_and_host() {
    let upstream = http_server(echo).await;
    let listener = forwarding(|f| {
        f.rewrite = PathRewrite::Prefix("/api/".into());
        f.host_rewrite = HostRewrite::Literal("b.com".into());
    });
    let plane = Plane::start(vec![listener], vec![cluster(&[upstream])]).await;
    let answer = raw(plane.connect("l").await, "GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("GET /api/x HTTP/1.1\n") && answer.contains("host: b.com\n"), "{answer}");
    assert!(answer.contains("x-envoy-original-path: /x\n"), "{answer}");
}

/// Fails `n` times, then echoes.
fn failing(n: u32) -> (Arc<AtomicU32>, impl super::AsyncAnswer) {
    let count = Arc::new(AtomicU32::new(0));
    let seen = count.clone();
    let answer = move |request: Request<Incoming>| {
        let fail = seen.fetch_add(1, SeqCst) < n;
        async move {
            if !fail {
                return echo(request).await;
            }
            let _ = http_body_util::BodyExt::collect(request.into_body()).await;
            let mut response = Response::new(Full::new(Bytes::from_static(b"bad")));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
    };
    (count, answer)
}

#[tokio::test]
async fn retries_with_the_body() {
    let (count, answer) = failing(2);
    let upstream = http_server(answer).await;
    let on = RetryOn { five_xx: true, ..RetryOn::default() };
    let listener = forwarding(|f| f.retry = Some(Arc::new(testing::retry(on, 2))));
    let plane = Plane::start(vec![listener], vec![cluster(&[upstream])]).await;
    let request = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
        3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    let answer = raw(plane.connect("l").await, request).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\nabcdef"), "{answer}");
    assert_eq!(count.load(SeqCst), 3);
    assert_eq!(plane.stat("cluster.c.upstream_rq_retry"), 2);
}

#[tokio::test]
async fn retries_run_out() {
    let (count, answer) = failing(9);
    let upstream = http_server(answer).await;
    let on = RetryOn { five_xx: true, ..RetryOn::default() };
    let listener = forwarding(|f| f.retry = Some(Arc::new(testing::retry(on, 1))));
    let plane = Plane::start(vec![listener], vec![cluster(&[upstream])]).await;
    let answer = raw(plane.connect("l").await, GET).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("bad"), "{answer}");
    assert_eq!(count.load(SeqCst), 2);
    assert_eq!(plane.stat("cluster.c.upstream_rq_retry_limit_exceeded"), 1);
}

#[tokio::test]
async fn internal_clients_ask_for_retries_and_others_do_not() {
    let request = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 3\r\nx-envoy-retry-on: 5xx\r\n\
        x-envoy-max-retries: 2\r\n\r\nabc";
    for (internal, status, attempts) in [("127.0.0.0/8", "200", 3), ("10.0.0.0/8", "503", 1)] {
        let (count, answer) = failing(2);
        let upstream = http_server(answer).await;
        let listener = managed(|manager| {
            manager.use_remote_address = true;
            let ranges = vec![internal.parse().unwrap()];
            manager.internal_addresses = Some(InternalAddresses { unix_sockets: false, ranges });
        });
        let plane = Plane::start(vec![listener], vec![cluster(&[upstream])]).await;
        let answer = raw(plane.connect("l").await, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(status != "200" || answer.ends_with("\nabc"), "{answer}");
        assert_eq!(count.load(SeqCst), attempts);
    }
}

#[tokio::test]
async fn a_slow_upstream_times_out() {
    let upstream = http_server(|_| async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        Response::new(Full::default())
    })
    .await;
    let listener = forwarding(|f| f.timeout = Duration::from_millis(30));
    let plane = Plane::start(vec![listener], vec![cluster(&[upstream])]).await;
    let answer = raw(plane.connect("l").await, GET).await;
    assert!(answer.starts_with("HTTP/1.1 504") && answer.ends_with("upstream request timeout"), "{answer}");
    plane.until("cluster.c.upstream_rq_timeout", 1).await;
    plane.until("cluster.c.upstream_rq_active", 0).await;
}

#[tokio::test]
async fn grpc_gets_trailers_only() {
    let plane = Plane::start(vec![forwarding(|_| {})], vec![cluster(&[])]).await;
    let request = "POST /s/m HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n";
    let answer = raw(plane.connect("l").await, request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("grpc-status: 14\r\n"), "{answer}");
    assert!(answer.contains("grpc-message: no healthy upstream\r\n"), "{answer}");
}

#[tokio::test]
async fn ambiguous_framing_is_refused() {
    let upstream = http_server(echo).await;
    let plane = Plane::start(vec![forwarding(|_| {})], vec![cluster(&[upstream])]).await;
    for head in [
        "content-length: 3\r\ncontent-length: 4\r\n",
        "content-length: 3, 4\r\n",
        "content-length: +3\r\n",
        "content-length: 3\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 3\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding: xchunked\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\n{head}\r\nabc");
        let answer = raw(plane.connect("l").await, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 501"), "{head:?}: {answer}");
    }
    for request in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"] {
        let closing = request.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        let answer = raw(plane.connect("l").await, &closing).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{request:?}: {answer}");
    }
    assert_eq!(plane.stat("cluster.c.upstream_rq_total"), 0);
}

#[tokio::test]
async fn an_upgrade_carries_bytes_both_ways() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let n = socket.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..n]).to_lowercase();
        assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
        socket.write_all(answer.as_bytes()).await.unwrap();
        let mut ping = [0; 4];
        socket.read_exact(&mut ping).await.unwrap();
        socket.write_all(&ping).await.unwrap();
    });
    let plane = Plane::start(vec![forwarding(|_| {})], vec![cluster(&[upstream])]).await;
    let mut client = plane.connect("l").await;
    let request = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let n = client.read(&mut answer).await.unwrap();
    let head = String::from_utf8_lossy(&answer[..n]);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    client.write_all(b"ping").await.unwrap();
    let mut pong = [0; 4];
    client.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"ping");
    drop(client);
    plane.until("http.test.downstream_cx_upgrades_active", 0).await;
}

#[tokio::test]
async fn connect_is_tunnelled_where_allowed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let n = socket.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..n]).into_owned();
        assert!(head.starts_with("CONNECT a.com:443 HTTP/1.1\r\n"), "{head}");
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\npong").await.unwrap();
        let _ = socket.read(&mut [0; 1]).await;
    });
    let allowed = forwarding_connect();
    let plane = Plane::start(vec![allowed], vec![cluster(&[upstream])]).await;
    let mut client = plane.connect("l").await;
    client.write_all(b"CONNECT a.com:443 HTTP/1.1\r\nhost: a.com:443\r\n\r\n").await.unwrap();
    let mut text = String::new();
    while !text.ends_with("pong") {
        let mut chunk = [0; 512];
        let n = client.read(&mut chunk).await.unwrap();
        assert!(n > 0, "{text}");
        text.push_str(std::str::from_utf8(&chunk[..n]).unwrap());
    }
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(!text.contains("content-length") && !text.contains("transfer-encoding"), "{text}");
    let refused = Plane::start(vec![forwarding(|_| {})], vec![cluster(&[upstream])]).await;
    let request = "CONNECT a.com:443 HTTP/1.1\r\nhost: a.com:443\r\nconnection: close\r\n\r\n";
    let answer = raw(refused.connect("l").await, request).await;
    assert!(answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 403"), "{answer}");
}

fn forwarding_connect() -> crate::model::Listener {
    let mut route = Arc::unwrap_or_clone(testing::route("/", Action::Forward(Box::new(testing::forward("c")))));
    route.matches.path = crate::model::PathMatch::Connect;
    let mut manager = testing::manager(testing::table(vec![Arc::new(route)]));
    manager.upgrades.push("connect".into());
    testing::listener("l", vec![testing::chain(crate::model::TerminalFilter::Http(Arc::new(manager)))])
}

#[tokio::test]
async fn a_mirror_gets_the_body_too() {
    let upstream = http_server(echo).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mirror = http_server(move |request: Request<Incoming>| {
        let tell = tell.clone();
        async move {
            let host = request.headers()["host"].clone();
            let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
            tell.send((host, body)).unwrap();
            Response::new(Full::default())
        }
    })
    .await;
    let cluster_name = crate::model::ClusterName::Fixed("m".into());
    let policy =
        crate::model::Mirror { cluster: cluster_name, fraction: None, keep_host: false, host: None, edits: vec![] };
    let listener = forwarding(|f| f.mirrors = vec![policy]);
    let mirrored = testing::cluster("m", &[mirror], crate::model::HttpProtocol::Http1);
    let plane = Plane::start(vec![listener], vec![cluster(&[upstream]), mirrored]).await;
    let request = "POST / HTTP/1.1\r\nhost: a:80\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    let answer = raw(plane.connect("l").await, request).await;
    assert!(answer.ends_with("\nhello"), "{answer}");
    let (host, body) = tokio::time::timeout(Duration::from_secs(5), told.recv()).await.unwrap().unwrap();
    assert_eq!((host.to_str().unwrap(), &*body), ("a-shadow:80", &b"hello"[..]));
}

#[tokio::test]
async fn a_cookie_for_hashing_is_made_once() {
    let upstream = http_server(echo).await;
    let by = crate::model::HashBy::Cookie {
        name: "sid".into(),
        ttl: Some(Duration::from_secs(60)),
        path: "/".into(),
        attributes: vec![("SameSite".into(), "Lax".into()), ("Secure".into(), String::new())],
    };
    let policy = crate::model::HashPolicy { by, terminal: false };
    let listener = forwarding(|f| f.hash_policy = vec![policy]);
    let plane = Plane::start(vec![listener], vec![cluster(&[upstream])]).await;
    let answer = raw(plane.connect("l").await, GET).await;
    assert!(
        answer.contains("set-cookie: sid=\"")
            && answer.contains("; Max-Age=60; Path=/; SameSite=Lax; Secure; HttpOnly\r\n"),
        "{answer}"
    );
    let request = "GET / HTTP/1.1\r\nhost: a\r\ncookie: sid=1\r\nconnection: close\r\n\r\n";
    let answer = raw(plane.connect("l").await, request).await;
    assert!(!answer.contains("set-cookie"), "{answer}");
}

#[tokio::test]
async fn a_slow_head_is_cut_off_and_an_idle_connection_is_not() {
    let mut manager = testing::manager(testing::table(vec![]));
    manager.request_headers_timeout = Duration::from_millis(50);
    manager.codec = crate::model::Codec::Http1;
    let chain = testing::chain(crate::model::TerminalFilter::Http(Arc::new(manager)));
    let plane = Plane::start(vec![testing::listener("l", vec![chain])], vec![]).await;
    let mut idle = plane.connect("l").await;
    let answer = raw(plane.connect("l").await, "GET / HT").await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.ends_with("\r\n\r\nrequest header timeout"), "{answer}");
    plane.until("http.test.downstream_rq_header_timeout", 1).await;
    idle.write_all(GET.as_bytes()).await.unwrap();
    let mut answer = String::new();
    idle.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_upstream() {
    let upstream = http_server(|_| async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        Response::new(Full::default())
    })
    .await;
    let plane = Plane::start(vec![forwarding(|_| {})], vec![cluster(&[upstream])]).await;
    let mut client = plane.connect("l").await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    plane.until("cluster.c.upstream_rq_active", 1).await;
    drop(client);
    plane.until("cluster.c.upstream_rq_active", 0).await;
    plane.until("http.test.downstream_rq_active", 0).await;
    plane.until("http.test.downstream_rq_rx_reset", 1).await;
}
