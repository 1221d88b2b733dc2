//! Looks at the bytes of HTTP/1 request heads as they arrive, for what the codec does not tell.
//!
//! - A head with both `content-length` and `transfer-encoding` is ambiguous: another hop may read it another way, and
//!   that is request smuggling. The codec drops one of the two silently; here the request is refused, as Envoy does.
//! - When the first byte of a head came, so that slow clients can be cut off (`request_headers_timeout`).
//!
//! Only bytes that arrive while no request is under way are looked at. A pipelined head that came with the body before it
//! is left to the codec, which reads it as RFC 9112 section 6.3 says and forwards one framing only.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest part of a line kept between two reads: enough for the two names.
const KEPT: usize = 24;

const CONTENT_LENGTH: u8 = 1;
const TRANSFER_ENCODING: u8 = 2;

/// What was seen of the head that is arriving. One worker writes and reads it; atomics only because the codec wants its
/// stream to be `Send`.
#[derive(Debug, Default)]
pub(super) struct HeadState {
    seen: AtomicU8,
    begun: AtomicBool,
    off: AtomicBool,
}

impl HeadState {
    /// A head has begun to arrive and is not complete.
    pub(super) fn is_arriving(&self) -> bool {
        self.begun.load(Relaxed) && !self.off.load(Relaxed)
    }

    /// The head that was handed over had both framing headers. Bytes are not looked at until [`expect`](Self::expect).
    pub(super) fn take_ambiguous(&self) -> bool {
        self.off.store(true, Relaxed);
        self.seen.load(Relaxed) == CONTENT_LENGTH | TRANSFER_ENCODING
    }

    /// The next bytes are a new head.
    pub(super) fn expect(&self) {
        self.seen.store(0, Relaxed);
        self.begun.store(false, Relaxed);
        self.off.store(false, Relaxed);
    }
}

/// A stream whose heads are looked at.
#[derive(Debug)]
pub(super) struct HeadScan<S> {
    inner: S,
    state: Arc<HeadState>,
    line: Line,
}

/// The line that is arriving.
#[derive(Debug, Default)]
struct Line {
    start: Vec<u8>,
}

impl<S> HeadScan<S> {
    pub(super) fn new(inner: S, state: Arc<HeadState>) -> Self {
        Self { inner, state, line: Line::default() }
    }

    fn scan(&mut self, bytes: &[u8]) {
        let state = &self.state;
        if !state.begun.swap(true, Relaxed) {
            self.line.start.clear();
        }
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let kind = self.line.finish(&rest[..end]);
            match kind {
                Kind::Empty => return state.off.store(true, Relaxed),
                Kind::Framing(bit) => {
                    state.seen.fetch_or(bit, Relaxed);
                }
                Kind::Other => {}
            }
            rest = &rest[end + 1..];
        }
        self.line.grow(rest);
    }
}

enum Kind {
    Empty,
    Framing(u8),
    Other,
}

impl Line {
    fn grow(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.start.len());
        self.start.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    fn finish(&mut self, bytes: &[u8]) -> Kind {
        if self.start.is_empty() {
            return kind(bytes);
        }
        self.grow(bytes);
        let kind = kind(&self.start);
        self.start.clear();
        kind
    }
}

fn kind(line: &[u8]) -> Kind {
    match line.first() {
        None | Some(b'\r') => Kind::Empty,
        Some(b'c' | b'C') if has_name(line, b"content-length") => Kind::Framing(CONTENT_LENGTH),
        Some(b't' | b'T') if has_name(line, b"transfer-encoding") => Kind::Framing(TRANSFER_ENCODING),
        Some(_) => Kind::Other,
    }
}

fn has_name(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name)) && line.get(name.len()) == Some(&b':')
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadScan<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        if !this.state.off.load(Relaxed) && buf.filled().len() > before {
            this.scan(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadScan<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncReadExt;

    use super::{HeadScan, HeadState};

    async fn ambiguous(text: &[u8], size: usize) -> bool {
        let state = Arc::new(HeadState::default());
        let pieces = tokio_test_reader(text, size);
        let mut scan = HeadScan::new(pieces, state.clone());
        let mut out = Vec::new();
        scan.read_to_end(&mut out).await.unwrap();
        assert_eq!(out, text);
        state.take_ambiguous()
    }

    /// Gives `size` bytes at a time.
    fn tokio_test_reader(text: &[u8], size: usize) -> impl tokio::io::AsyncRead + Unpin {
        use futures::{TryStreamExt, stream};
        let chunks: Vec<std::io::Result<Vec<u8>>> = text.chunks(size).map(|c| Ok(c.to_vec())).collect();
        tokio_util::io::StreamReader::new(stream::iter(chunks).map_ok(std::io::Cursor::new))
    }

    #[tokio::test]
    async fn found_however_it_is_cut() {
        let both = b"POST / HTTP/1.1\r\nContent-Length: 3\r\nhost: a\r\ntransfer-ENCODING: chunked\r\n\r\nabc";
        let one = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nx-content-length: 3\r\n\r\ncontent-length: 3\r\n";
        for size in [1, 2, 7, 500] {
            assert!(ambiguous(both, size).await);
            assert!(!ambiguous(one, size).await, "{size}");
        }
    }
}
