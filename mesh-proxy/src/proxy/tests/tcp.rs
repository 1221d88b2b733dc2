use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{GET, Plane, cluster, forwarding, raw};
use crate::{
    model::{
        AccessLogConfig, AccessLogFormat, AccessLogSink, Listener, ListenerFilterKind, ProxyHeader, ProxyProtocol,
        ProxyProtocolVersion, TcpLogTimes, TcpProxy, TerminalFilter, TlsInspector, Tlv, TlvRule, TlvSelection,
        UpstreamSocket,
    },
    proxy_protocol::{Parsed, parse},
    testing,
};

/// A listener `l` whose TCP proxy to cluster `c` is as `edit` changes it.
fn proxy(edit: impl FnOnce(&mut TcpProxy)) -> Listener {
    let mut proxy = testing::tcp("c");
    edit(&mut proxy);
    testing::listener("l", vec![testing::chain(TerminalFilter::Tcp(Arc::new(proxy)))])
}

/// Writes a line for each of its times into a file.
fn logging(path: &std::path::Path, format: &str) -> Vec<AccessLogConfig> {
    let sink = AccessLogSink::File(path.to_owned());
    vec![AccessLogConfig { sink, format: AccessLogFormat::Text(format.to_owned()), filter: None }]
}

/// Waits until the file has so many lines.
async fn lines(path: &std::path::Path, count: usize) -> Vec<String> {
    for _ in 0..500 {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= count {
            return text.lines().map(str::to_owned).collect();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", std::fs::read_to_string(path));
}

/// Reads a PROXY protocol header, and what came behind it.
async fn header(socket: &mut tokio::net::TcpStream) -> (crate::proxy_protocol::Header, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes) {
            Parsed::Header(header) => {
                let rest = bytes.split_off(header.length);
                return (header, rest);
            }
            Parsed::More => {}
            other => panic!("{other:?}"),
        }
        let n = tokio::time::timeout(Duration::from_secs(10), socket.read_buf(&mut bytes)).await.unwrap().unwrap();
        assert!(n > 0, "closed after {bytes:?}");
    }
}

fn proxied(version: ProxyProtocolVersion) -> UpstreamSocket {
    let header = ProxyHeader { version, pass_through: TlvSelection::All, added: vec![] };
    UpstreamSocket::Proxied(Arc::new(header), Box::new(UpstreamSocket::Plain))
}

#[tokio::test]
async fn carries_bytes_with_half_close() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut got = Vec::new();
        socket.read_to_end(&mut got).await.unwrap();
        got.reverse();
        socket.write_all(&got).await.unwrap();
    });
    let chain = testing::chain(TerminalFilter::Tcp(Arc::new(testing::tcp("c"))));
    let plane = Plane::start(vec![testing::listener("l", vec![chain])], vec![cluster(&[upstream])]).await;
    let mut client = plane.connect("l").await;
    client.write_all(b"abc").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "cba");
    plane.until("tcp.tcp.downstream_cx_active", 0).await;
    assert_eq!(plane.stat("tcp.tcp.downstream_cx_rx_bytes_total"), 3);
    assert_eq!(plane.stat("tcp.tcp.downstream_cx_tx_bytes_total"), 3);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let mut proxy = testing::tcp("c");
    proxy.idle_timeout = Duration::from_millis(30);
    let chain = testing::chain(TerminalFilter::Tcp(Arc::new(proxy)));
    let plane = Plane::start(vec![testing::listener("l", vec![chain])], vec![cluster(&[upstream])]).await;
    let mut client = plane.connect("l").await;
    assert_eq!(client.read(&mut [0; 1]).await.unwrap_or(0), 0);
    plane.until("tcp.tcp.idle_timeout", 1).await;
}

#[tokio::test]
async fn the_host_is_told_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for version in [ProxyProtocolVersion::V1, ProxyProtocolVersion::V2] {
        let mut cluster = cluster(&[listener.local_addr().unwrap()]);
        cluster.socket = proxied(version);
        let mut front = proxy(|proxy| proxy.tlvs = vec![Tlv { kind: 0xe1, value: "own".into() }]);
        let kept = ProxyProtocol { optional: true, pass_through: TlvSelection::All, ..ProxyProtocol::default() };
        front.listener_filters = vec![ListenerFilterKind::ProxyProtocol(Arc::new(kept)).into()];
        let plane = Plane::start(vec![front], vec![cluster]).await;
        let mut client = plane.connect("l").await;
        let own = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        client.write_all(b"abc").await.unwrap();
        let (mut host, _) = listener.accept().await.unwrap();
        let (found, mut rest) = header(&mut host).await;
        assert_eq!((found.version, found.addresses), (version, Some(own)));
        let kinds: Vec<u8> = found.tlvs.iter().map(|tlv| tlv.kind).collect();
        assert_eq!(kinds, if version == ProxyProtocolVersion::V2 { vec![0xe1] } else { vec![] });
        while rest.len() < 3 {
            host.read_buf(&mut rest).await.unwrap();
        }
        assert_eq!(rest, b"abc");
    }
}

