//! Settings of the connection manager, over real sockets.

use std::sync::Arc;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{GET, Plane, cluster, echo, http_server, managed, raw};
use crate::{
    model::{
        AccessLogFilter, AccessLogFormat, Comparison, EscapedSlashes, HeaderCase, LocalReplies, ReplyFormat,
        ReplyMapper, StringMatcher, StripPort, Underscores,
    },
    testing,
};

/// What the host sees, or the refusal, of a request to a listener edited so.
async fn answered(edit: impl FnOnce(&mut crate::model::HttpConnectionManager), request: &str) -> String {
    let upstream = http_server(echo).await;
    let plane = Plane::start(vec![managed(edit)], vec![cluster(&[upstream])]).await;
    let port = plane.address("l").port().to_string();
    raw(plane.connect("l").await, &request.replace("PORT", &port)).await
}

fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{lines}connection: close\r\n\r\n")
}

#[tokio::test]
async fn escaped_slashes() {
    let with = |action| move |m: &mut crate::model::HttpConnectionManager| m.escaped_slashes = action;
    let request = get("/a%2Fb%5cc?q=%2f", "host: a\r\n");
    let kept = answered(with(EscapedSlashes::Keep), &request).await;
    assert!(kept.contains("GET /a%2Fb%5cc?q=%2f HTTP/1.1\n"), "{kept}");
    let refused = answered(with(EscapedSlashes::Reject), &request).await;
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
    let told = answered(with(EscapedSlashes::UnescapeAndRedirect), &request).await;
    assert!(told.starts_with("HTTP/1.1 307") && told.contains("location: /a/b/c?q=%2f\r\n"), "{told}");
    let forwarded = answered(with(EscapedSlashes::UnescapeAndForward), &request).await;
    assert!(forwarded.contains("GET /a/b/c?q=%2f HTTP/1.1\n"), "{forwarded}");
}

#[tokio::test]
async fn hosts_are_normalised() {
    let dot = answered(|m| m.strip_trailing_host_dot = true, &get("/", "host: a.com.:81\r\n")).await;
    assert!(dot.contains("host: a.com:81\n"), "{dot}");
    let own = answered(|m| m.strip_port = StripPort::Matching, &get("/", "host: a.com:PORT\r\n")).await;
    assert!(own.contains("host: a.com\n"), "{own}");
    let other = answered(|m| m.strip_port = StripPort::Matching, &get("/", "host: a.com:1\r\n")).await;
    assert!(other.contains("host: a.com:1\n"), "{other}");
    let any = answered(|m| m.strip_port = StripPort::Any, &get("/", "host: [::1]:81\r\n")).await;
    assert!(any.contains("host: [::1]\n"), "{any}");
}

#[tokio::test]
async fn underscores_in_names() {
    let request = get("/", "host: a\r\nx_a: 1\r\nx-b: 2\r\n");
    let kept = answered(|_| {}, &request).await;
    assert!(kept.contains("x_a: 1\n"), "{kept}");
    let dropped = answered(|m| m.underscores = Underscores::Drop, &request).await;
    assert!(!dropped.contains("x_a") && dropped.contains("x-b: 2\n"), "{dropped}");
    let refused = answered(|m| m.underscores = Underscores::Reject, &request).await;
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
}

#[tokio::test]
async fn http_10_gets_a_host() {
    let old = "GET / HTTP/1.0\r\n\r\n";
    let refused = answered(|_| {}, old).await;
    assert!(refused.starts_with("HTTP/1.1 426") || refused.starts_with("HTTP/1.0 426"), "{refused}");
    let accepted = |m: &mut crate::model::HttpConnectionManager| {
        m.http1.accept_http_10 = true;
        m.http1.default_host_for_http_10 = "default.com".into();
    };
    let served = answered(accepted, old).await;
    assert!(served.contains("host: default.com\n"), "{served}");
}

