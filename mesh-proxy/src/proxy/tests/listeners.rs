use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{GET, Plane, cluster, echo, forwarding, http_server, raw, routing};
use crate::{
    model::{
        Action, Address, DirectResponse, FilterChain, FilterChainMatch, ListenerFilter, ListenerFilterKind,
        ListenerPredicate, SocketOption, SocketSetting, SocketSettings, SocketState, TerminalFilter, TlsInspector,
        TransportProtocol,
    },
    testing,
    worker::{Command, Which},
};

fn direct(body: &'static str) -> Action {
    Action::Direct(DirectResponse { status: StatusCode::OK, body: body.into() })
}

async fn read_until(socket: &mut tokio::net::TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut chunk = [0; 1024];
        let n = tokio::time::timeout(Duration::from_secs(10), socket.read(&mut chunk)).await.unwrap().unwrap();
        assert!(n > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&chunk[..n]).unwrap());
    }
    text
}

#[tokio::test]
async fn a_changed_listener_keeps_its_connections() {
    let plane = Plane::start(vec![routing(direct("one"))], vec![]).await;
    let address = plane.address("l");
    let mut old = plane.connect("l").await;
    old.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    read_until(&mut old, "one").await;

    plane.update(vec![routing(direct("two"))], vec![]).await;
    assert_eq!(plane.address("l"), address);
    assert!(raw(plane.connect("l").await, GET).await.ends_with("two"));
    // The old connection still serves, and says that it will end.
    old.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let answer = read_until(&mut old, "one").await;
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(old.read(&mut [0; 1]).await.unwrap(), 0);
}

/// A chain for clients of this network, as PROXY protocol tells them, that came from a message with this digest.
fn chain_for(network: &str, body: &'static str, digest: u8) -> FilterChain {
    let mut chain = testing::chain(http(body));
    chain.matches = FilterChainMatch { source: vec![network.parse().unwrap()], ..FilterChainMatch::default() };
    chain.digest = Some([digest; 32]);
    chain
}

fn http(body: &'static str) -> TerminalFilter {
    let routes = testing::table(vec![testing::route("/", direct(body))]);
    TerminalFilter::Http(Arc::new(testing::manager(routes)))
}

#[tokio::test]
async fn a_changed_chain_drains_only_its_own_connections() {
    let listener = |second: FilterChain| {
        let mut listener = testing::listener("l", vec![chain_for("192.0.2.0/24", "a", 1), second]);
        listener.listener_filters = vec![ListenerFilterKind::ProxyProtocol(Arc::default()).into()];
        listener
    };
    let plane = Plane::start(vec![listener(chain_for("198.51.100.0/24", "b", 2))], vec![]).await;
    let mut clients = Vec::new();
    for (client, body) in [("192.0.2.1", "a"), ("198.51.100.1", "b")] {
        let mut socket = plane.connect("l").await;
        let head = format!("PROXY TCP4 {client} 127.0.0.1 9 80\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut socket, body).await;
        clients.push((socket, body));
    }
    plane.update(vec![listener(chain_for("198.51.100.0/24", "c", 3))], vec![]).await;
    for ((mut socket, body), drained) in clients.into_iter().zip([false, true]) {
        for _ in 0..2 {
            socket.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let answer = read_until(&mut socket, body).await;
            assert_eq!(answer.contains("connection: close\r\n"), drained, "{answer}");
            if drained {
                break;
            }
        }
    }
}

#[tokio::test]
async fn filters_that_answer_themselves() {
    let plane = Plane::start(
        vec![
            testing::listener("echo", vec![testing::chain(TerminalFilter::Echo)]),
            testing::listener("direct", vec![testing::chain(TerminalFilter::DirectResponse("hi".into()))]),
        ],
        vec![],
    )
    .await;
    let mut echo = plane.connect("echo").await;
    echo.write_all(b"abc").await.unwrap();
    assert_eq!(read_until(&mut echo, "abc").await, "abc");
    echo.write_all(b"def").await.unwrap();
    echo.shutdown().await.unwrap();
    let mut rest = String::new();
    echo.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "def");
    assert_eq!(raw(plane.connect("direct").await, "").await, "hi");
}

#[tokio::test]
async fn a_listener_filter_can_be_left_out_by_port() {
    let mut listener = routing(direct("x"));
    let kind = ListenerFilterKind::ProxyProtocol(Arc::default());
    let disabled = Some(ListenerPredicate::Not(Box::new(ListenerPredicate::DestinationPort(0..1))));
    listener.listener_filters = vec![ListenerFilter { kind, disabled }];
    let plane = Plane::start(vec![listener], vec![]).await;
    assert!(raw(plane.connect("l").await, GET).await.ends_with('x'));
}

#[tokio::test]
async fn a_tls_inspector_can_insist() {
    let mut listener = routing(direct("x"));
    let inspector = TlsInspector { close_on_error: true, ..TlsInspector::default() };
    listener.listener_filters = vec![ListenerFilterKind::TlsInspector(inspector).into()];
    let plane = Plane::start(vec![listener], vec![]).await;
    assert_eq!(raw(plane.connect("l").await, GET).await, "");
}

