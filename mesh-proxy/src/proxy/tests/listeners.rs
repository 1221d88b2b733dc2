use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{GET, Plane, cluster, echo, forwarding, http_server, raw, routing};
use crate::{
    model::{Action, Address, DirectResponse, FilterChainMatch, ListenerFilters, TerminalFilter, TransportProtocol},
    testing,
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

#[tokio::test]
async fn a_removed_listener_stops_accepting() {
    let plane = Plane::start(vec![routing(direct("one"))], vec![]).await;
    let address = plane.address("l");
    plane.update(vec![], vec![]).await;
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still accepting");
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
    let http = |body| {
        TerminalFilter::Http(Arc::new(testing::manager(testing::table(vec![testing::route("/", direct(body))]))))
    };
    let mut far = testing::chain(http("far"));
    far.matches = FilterChainMatch { source: vec!["192.0.2.0/24".parse().unwrap()], ..FilterChainMatch::default() };
    let mut plain = testing::chain(http("plain"));
    plain.matches = FilterChainMatch {
        transport: Some(TransportProtocol::RawBuffer),
        application_protocols: vec!["http/1.1".into()],
        ..FilterChainMatch::default()
    };
    let mut listener = testing::listener("l", vec![far, plain]);
    listener.listener_filters =
        ListenerFilters { proxy_protocol: true, tls_inspector: true, http_inspector: true, original_dst: false };
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
