//! Bytes both ways between two streams, with half-close, an idle limit and counts.

mod splice;

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep_until},
};

use splice::{Splice, Spliced};

use crate::rt::{BareSocket, Scratch};

/// How a copy ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Both sides closed.
    Closed,
    /// Nothing moved for the idle time.
    Idle,
    /// A side failed.
    Failed(io::Error),
}

/// What moved: bytes from `a`, or bytes from `b`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moved {
    /// From `a` to `b`.
    Forward(usize),
    /// From `b` to `a`.
    Back(usize),
}

/// Copies until both sides have closed, one fails, or nothing moves for `idle`. `moved` is told of every piece.
pub(crate) async fn both<A, B>(a: A, b: B, idle: Option<Duration>, mut moved: impl FnMut(Moved)) -> Ended
where
    A: AsyncRead + AsyncWrite + BareSocket,
    B: AsyncRead + AsyncWrite + BareSocket,
{
    let mut a = pin!(a);
    let mut b = pin!(b);
    let mut forward = Direction::new();
    let mut back = Direction::new();
    let mut timer = pin!(None::<Sleep>);
    let active = Cell::new(Instant::now());
    poll_fn(|cx| {
        let one = forward.poll(a.as_mut(), b.as_mut(), cx, &mut |n| {
            active.set(Instant::now());
            moved(Moved::Forward(n));
        });
        let two = back.poll(b.as_mut(), a.as_mut(), cx, &mut |n| {
            active.set(Instant::now());
            moved(Moved::Back(n));
        });
        match (one, two) {
            (Poll::Ready(Err(e)), _) | (_, Poll::Ready(Err(e))) => return Poll::Ready(Ended::Failed(e)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ended::Closed),
            _ => {}
        }
        let Some(idle) = idle else { return Poll::Pending };
        poll_idle(timer.as_mut(), active.get(), idle, cx).map(|()| Ended::Idle)
    })
    .await
}

/// Ready when nothing moved for `idle`. The timer is only moved when it fires.
fn poll_idle(mut timer: Pin<&mut Option<Sleep>>, active: Instant, idle: Duration, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        let end = active + idle;
        if end <= Instant::now() {
            return Poll::Ready(());
        }
        let at = tokio::time::Instant::from_std(end);
        match timer.as_mut().as_pin_mut() {
            None => timer.set(Some(sleep_until(at))),
            Some(sleep) if sleep.is_elapsed() => sleep.reset(at),
            Some(_) => {}
        }
        if let Some(sleep) = timer.as_mut().as_pin_mut() {
            ready!(std::future::Future::poll(sleep, cx));
        }
    }
}

/// One way. What passes at once goes through a buffer of the worker; only what the receiver does not take is held. When
/// there is more than a buffer at once and both sides are bare sockets, the kernel moves it.
struct Direction {
    held: Option<Held>,
    splice: Splice,
    /// The sender has closed.
    ended: bool,
    state: State,
}

/// Bytes that the receiver has not taken yet. There is at least one.
struct Held {
    buffer: Scratch,
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Copying,
    Splicing,
    Flushing,
    ShuttingDown,
    Done,
}

impl Direction {
    fn new() -> Self {
        Self { held: None, splice: Splice::default(), ended: false, state: State::Copying }
    }