#[tokio::test]
async fn names_are_written_as_wanted() {
    let proper = answered(|m| m.http1.header_case = HeaderCase::ProperWords, GET).await;
    assert!(proper.contains("\r\nContent-Length: ") && proper.contains("\r\nServer: envoy\r\n"), "{proper}");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let host = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let n = socket.read(&mut head).await.unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\nX-ANSWER: 1\r\nContent-length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(head[..n].to_vec()).unwrap()
    });
    let mut upstreams = cluster(&[upstream]);
    upstreams.pool.http1_header_case = HeaderCase::Preserve;
    let plane = Plane::start(vec![managed(|m| m.http1.header_case = HeaderCase::Preserve)], vec![upstreams]).await;
    let answer = raw(plane.connect("l").await, &get("/", "HoSt: a\r\nX-mIxEd: 1\r\n")).await;
    let seen = host.await.unwrap();
    assert!(seen.contains("\r\nHoSt: a\r\n") && seen.contains("\r\nX-mIxEd: 1\r\n"), "{seen}");
    assert!(answer.contains("\r\nX-ANSWER: 1\r\n") && answer.contains("\r\nserver: envoy\r\n"), "{answer}");
}

#[tokio::test]
async fn the_whole_url_can_go_upstream() {
    let upstream = http_server(echo).await;
    let mut upstreams = cluster(&[upstream]);
    upstreams.pool.http1_fully_qualified = true;
    let plane = Plane::start(vec![managed(|_| {})], vec![upstreams]).await;
    let answer = raw(plane.connect("l").await, &get("/x?y", "host: a.com:81\r\n")).await;
    assert!(answer.contains("GET http://a.com:81/x?y HTTP/1.1\n") && answer.contains("host: a.com:81\n"), "{answer}");
}

#[tokio::test]
async fn answers_of_the_proxy_look_as_wanted() {
    let replies = |m: &mut crate::model::HttpConnectionManager| {
        let json =
            serde_json::json!({ "code": "%RESPONSE_CODE%", "why": "%LOCAL_REPLY_BODY%", "path": "%REQ(:PATH)%" });
        let format = ReplyFormat { format: AccessLogFormat::Json(json), content_type: None };
        let text = AccessLogFormat::Text("<b>%LOCAL_REPLY_BODY% %RESPONSE_CODE_DETAILS%</b>".into());
        let html = ReplyFormat { format: text, content_type: Some("text/html".parse().unwrap()) };
        let header = crate::model::HeaderEdit {
            name: "x-why".parse().unwrap(),
            value: crate::model::HeaderValueFormat::Format("%RESPONSE_FLAGS%".into()),
            append: crate::model::AppendAction::AppendIfExistsOrAdd,
            keep_empty: false,
        };
        let mapper = ReplyMapper {
            filter: AccessLogFilter::And(vec![
                AccessLogFilter::Status(Comparison::Equal, 503),
                AccessLogFilter::ResponseFlags(vec!["UH".into()]),
            ]),
            status: Some(StatusCode::IM_A_TEAPOT),
            body: Some("nobody".into()),
            headers: vec![header],
            format: Some(html),
        };
        m.local_replies = Some(Arc::new(LocalReplies { mappers: vec![mapper], format: Some(format) }));
    };
    let plane = Plane::start(vec![managed(replies)], vec![cluster(&[])]).await;
    let answer = raw(plane.connect("l").await, GET).await;
    assert!(answer.starts_with("HTTP/1.1 418") && answer.contains("x-why: UH\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/html\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n<b>nobody no_healthy_upstream</b>"), "{answer}");
    plane.until("http.test.downstream_rq_4xx", 1).await;
    plane.update(vec![managed(replies)], vec![]).await;
    let answer = raw(plane.connect("l").await, &get("/p", "host: a\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("content-type: application/json\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["code"], &body["path"]), (&503.into(), &"/p".into()));
}

#[tokio::test]
async fn methods_that_nobody_knows() {
    let request = "BREW / HTTP/1.1\r\nhost: a\r\n\r\n";
    let refused = answered(|_| {}, request).await;
    assert!(refused.starts_with("HTTP/1.1 400") && refused.contains("connection: close"), "{refused}");
    let closing = request.replace("a\r\n", "a\r\nconnection: close\r\n");
    let served = answered(|m| m.http1.allow_custom_methods = true, &closing).await;
    assert!(served.contains("BREW / HTTP/1.1\n"), "{served}");
}

