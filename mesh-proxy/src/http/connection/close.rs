//! The last words on an HTTP/1 connection.

use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    http::headers,
    listener::io::ServerIo,
    model::{HttpConnectionManager, ServerHeader},
};

/// The answer to a request whose head took too long. The codec cannot give it, since there is no request.
pub(super) fn head_timeout_answer(model: &HttpConnectionManager, now: SystemTime) -> Vec<u8> {
    let server = match model.server_header {
        ServerHeader::PassThrough => String::new(),
        ServerHeader::Overwrite | ServerHeader::AppendIfAbsent => format!("server: {}\r\n", model.server_name),
    };
    format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-length: 22\r\ncontent-type: text/plain\r\ndate: {}\r\n{server}connection: \
         close\r\n\r\nrequest header timeout",
        headers::date(now)
    )
    .into_bytes()
}

/// Reads what a client still sends, for a while: a socket closed with bytes unread is reset, and the answer lost with it.
pub(super) async fn linger(mut io: ServerIo, limit: Duration) {
    if limit.is_zero() {
        return;
    }
    let drained = async {
        let _ = io.shutdown().await;
        let mut scratch = [0; 2048];
        while matches!(io.read(&mut scratch).await, Ok(1..)) {}
    };
    // Nothing is left to be told to a client that goes on sending.
    let _ = tokio::time::timeout(limit, drained).await;
}