#[tokio::test]
async fn http_connections_to_a_host_that_is_told_are_not_shared_by_clients() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut cluster = cluster(&[listener.local_addr().unwrap()]);
    cluster.socket = proxied(ProxyProtocolVersion::V2);
    let plane = Plane::start(vec![forwarding(|_| {})], vec![cluster]).await;
    let server = async {
        let mut clients = Vec::new();
        for _ in 0..2 {
            let (mut host, _) = listener.accept().await.unwrap();
            let (found, _) = header(&mut host).await;
            host.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            clients.push((found.addresses.unwrap().0, host));
        }
        (clients[0].0, clients[1].0)
    };
    let client = async {
        let mut addresses = Vec::new();
        for _ in 0..2 {
            let socket = plane.connect("l").await;
            addresses.push(socket.local_addr().unwrap());
            assert!(raw(socket, GET).await.ends_with("ok"));
        }
        (addresses[0], addresses[1])
    };
    let (told, meant) =
        tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(server, client) }).await.unwrap();
    assert_eq!(told, meant);
}

#[tokio::test]
async fn a_host_is_connected_to_when_the_client_has_spoken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = cluster(&[listener.local_addr().unwrap()]);
    let plane = Plane::start(vec![proxy(|proxy| proxy.early_data = Some(1024))], vec![host]).await;
    let mut client = plane.connect("l").await;
    plane.until("tcp.tcp.downstream_cx_active", 1).await;
    assert_eq!(plane.stat("cluster.c.upstream_cx_total"), 0);
    client.write_all(b"abc").await.unwrap();
    let (mut host, _) = listener.accept().await.unwrap();
    let mut got = [0; 3];
    host.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"abc");
}

#[tokio::test]
async fn connecting_is_tried_again_after_a_pause() {
    // A port that nobody listens on.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let front = proxy(|proxy| {
        proxy.max_connect_attempts = 3;
        proxy.backoff = Some((Duration::from_millis(1), Duration::from_millis(2)));
        proxy.access_log = logging(&path, "%UPSTREAM_REQUEST_ATTEMPT_COUNT% %RESPONSE_FLAGS%\n");
    });
    let plane = Plane::start(vec![front], vec![cluster(&[free])]).await;
    assert_eq!(raw(plane.connect("l").await, "").await, "");
    assert_eq!(lines(&path, 1).await, ["3 UF,URX"]);
    assert_eq!(plane.stat("cluster.c.upstream_cx_connect_fail"), 3);
}

#[tokio::test]
async fn lines_are_written_at_their_times() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let front = proxy(|proxy| {
        proxy.access_log = logging(&path, "%UPSTREAM_CLUSTER% %BYTES_RECEIVED%\n");
        proxy.log_times = TcpLogTimes { interval: Some(Duration::from_millis(50)), on_connected: true, on_start: true };
    });
    let plane = Plane::start(vec![front], vec![cluster(&[listener.local_addr().unwrap()])]).await;
    let mut client = plane.connect("l").await;
    client.write_all(b"abc").await.unwrap();
    let (mut host, _) = listener.accept().await.unwrap();
    host.read_exact(&mut [0; 3]).await.unwrap();
    let found = lines(&path, 4).await;
    assert_eq!(found[..2], ["- 0", "c 0"]);
    assert!(found[2..].contains(&"c 3".to_owned()), "{found:?}");
}

#[tokio::test]
async fn a_connection_lives_as_long_as_it_may() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = proxy(|proxy| {
        proxy.max_downstream_duration = Some(Duration::from_millis(20));
        proxy.duration_jitter = 0.5;
    });
    let plane = Plane::start(vec![front], vec![cluster(&[listener.local_addr().unwrap()])]).await;
    assert_eq!(raw(plane.connect("l").await, "").await, "");
    plane.until("tcp.tcp.max_downstream_connection_duration", 1).await;
}