    fn poll<R: AsyncRead + BareSocket, W: AsyncWrite + BareSocket>(
        &mut self,
        mut from: Pin<&mut R>,
        mut to: Pin<&mut W>,
        cx: &mut Context<'_>,
        moved: &mut impl FnMut(usize),
    ) -> Poll<io::Result<()>> {
        // The sender has nothing more, and wakes the task when it has. Only true for this turn.
        let mut dry = false;
        loop {
            match self.state {
                State::Copying => {
                    ready!(self.poll_held(to.as_mut(), cx))?;
                    if self.ended {
                        self.state = State::Flushing;
                        continue;
                    }
                    if dry {
                        // What was written so far must not wait for more to come.
                        let _ = to.as_mut().poll_flush(cx)?;
                        return Poll::Pending;
                    }
                    let n = self.poll_read(from.as_mut(), cx, &mut dry)?;
                    if n > 0 {
                        moved(n);
                    }
                    let full = self.held.as_ref().is_some_and(|held| held.end == held.buffer.len());
                    if full && from.socket().is_some() && to.socket().is_some() {
                        self.state = State::Splicing;
                    }
                }
                State::Splicing => {
                    ready!(self.poll_held(to.as_mut(), cx))?;
                    self.state = match ready!(self.splice.poll(&*from, &*to, cx, moved))? {
                        Spliced::Trickle => State::Copying,
                        Spliced::End => State::Flushing,
                    };
                }
                State::Flushing => {
                    ready!(to.as_mut().poll_flush(cx))?;
                    self.state = State::ShuttingDown;
                }
                State::ShuttingDown => {
                    // A peer that is gone already needs no shutdown.
                    let _ = ready!(to.as_mut().poll_shutdown(cx));
                    self.state = State::Done;
                }
                State::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Reads until the buffer is full or nothing more is at hand: several TLS records make one write. Returns how much.
    fn poll_read<R: AsyncRead>(
        &mut self,
        mut from: Pin<&mut R>,
        cx: &mut Context<'_>,
        dry: &mut bool,
    ) -> io::Result<usize> {
        let mut buffer = Scratch::take();
        let mut chunk = ReadBuf::new(&mut buffer);
        loop {
            let before = chunk.filled().len();
            match from.as_mut().poll_read(cx, &mut chunk)? {
                Poll::Ready(()) if chunk.filled().len() == before => {
                    self.ended = true;
                    break;
                }
                Poll::Ready(()) if chunk.remaining() == 0 => break,
                Poll::Ready(()) => {}
                Poll::Pending => {
                    *dry = true;
                    break;
                }
            }
        }
        let end = chunk.filled().len();
        if end > 0 {
            self.held = Some(Held { buffer, start: 0, end });
        }
        Ok(end)
    }

    /// Writes what is held, and gives the buffer back.
    fn poll_held<W: AsyncWrite>(&mut self, mut to: Pin<&mut W>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(held) = &mut self.held {
            let n = ready!(to.as_mut().poll_write(cx, &held.buffer[held.start..held.end]))?;
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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        net::{TcpListener, TcpStream},
    };

    use super::{Ended, Moved, both};

    #[tokio::test]
    async fn half_close_passes_and_counts_are_kept() {
        let (mut client, a) = duplex(64);
        let (mut server, b) = duplex(64);
        let mut counts = (0, 0);
        let copy = both(a, b, None, |moved| match moved {
            Moved::Forward(n) => counts.0 += n,
            Moved::Back(n) => counts.1 += n,
        });
        let talk = async {
            client.write_all(&[7; 1000]).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let serve = async {
            let mut got = Vec::new();
            server.read_to_end(&mut got).await.unwrap();
            server.write_all(&got[..10]).await.unwrap();
            server.shutdown().await.unwrap();
        };
        let (ended, answer, ()) = tokio::join!(copy, talk, serve);
        assert!(matches!(ended, Ended::Closed));
        assert_eq!((counts, answer.len()), ((1000, 10), 10));
    }

    async fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (one, other) = tokio::join!(connect, listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    #[tokio::test]
    async fn large_transfers_between_sockets_arrive_whole_with_small_ones_around_them() {
        let (mut client, a) = sockets().await;
        let (b, mut server) = sockets().await;
        let text: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        let mut counts = (0, 0);
        let copy = both(a, b, None, |moved| match moved {
            Moved::Forward(n) => counts.0 += n,
            Moved::Back(n) => counts.1 += n,
        });
        let talk = async {
            let mut got = vec![0; text.len()];
            for _ in 0..3 {
                client.write_all(b"more").await.unwrap();
                client.read_exact(&mut got).await.unwrap();
                assert!(got == text);
                let mut small = [0; 5];
                client.read_exact(&mut small).await.unwrap();
                assert_eq!(&small, b"small");
            }
            client.shutdown().await.unwrap();
            assert_eq!(client.read(&mut got).await.unwrap(), 0);
        };
        let serve = async {
            let mut asked = [0; 4];
            while server.read_exact(&mut asked).await.is_ok() {
                server.write_all(&text).await.unwrap();
                server.write_all(b"small").await.unwrap();
            }
            server.shutdown().await.unwrap();
        };
        let (ended, (), ()) = tokio::join!(copy, talk, serve);
        assert!(matches!(ended, Ended::Closed));
        assert_eq!(counts, (12, 3 * (text.len() + 5)));
    }

    #[tokio::test]
    async fn idle_ends_it() {
        let (_client, a) = duplex(64);
        let (_server, b) = duplex(64);
        let ended = both(a, b, Some(Duration::from_millis(5)), |_| {}).await;
        assert!(matches!(ended, Ended::Idle));
    }
}
