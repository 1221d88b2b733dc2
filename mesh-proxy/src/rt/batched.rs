use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Scratch;

/// A stream that joins what a codec writes in one turn.
///
/// The HTTP/2 codec writes each DATA frame on its own and flushes in between: answers to twenty streams that are ready
/// together would be twenty system calls, and twenty records under TLS. Here a write only fills a buffer, and a flush is
/// left to the [`Flusher`], which the codec's driver calls when the codec has nothing more to do.
#[derive(Debug)]
pub(crate) struct Batched<S>(Rc<RefCell<Joined<S>>>);

/// The driver's side of a [`Batched`] stream.
#[derive(Debug)]
pub(crate) struct Flusher<S>(Rc<RefCell<Joined<S>>>);

#[derive(Debug)]
struct Joined<S> {
    io: S,
    /// Bytes not written yet; nothing is held while there are none.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    buffer: Scratch,
    start: usize,
    end: usize,
}

impl<S> Batched<S> {
    /// A batching stream, and the handle by which its driver flushes it.
    pub(crate) fn new(io: S) -> (Self, Flusher<S>) {
        let joined = Rc::new(RefCell::new(Joined { io, held: None }));
        (Self(joined.clone()), Flusher(joined))
    }
}

impl<S: AsyncWrite + Unpin> Flusher<S> {
    /// Writes what was joined. To be called at the end of each turn, by the task that polls the codec.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut joined = self.0.borrow_mut();
        if joined.held.is_none() {
            return Poll::Ready(Ok(()));
        }
        ready!(joined.poll_empty(cx))?;
        Pin::new(&mut joined.io).poll_flush(cx)
    }
}

impl<S: AsyncWrite + Unpin> Joined<S> {
    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(held) = &mut self.held {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, &held.buffer[held.start..held.end]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            held.start += n;
            if held.start == held.end {
                self.held = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Adds as much as fits; a full buffer is written first. What is larger than a buffer is never copied.
    fn poll_add(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(held) = &self.held
            && held.end == held.buffer.len()
        {
            ready!(self.poll_empty(cx))?;
        }
        let held = self.held.get_or_insert_with(|| Held { buffer: Scratch::take(), start: 0, end: 0 });
        let mut added = 0;
        for buf in bufs {
            let n = buf.len().min(held.buffer.len() - held.end);
            held.buffer[held.end..held.end + n].copy_from_slice(&buf[..n]);
            held.end += n;
            added += n;
        }
        if held.end == 0 {
            self.held = None;
        }
        Poll::Ready(Ok(added))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Batched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Batched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_add(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_add(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Left to the [`Flusher`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut joined = self.0.borrow_mut();
        ready!(joined.poll_empty(cx))?;
        Pin::new(&mut joined.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::Batched;

    #[tokio::test]
    async fn writes_wait_for_the_flusher() {
        let (mut peer, io) = duplex(1000);
        let (mut stream, flusher) = Batched::new(io);
        stream.write_all(b"one ").await.unwrap();
        stream.flush().await.unwrap();
        stream.write_all(b"two").await.unwrap();
        let mut got = [0; 100];
        assert!(poll!(Box::pin(peer.read(&mut got))).is_pending());
        poll_fn(|cx| flusher.poll_flush(cx)).await.unwrap();
        let n = peer.read(&mut got).await.unwrap();
        assert_eq!(&got[..n], b"one two");
    }

    #[tokio::test]
    async fn a_full_buffer_holds_the_writer_back_and_shutdown_loses_nothing() {
        let (mut peer, io) = duplex(1000);
        let (mut stream, _flusher) = Batched::new(io);
        let text: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        {
            let mut write = Box::pin(stream.write_all(&text));
            assert!(poll!(&mut write).is_pending(), "no more than a buffer is taken from the writer");
        }
        let mut got = Vec::new();
        let (shut, read) = tokio::join!(stream.shutdown(), peer.read_to_end(&mut got));
        shut.unwrap();
        assert!(read.unwrap() >= 64 * 1024 && text.starts_with(&got));
    }
}
