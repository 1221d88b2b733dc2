//! Bytes both ways between two streams, with half-close, an idle limit and counts.

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

/// Bytes held for each direction.
const BUFFER: usize = 16 * 1024;

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
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
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

struct Direction {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Copying,
    Flushing,
    ShuttingDown,
    Done,
}

impl Direction {
    fn new() -> Self {
        Self { buffer: vec![0; BUFFER].into(), start: 0, end: 0, state: State::Copying }
    }

    fn poll<R: AsyncRead, W: AsyncWrite>(
        &mut self,
        mut from: Pin<&mut R>,
        mut to: Pin<&mut W>,
        cx: &mut Context<'_>,
        moved: &mut impl FnMut(usize),
    ) -> Poll<io::Result<()>> {
        loop {
            match self.state {
                State::Copying => {
                    while self.start < self.end {
                        let n = ready!(to.as_mut().poll_write(cx, &self.buffer[self.start..self.end]))?;
                        if n == 0 {
                            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                        }
                        self.start += n;
                    }
                    let mut chunk = ReadBuf::new(&mut self.buffer);
                    match from.as_mut().poll_read(cx, &mut chunk)? {
                        Poll::Ready(()) => {
                            let n = chunk.filled().len();
                            (self.start, self.end) = (0, n);
                            if n == 0 {
                                self.state = State::Flushing;
                            } else {
                                moved(n);
                            }
                        }
                        Poll::Pending => {
                            // What was written so far must not wait for more to come.
                            let _ = to.as_mut().poll_flush(cx)?;
                            return Poll::Pending;
                        }
                    }
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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

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

    #[tokio::test]
    async fn idle_ends_it() {
        let (_client, a) = duplex(64);
        let (_server, b) = duplex(64);
        let ended = both(a, b, Some(Duration::from_millis(5)), |_| {}).await;
        assert!(matches!(ended, Ended::Idle));
    }
}
