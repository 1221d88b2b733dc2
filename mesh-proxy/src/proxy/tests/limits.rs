//! Clients that make work without asking for anything, or ask and do not listen: they are cut off, others are served.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{GET, Plane, cluster, echo, http_server, managed, raw};
use crate::model::{Http2Limits, Keepalive};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// `:method GET`, `:scheme http`, `:path /` of HPACK's static table, and `:authority a` as a literal.
const REQUEST: &[u8] = &[0x82, 0x86, 0x84, 0x01, 1, b'a'];

async fn http2(plane: &Plane) -> TcpStream {
    let mut socket = plane.connect("l").await;
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    socket
}

/// Sends `bytes` over and over until the proxy closes the connection.
async fn flood(mut socket: TcpStream, mut bytes: impl FnMut(u32) -> Vec<u8>) {
    let (mut read, mut write) = socket.split();
    let reading = async {
        let mut scratch = [0; 16384];
        while matches!(read.read(&mut scratch).await, Ok(1..)) {}
    };
    let writing = async {
        let mut n = 0;
        while write.write_all(&bytes(n)).await.is_ok() {
            n += 1;
            tokio::task::yield_now().await;
        }
    };
    let closed = async {
        tokio::select! { () = reading => {}, () = writing => {} }
    };
    tokio::time::timeout(Duration::from_secs(20), closed).await.expect("the flood is ended");
}

async fn serves_others(plane: &Plane) {
    let answer = raw(plane.connect("l").await, GET).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn floods_of_frames_end_their_connection() {
    let upstream = http_server(echo).await;
    let limits = Http2Limits { reset_burst: 20, ..Http2Limits::default() };
    let plane = Plane::start(vec![managed(|m| m.http2_limits = limits)], vec![cluster(&[upstream])]).await;
    let open = frame(HEADERS, END_HEADERS, 1, REQUEST);
    let cases: [(&str, Vec<u8>, Vec<u8>); 4] = [
        ("http2.inbound_priority_frames_flood", vec![], frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7])),
        ("http2.inbound_window_update_frames_flood", vec![], frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("http2.inbound_empty_frames_flood", open, frame(DATA, 0, 1, &[])),
        ("http2.inbound_reset_frames_flood", vec![], vec![]),
    ];
    for (stat, first, again) in cases {
        let mut socket = http2(&plane).await;
        socket.write_all(&first).await.unwrap();
        flood(socket, |n| {
            if !again.is_empty() {
                return again.clone();
            }
            let stream = n * 2 + 1;
            [frame(HEADERS, END_HEADERS | END_STREAM, stream, REQUEST), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
                .concat()
        })
        .await;
        plane.until(stat, 1).await;
        serves_others(&plane).await;
    }
    plane.until("http.test.downstream_cx_active", 0).await;
    plane.until("http.test.downstream_rq_active", 0).await;
}

#[tokio::test]
async fn continuations_without_end_are_ended() {
    let upstream = http_server(echo).await;
    let plane = Plane::start(vec![managed(|_| {})], vec![cluster(&[upstream])]).await;
    let mut socket = http2(&plane).await;
    socket.write_all(&frame(HEADERS, END_STREAM, 1, REQUEST)).await.unwrap();
    let mut field = vec![0, 4, b'x', b'-', b'a', b'a', 100];
    field.extend([b'v'; 100]);
    flood(socket, |_| frame(CONTINUATION, 0, 1, &field)).await;
    serves_others(&plane).await;
}

#[tokio::test]
async fn a_slow_field_block_ends_its_connection() {
    let limit = managed(|m| m.request_headers_timeout = Duration::from_millis(100));
    let plane = Plane::start(vec![limit], vec![]).await;
    for first in [frame(HEADERS, 0, 1, REQUEST), frame(HEADERS, END_HEADERS, 1, REQUEST)[..11].to_vec()] {
        let mut socket = http2(&plane).await;
        socket.write_all(&first).await.unwrap();
        let mut seen = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut seen)).await;
        assert!(closed.is_ok(), "{first:?}");
    }
    plane.until("http.test.downstream_rq_header_timeout", 2).await;
    // One that asks for nothing yet is left alone.
    let idle = http2(&plane).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(plane.stat("http.test.downstream_cx_active"), 1);
    drop(idle);
}

#[tokio::test]
async fn streams_that_are_only_reset_end_their_connection() {
    let upstream = http_server(|_| async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        http::Response::new(http_body_util::Full::default())
    })
    .await;
    let plane = Plane::start(vec![managed(|_| {})], vec![cluster(&[upstream])]).await;
    let mut socket = http2(&plane).await;
    // One at a time, each accepted before it is reset: below every other limit.
    let mut ended = false;
    for n in 0..400_u32 {
        let stream = n * 2 + 1;
        let begun = socket.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, stream, REQUEST)).await;
        if begun.is_err() || plane.stat("http.test.downstream_rq_too_many_premature_resets") > 0 {
            ended = true;
            break;
        }
        plane.until("http.test.downstream_rq_http2_total", u64::from(n) + 1).await;
        let _ = socket.write_all(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])).await;
        plane.until("http.test.downstream_rq_active", 0).await;
    }
    assert!(ended, "{} resets", plane.stat("http.test.downstream_rq_rx_reset"));
    plane.until("http.test.downstream_rq_too_many_premature_resets", 1).await;
    plane.until("http.test.downstream_cx_active", 0).await;
}