#[tokio::test]
async fn upgrades_can_be_ignored() {
    let lines = "host: a\r\nupgrade: TLS/1.2\r\nconnection: upgrade, close\r\n";
    let request = format!("GET / HTTP/1.1\r\n{lines}\r\n");
    let refused = answered(|_| {}, &request).await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    let ignore = |m: &mut crate::model::HttpConnectionManager| {
        m.http1.ignored_upgrades = vec![StringMatcher::Prefix("TLS/".into(), false)];
    };
    let served = answered(ignore, &request).await;
    assert!(served.starts_with("HTTP/1.1 200") && !served.contains("upgrade"), "{served}");
}

#[tokio::test]
async fn a_length_beside_chunks_can_be_allowed() {
    let request = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n\
        3\r\nabc\r\n0\r\n\r\n";
    let refused = answered(|_| {}, request).await;
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
    let served = answered(|m| m.http1.allow_chunked_length = true, request).await;
    assert!(served.ends_with("\nabc") && !served.contains("content-length: 9"), "{served}");
}

/// A host that reads a chunked request whole and says what it got.
async fn raw_host(answer: &'static [u8]) -> (std::net::SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let host = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.windows(5).any(|w| w == b"\r\n0\r\n") || !seen.ends_with(b"\r\n\r\n") {
            let n = socket.read_buf(&mut seen).await.unwrap();
            assert!(n > 0, "{}", String::from_utf8_lossy(&seen));
        }
        socket.write_all(answer).await.unwrap();
        String::from_utf8(seen).unwrap()
    });
    (upstream, host)
}

#[tokio::test]
async fn trailers_of_http1_pass_where_wanted() {
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n1\r\na\r\n0\r\nx-end: 7\r\n\r\n";
    let request = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nte: trailers\r\ntrailer: x-t\r\n\
        transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n";
    for pass in [false, true] {
        let (upstream, host) = raw_host(ANSWER).await;
        let mut upstreams = cluster(&[upstream]);
        upstreams.pool.http1_trailers = pass;
        let plane = Plane::start(vec![managed(|m| m.http1.trailers = pass)], vec![upstreams]).await;
        let answer = raw(plane.connect("l").await, request).await;
        let seen = host.await.unwrap();
        assert_eq!(seen.contains("0\r\nx-t: 1\r\n\r\n"), pass, "{seen}");
        assert_eq!(answer.contains("0\r\nx-end: 7\r\n\r\n"), pass, "{answer}");
    }
}

#[tokio::test]
async fn the_host_decides_about_100_continue() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let (go, going) = tokio::sync::oneshot::channel::<()>();
    let host = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut seen = vec![0; 4096];
        let n = socket.read(&mut seen).await.unwrap();
        let head = String::from_utf8_lossy(&seen[..n]).into_owned();
        assert!(head.contains("expect: 100-continue\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        going.await.unwrap();
        socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let n = socket.read(&mut seen).await.unwrap();
        assert_eq!(&seen[..n], b"abc");
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    });
    let plane = Plane::start(vec![managed(|m| m.proxy_100_continue = true)], vec![cluster(&[upstream])]).await;
    let mut client = plane.connect("l").await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\nconnection: close\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    plane.until("cluster.c.upstream_rq_active", 1).await;
    let mut answer = vec![0; 512];
    let quiet = std::time::Duration::from_millis(100);
    assert!(tokio::time::timeout(quiet, client.read(&mut answer)).await.is_err(), "the host was not asked");
    go.send(()).unwrap();
    let n = client.read(&mut answer).await.unwrap();
    assert_eq!(&answer[..n], b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"abc").await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200") && rest.ends_with("ok"), "{rest}");
    host.await.unwrap();
}

#[tokio::test]
async fn cookies_and_lengths_for_http1() {
    let upstream = http_server(echo).await;
    let plane = Plane::start(
        vec![managed(|_| {})],
        vec![testing::cluster("c", &[upstream], crate::model::HttpProtocol::Http1)],
    )
    .await;
    let mut send = super::http2::client(&plane).await;
    let request = http::Request::post("http://a.com/").header("cookie", "a=1").header("cookie", "b=2");
    let response = send.send_request(request.body(http_body_util::Full::default()).unwrap()).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let body = std::str::from_utf8(&body).unwrap();
    assert!(body.contains("cookie: a=1; b=2\n") && body.contains("content-length: 0\n"), "{body}");
}

