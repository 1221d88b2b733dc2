//! Filters that answer a connection themselves: `envoy.filters.network.echo` and `direct_response`.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::io::ServerIo;
use crate::drain::{DrainWatch, Phase};

/// Bytes sent back at a time.
const CHUNK: usize = 16 * 1024;

/// Sends back what comes, until the peer ends.
pub(super) async fn echo(mut io: ServerIo, mut drain: DrainWatch) {
    let talk = async {
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = io.read(&mut chunk).await?;
            if n == 0 {
                return io.shutdown().await;
            }
            io.write_all(&chunk[..n]).await?;
            io.flush().await?;
        }
    };
    ended(talk, &mut drain).await;
}

/// Sends `bytes` and closes.
pub(super) async fn direct(mut io: ServerIo, bytes: &Bytes, mut drain: DrainWatch) {
    let talk = async {
        io.write_all(bytes).await?;
        io.flush().await?;
        io.shutdown().await
    };
    ended(talk, &mut drain).await;
}

async fn ended(talk: impl Future<Output = std::io::Result<()>>, drain: &mut DrainWatch) {
    tokio::select! {
        result = talk => {
            if let Err(error) = result {
                tracing::debug!(%error, "answered connection ended");
            }
        }
        () = drain.reached(Phase::Ended) => {}
    }
}