#[tokio::test]
async fn pings_and_settings_that_are_not_read_are_held_back() {
    let plane = Plane::start(vec![managed(|_| {})], vec![]).await;
    for bytes in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut socket = http2(&plane).await;
        let many = bytes.repeat(1000);
        let mut sent = 0;
        // No answer is read, so that the proxy must stop reading: what it holds is bounded by the sockets' buffers.
        while let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(500), socket.write_all(&many)).await {
            sent += many.len();
            assert!(sent < 64 << 20, "it reads on and on");
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_reset() {
    let upstream = http_server(|_| async {
        http::Response::new(http_body_util::Full::new(bytes::Bytes::from(vec![b'x'; 8 << 20])))
    })
    .await;
    let stalled = managed(|m| m.stream_flush_timeout = Some(Duration::from_millis(100)));
    let plane = Plane::start(vec![stalled], vec![cluster(&[upstream])]).await;
    // HTTP/1: nothing is read from the socket.
    let mut http1 = plane.connect("l").await;
    http1.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // HTTP/2: no window is ever given beyond the first 65535 bytes, while the connection stays alive.
    let mut socket = http2(&plane).await;
    socket.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, REQUEST)).await.unwrap();
    plane.until("http.test.downstream_rq_http2_total", 1).await;
    plane.until("http.test.downstream_rq_active", 0).await;
    plane.until("cluster.c.upstream_rq_active", 0).await;
    let mut seen = Vec::new();
    let reset = [0, 0, 4, RST_STREAM, 0, 0, 0, 0, 1];
    while !seen.windows(reset.len()).any(|w| w == reset) {
        let mut chunk = vec![0; 65536];
        let n = tokio::time::timeout(Duration::from_secs(5), socket.read(&mut chunk)).await.unwrap().unwrap();
        assert!(n > 0, "the connection was closed");
        seen.extend_from_slice(&chunk[..n]);
    }
    drop(http1);
    // The stream is over, and with it the wait: the connection stays.
    plane.until("http.test.downstream_cx_active", 1).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(plane.stat("http.test.downstream_cx_active"), 1);
}

#[tokio::test]
async fn answers_that_nobody_takes_are_not_kept() {
    // Each is handed to the codec whole, so that no stream of ours waits any more; together they fill the socket.
    let upstream = http_server(|_| async {
        http::Response::new(http_body_util::Full::new(bytes::Bytes::from(vec![b'x'; 100_000])))
    })
    .await;
    let stalled = managed(|m| m.stream_flush_timeout = Some(Duration::from_millis(300)));
    let plane = Plane::start(vec![stalled], vec![cluster(&[upstream])]).await;
    let mut socket = http2(&plane).await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 2^20, and as much for the connection as there may be; but the socket is not read.
    socket.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0, 16, 0, 0])).await.unwrap();
    socket.write_all(&frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0])).await.unwrap();
    for n in 0..150 {
        socket.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, n * 2 + 1, REQUEST)).await.unwrap();
    }
    plane.until("http.test.downstream_rq_2xx", 150).await;
    plane.until("http.test.downstream_cx_active", 0).await;
}

#[tokio::test]
async fn a_client_that_has_its_answers_stays_connected() {
    let upstream = http_server(echo).await;
    let stalled = managed(|m| m.stream_flush_timeout = Some(Duration::from_millis(100)));
    let plane = Plane::start(vec![stalled], vec![cluster(&[upstream])]).await;
    let mut send = super::http2::client(&plane).await;
    for n in 1..4 {
        let request = http::Request::post("http://a.com/").body(http_body_util::Full::from("hello")).unwrap();
        let response = send.send_request(request).await.unwrap();
        http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
        plane.until("http.test.downstream_rq_2xx", n).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(plane.stat("http.test.downstream_cx_active"), 1);
    }
}

#[tokio::test]
async fn a_client_that_is_gone_is_found_by_pings() {
    let keepalive =
        Keepalive { interval: Duration::from_millis(50), timeout: Duration::from_millis(50), jitter_percent: 0.0 };
    let plane = Plane::start(vec![managed(|m| m.http2_keepalive = Some(keepalive))], vec![]).await;
    let mut socket = http2(&plane).await;
    let mut seen = Vec::new();
    // It answers nothing, and so the connection ends.
    let closed = tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut seen)).await;
    assert!(closed.is_ok(), "{seen:?}");
    assert!(seen.windows(5).any(|w| w == [0, 0, 8, PING, 0]), "{seen:?}");
    plane.until("http.test.downstream_cx_active", 0).await;
}

#[tokio::test]
async fn heads_are_bounded() {
    let upstream = http_server(echo).await;
    let small = managed(|m| {
        m.max_request_headers_bytes = 4096;
        m.max_headers_count = 10;
    });
    let plane = Plane::start(vec![small], vec![cluster(&[upstream])]).await;
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\nconnection: close\r\n\r\n", "y".repeat(5000));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}connection: close\r\n\r\n", "x: y\r\n".repeat(20));
    for request in [large, many] {
        let answer = raw(plane.connect("l").await, &request).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    serves_others(&plane).await;
    assert_eq!(plane.stat("cluster.c.upstream_rq_total"), 1);
}