#[tokio::test]
async fn sockets_have_their_options() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.sock");
    let mut listener = routing(direct("x"));
    listener.addresses.push(Address::Unix(path.clone()));
    let setting = SocketSetting::ReceiveBuffer(40_000);
    let options = vec![SocketOption { state: SocketState::Listening, ipv4: Some(false), setting }];
    listener.sockets = vec![
        SocketSettings { options, keepalive: Some((Duration::from_secs(5), Duration::from_secs(6), 7)), mode: 0 },
        SocketSettings { mode: 0o640, ..SocketSettings::default() },
    ];
    let _plane = Plane::start(vec![listener], vec![]).await;
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let mut unix = tokio::net::UnixStream::connect(&path).await.unwrap();
    unix.write_all(GET.as_bytes()).await.unwrap();
    let mut answer = String::new();
    unix.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with('x'));
}

#[tokio::test]
async fn a_removed_listener_stops_accepting() {
    let plane = Plane::start(vec![routing(direct("one"))], vec![]).await;
    let address = plane.address("l");
    plane.update(vec![], vec![]).await;
    assert!(refuses(address).await, "still accepting");
}

async fn refuses(address: std::net::SocketAddr) -> bool {
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(address).await.is_err() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn only_inbound_listeners_are_drained_and_closed() {
    let named = |name: &str, inbound| {
        let mut listener = testing::listener(name, vec![testing::chain(http("x"))]);
        listener.inbound = Some(inbound);
        listener
    };
    async fn is_told_to_close(client: &mut tokio::net::TcpStream) -> bool {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        read_until(client, "x").await.contains("connection: close\r\n")
    }
    let plane = Plane::start(vec![named("in", true), named("out", false)], vec![]).await;
    let (mut inside, mut outside) = (plane.connect("in").await, plane.connect("out").await);
    assert!(!is_told_to_close(&mut inside).await && !is_told_to_close(&mut outside).await);
    plane.commands.send_replace(Command::Drain { which: Which::Inbound, close: false });
    let mut tries = 0;
    while !is_told_to_close(&mut inside).await {
        tries += 1;
        assert!(tries < 1000, "never told");
    }
    assert!(!is_told_to_close(&mut outside).await);
    let (inbound, outbound) = (plane.address("in"), plane.address("out"));
    plane.commands.send_replace(Command::Close { which: Which::Inbound });
    assert!(refuses(inbound).await, "still accepting");
    assert!(tokio::net::TcpStream::connect(outbound).await.is_ok());
}

#[tokio::test]
async fn shutting_down_finishes_what_is_under_way() {
    let upstream = http_server(|request| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        echo(request).await
    })
    .await;
    let plane = Plane::start(vec![forwarding(|_| {})], vec![cluster(&[upstream])]).await;
    let mut busy = plane.connect("l").await;
    busy.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    plane.until("cluster.c.upstream_rq_active", 1).await;
    let mut idle = plane.connect("l").await;
    plane.until("http.test.downstream_cx_active", 2).await;
    let stopped = plane.plane.shut_down(Duration::from_secs(5));
    let talk = async {
        let mut answer = String::new();
        busy.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close\r\n"), "{answer}");
        let _ = idle.read(&mut [0; 1]).await;
    };
    tokio::time::timeout(Duration::from_secs(4), async { tokio::join!(stopped, talk) }).await.unwrap();
}

#[tokio::test]
async fn proxy_protocol_and_sniffing_choose_the_chain() {
    let mut far = testing::chain(http("far"));
    far.matches = FilterChainMatch { source: vec!["192.0.2.0/24".parse().unwrap()], ..FilterChainMatch::default() };
    let mut plain = testing::chain(http("plain"));
    plain.matches = FilterChainMatch {
        transport: Some(TransportProtocol::RawBuffer),
        application_protocols: vec!["http/1.1".into()],
        ..FilterChainMatch::default()
    };
    let mut listener = testing::listener("l", vec![far, plain]);
    listener.listener_filters = vec![
        ListenerFilterKind::ProxyProtocol(Arc::default()).into(),
        ListenerFilterKind::TlsInspector(TlsInspector::default()).into(),
        ListenerFilterKind::HttpInspector.into(),
    ];
    let plane = Plane::start(vec![listener], vec![]).await;
    let answer = raw(plane.connect("l").await, &format!("PROXY TCP4 198.51.100.1 127.0.0.1 9 80\r\n{GET}")).await;
    assert!(answer.ends_with("plain"), "{answer}");
    let answer = raw(plane.connect("l").await, "PROXY TCP4 198.51.100.1 127.0.0.1 9 80\r\nhello world\r\n").await;
    assert_eq!(answer, "");
    let answer = raw(plane.connect("l").await, GET).await;
    assert_eq!(answer, "", "no PROXY header");
}

#[tokio::test]
async fn connection_limits_hold() {
    let mut listener = routing(direct("x"));
    listener.max_connections = Some(1);
    let plane = Plane::start(vec![listener], vec![]).await;
    let mut first = plane.connect("l").await;
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    read_until(&mut first, "x").await;
    let mut second = plane.connect("l").await;
    assert_eq!(second.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut listener = routing(direct("x"));
    listener.addresses = vec![Address::Tcp(taken.local_addr().unwrap())];
    let plane = Plane::start(vec![], vec![]).await;
    plane.update(vec![listener], vec![]).await;
    let failures = plane.plane.bind_failures();
    assert!(failures[0].1.contains("is in use; stop the other program"), "{failures:?}");
}
