//! Ends that are beginnings elsewhere: shutdown and age, as clients and connections meet them.
#![cfg(all(feature = "server", feature = "client"))]
#![allow(clippy::unwrap_used)] // helpers of a test

mod common;

use std::{net::SocketAddr, time::Duration};

use common::{PATIENCE, Running, Target, added, cluster, eventually, update};
use mesh_xds::{
    TypeUrl,
    protocol::{Subscription, Variant},
    server::{ListenConfig, ServerLimits, XdsServer, serve},
    store::{Batch, SingleView, View},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// HTTP/2 by hand: the preface with an empty SETTINGS frame (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const GOAWAY: u8 = 7;

/// Reads frames until the server says that it goes away.
async fn goes_away(stream: &mut TcpStream) {
    let reading = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.expect("a frame before the end");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            stream.read_exact(&mut vec![0; length]).await.unwrap();
            if head[3] == GOAWAY {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("GOAWAY in time");
}

async fn connect(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream
}

#[tokio::test]
async fn shutdown_tells_connections_to_go_away_and_closes_the_port() {
    let running = Running::start(XdsServer::builder(SingleView(View::new()))).await;
    let mut stream = connect(running.address).await;
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    stream.read_exact(&mut vec![0; usize::from(head[2])]).await.unwrap();
    running.server.shutdown();
    goes_away(&mut stream).await;
    let refused = async { while TcpStream::connect(running.address).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, refused).await.expect("nobody listens any more");
}

#[tokio::test]
async fn an_old_connection_is_told_to_go_away() {
    let server = XdsServer::builder(SingleView(View::new())).build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = ListenConfig { max_connection_age: Some(Duration::from_millis(50)), ..Default::default() };
    tokio::spawn(serve(listener, None, server.routes(), config, server.stopped()));
    goes_away(&mut connect(address).await).await;
    server.shutdown();
}

#[tokio::test]
async fn a_client_of_an_aged_stream_comes_back_and_is_sent_only_what_is_new() {
    let view = View::new();
    view.replace([cluster("a", "1"), cluster("b", "1")]);
    let limits = ServerLimits { max_stream_age: Some(Duration::from_millis(40)), ..Default::default() };
    let running = Running::start(XdsServer::builder(SingleView(view.clone())).limits(limits)).await;
    let client = Target::new(running.address).client("n", Variant::Delta);
    let mut watch = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
    let first = update(&mut watch).await;
    assert_eq!(added(&first), ["a", "b"]);
    first.accept();
    eventually("several lives", || running.server.metrics().streams_aged >= 3).await;
    assert_eq!(running.server.metrics().resources_pushed, 2, "nothing is sent twice");
    view.update(Batch::new().put(cluster("c", "1")));
    assert_eq!(added(&update(&mut watch).await), ["c"]);
}
