//! What a client expects of its transport.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::Connect;

/// The client preface of HTTP/2 with an empty SETTINGS frame (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Checks a [`Connect`] against an HTTP/2 server that it reaches: each call opens a connection of its own, and each is
/// ready for HTTP/2.
///
/// # Panics
/// With what does not hold.
#[allow(clippy::expect_used)] // a suite panics by contract
pub async fn connect_suite(connect: &dyn Connect) {
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(connect.connect().await.expect("a connection opens"));
    }
    // The first is closed; the others do not mind.
    drop(connections.remove(0));
    for mut io in connections {
        io.write_all(PREFACE).await.expect("the connection is writable");
        let mut head = [0; 9];
        io.read_exact(&mut head).await.expect("the server answers the preface");
        assert_eq!(head[3], 4, "the first frame of an HTTP/2 server is SETTINGS");
    }
}