#[tokio::test]
async fn websockets_cross_versions() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let n = socket.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..n]).into_owned();
        assert!(head.starts_with("GET /chat HTTP/1.1\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
        socket.write_all(answer.as_bytes()).await.unwrap();
        let mut ping = [0; 4];
        socket.read_exact(&mut ping).await.unwrap();
        socket.write_all(&ping).await.unwrap();
    });
    // The inner proxy speaks HTTP/1 to the host and HTTP/2 to the outer one, which a client of HTTP/1.1 asks.
    let inner = Plane::start(vec![managed(|m| m.http2_allow_connect = true)], vec![cluster(&[upstream])]).await;
    let between = testing::cluster("c", &[inner.address("l")], crate::model::HttpProtocol::Http2);
    let outer = Plane::start(vec![managed(|_| {})], vec![between]).await;
    let mut client = outer.connect("l").await;
    let request = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let n = client.read(&mut answer).await.unwrap();
    let head = String::from_utf8_lossy(&answer[..n]);
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("upgrade: websocket\r\n"), "{head}");
    client.write_all(b"ping").await.unwrap();
    let mut pong = [0; 4];
    client.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"ping");
}

#[tokio::test]
async fn an_answer_is_not_lost_with_what_was_not_read() {
    let plane = Plane::start(vec![managed(|_| {})], vec![]).await;
    let mut client = plane.connect("l").await;
    client
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    client.write_all(&[b'x'; 100_000]).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("connection: close\r\n"), "{answer}");
    plane.until("http.test.downstream_cx_active", 1).await;
    drop(client);
    plane.until("http.test.downstream_cx_active", 0).await;
}

#[tokio::test]
async fn access_logs_tell_of_requests_that_begin() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let config = crate::model::AccessLogConfig {
        sink: crate::model::AccessLogSink::File(path.clone()),
        format: AccessLogFormat::Text("%REQ(:PATH)% %RESPONSE_CODE%\n".into()),
        filter: None,
    };
    let logged = managed(|m| {
        m.access_log = vec![config];
        m.log_new_requests = true;
    });
    let plane = Plane::start(vec![logged], vec![]).await;
    raw(plane.connect("l").await, GET).await;
    for _ in 0..500 {
        if std::fs::read_to_string(&path).is_ok_and(|text| text.lines().count() == 2) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "/ 0\n/ 503\n");
}

#[tokio::test]
async fn connect_can_end_here() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut ping = [0; 4];
                socket.read_exact(&mut ping).await.unwrap();
                socket.write_all(&ping).await.unwrap();
            });
        }
    });
    let mut forward = testing::forward("c");
    forward.terminates_connect = true;
    forward.upgrades = vec![("connect".into(), true)];
    let mut route = Arc::unwrap_or_clone(testing::route("/", crate::model::Action::Forward(Box::new(forward))));
    route.matches.path = crate::model::PathMatch::Connect;
    let manager = testing::manager(testing::table(vec![Arc::new(route)]));
    let chain = testing::chain(crate::model::TerminalFilter::Http(Arc::new(manager)));
    let plane = Plane::start(vec![testing::listener("l", vec![chain])], vec![cluster(&[upstream])]).await;
    // HTTP/1.
    let mut client = plane.connect("l").await;
    client.write_all(b"CONNECT a:15008 HTTP/1.1\r\nhost: a:15008\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 512];
    let n = client.read(&mut answer).await.unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..n]));
    client.write_all(b"ping").await.unwrap();
    let mut pong = [0; 4];
    client.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"ping");
    // HTTP/2: HBONE's form.
    let mut send = super::http2::client(&plane).await;
    let request = http::Request::connect("a:15008").body(http_body_util::Full::default()).unwrap();
    let response = send.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut tunnel = hyper_util::rt::TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    tunnel.write_all(b"ping").await.unwrap();
    tunnel.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"ping");
    drop((client, tunnel));
    plane.until("http.test.downstream_cx_upgrades_active", 0).await;
}
