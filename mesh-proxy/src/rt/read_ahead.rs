use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    task::coop::poll_proceed,
};

use super::{Scratch, write_through};

/// A stream that is read in large pieces, for readers that ask for small ones: TLS asks for 4 KiB at a time, the HTTP/2
/// codec for what is left of 8.
///
/// The buffer is the worker's ([`Scratch`]), held only while there is something in it. Writes go through.
#[derive(Debug)]
pub(crate) struct ReadAhead<S> {
    inner: S,
    held: Option<Held>,
}

/// Bytes that came and were not read yet.
#[derive(Debug)]
struct Held {
    buffer: Scratch,
    start: usize,
    end: usize,
}

impl<S> ReadAhead<S> {
    /// Nothing read yet.
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, held: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.held.is_none() {
            let mut buffer = Scratch::take();
            if buf.remaining() >= buffer.len() {
                return Pin::new(&mut this.inner).poll_read(cx, buf);
            }
            let mut chunk = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
            let end = chunk.filled().len();
            if end <= buf.remaining() {
                buf.put_slice(&buffer[..end]);
                return Poll::Ready(Ok(()));
            }
            this.held = Some(Held { buffer, start: 0, end });
        }
        if let Some(held) = &mut this.held {
            // Counts against the task's turn as a read of the socket does: a client that sends without a pause must not
            // keep the worker for itself.
            ready!(poll_proceed(cx)).made_progress();
            let n = buf.remaining().min(held.end - held.start);
            buf.put_slice(&held.buffer[held.start..held.start + n]);
            held.start += n;
            if held.start == held.end {
                this.held = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

write_through!(ReadAhead);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::ReadAhead;

    #[tokio::test]
    async fn bytes_come_whole_and_in_order_however_they_are_asked_for() {
        let text: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        for size in [1000, 65_536, 100_000] {
            let (mut peer, inner) = duplex(70_000);
            let sent = text.clone();
            let send = async move { peer.write_all(&sent).await };
            let receive = async {
                let mut stream = ReadAhead::new(inner);
                let (mut got, mut chunk) = (Vec::new(), vec![0; size]);
                loop {
                    let n = stream.read(&mut chunk).await.unwrap();
                    if n == 0 {
                        return (got, stream.held.is_none());
                    }
                    got.extend_from_slice(&chunk[..n]);
                }
            };
            let (sent, (got, given_back)) = tokio::join!(send, receive);
            sent.unwrap();
            assert!(got == text && given_back, "{size}");
        }
    }
}
