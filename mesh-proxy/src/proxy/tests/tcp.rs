use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{Plane, cluster};
use crate::{model::TerminalFilter, testing};

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