#[tokio::test]
async fn the_server_name_is_the_cluster() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut named = cluster(&[listener.local_addr().unwrap()]);
    named.name = "web.example".into();
    let mut front = proxy(|proxy| proxy.sni_cluster = true);
    front.listener_filters = vec![ListenerFilterKind::TlsInspector(TlsInspector::default()).into()];
    let plane = Plane::start(vec![front], vec![named]).await;
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut tls = rustls::ClientConnection::new(Arc::new(config), "web.example".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let mut client = plane.connect("l").await;
    client.write_all(&hello).await.unwrap();
    let (mut host, _) = listener.accept().await.unwrap();
    let mut got = vec![0; hello.len()];
    host.read_exact(&mut got).await.unwrap();
    assert_eq!(got, hello);
    // Without a name the configured cluster holds, which is not there.
    assert_eq!(raw(plane.connect("l").await, "hello").await, "");
    assert_eq!(plane.stat("tcp.tcp.downstream_cx_no_route"), 1);
}

#[tokio::test]
async fn tlvs_are_in_the_log_of_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut front =
        proxy(|proxy| proxy.access_log = logging(&path, "%DYNAMIC_METADATA(n:k)% %DOWNSTREAM_REMOTE_ADDRESS%\n"));
    let rules = vec![TlvRule { kind: 2, namespace: "n".into(), key: "k".into(), base64: false }];
    let config = ProxyProtocol { rules, ..ProxyProtocol::default() };
    front.listener_filters = vec![ListenerFilterKind::ProxyProtocol(Arc::new(config)).into()];
    let plane = Plane::start(vec![front], vec![cluster(&[listener.local_addr().unwrap()])]).await;
    let addresses = Some(("192.0.2.1:7".parse().unwrap(), "192.0.2.2:8".parse().unwrap()));
    let tlv = Tlv { kind: 2, value: "hello".into() };
    let mut client = plane.connect("l").await;
    client.write_all(&crate::proxy_protocol::encode(ProxyProtocolVersion::V2, addresses, &[tlv])).await.unwrap();
    drop(client);
    drop(listener.accept().await.unwrap());
    assert_eq!(lines(&path, 1).await, ["hello 192.0.2.1:7"]);
}

#[tokio::test]
async fn a_tunnel_is_asked_for() {
    use crate::model::{AppendAction, HeaderEdit, HeaderValueFormat, TcpTunnel};
    let front = || {
        proxy(|proxy| {
            let name = http::HeaderName::from_static("x-from");
            let value = HeaderValueFormat::Format("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%".into());
            let edit = HeaderEdit { name, value, append: AppendAction::AppendIfExistsOrAdd, keep_empty: false };
            proxy.tunnel = Some(TcpTunnel { hostname: "far.example:443".into(), headers: vec![edit] });
        })
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plane = Plane::start(vec![front()], vec![cluster(&[listener.local_addr().unwrap()])]).await;
    for (status, expected) in [("200 OK", "cba"), ("403 Forbidden", "")] {
        let serve = async {
            let (mut host, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(host.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            assert!(head.starts_with("CONNECT far.example:443 HTTP/1.1\r\n"), "{head}");
            assert!(head.contains("host: far.example:443\r\n") && head.contains("x-from: 127.0.0.1\r\n"), "{head}");
            host.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.unwrap();
            if status == "200 OK" {
                let mut got = [0; 3];
                host.read_exact(&mut got).await.unwrap();
                got.reverse();
                host.write_all(&got).await.unwrap();
            }
        };
        let client = plane.connect("l").await;
        let (answer, ()) = tokio::join!(raw(client, "abc"), serve);
        assert_eq!(answer, expected);
    }
}

#[tokio::test]
async fn a_tunnel_over_http2() {
    use crate::model::{HttpProtocol, TcpTunnel};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = testing::cluster("c", &[listener.local_addr().unwrap()], HttpProtocol::Http2);
    let front = proxy(|proxy| proxy.tunnel = Some(TcpTunnel { hostname: "far.example:443".into(), headers: vec![] }));
    let plane = Plane::start(vec![front], vec![host]).await;
    let serve = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        assert_eq!(request.method(), http::Method::CONNECT);
        assert_eq!(request.uri().to_string(), "far.example:443");
        let mut send = respond.send_response(http::Response::new(()), false).unwrap();
        let mut body = request.into_body();
        let carry = async {
            let got = body.data().await.unwrap().unwrap();
            assert_eq!(&got[..], b"abc");
            send.send_data("cba".into(), true).unwrap();
        };
        let drive = async { while connection.accept().await.is_some() {} };
        tokio::pin!(drive);
        tokio::select! {
            () = carry => {}
            () = &mut drive => panic!("ended early"),
        }
        drive.await;
    };
    let client = async {
        let mut client = plane.connect("l").await;
        client.write_all(b"abc").await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::select! {
        answer = client => answer,
        () = serve => panic!("the host ended early"),
    };
    assert_eq!(answer, "cba");
}
