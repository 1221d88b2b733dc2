//! Bytes from one socket to another through a pipe, without a copy (`splice(2)`).

use std::{
    cell::RefCell,
    io,
    os::fd::OwnedFd,
    task::{Context, Poll, ready},
};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::{io::Interest, net::TcpStream};

use crate::rt::BareSocket;

/// Bytes asked for at once, and the size of a pipe where the kernel allows it.
const AT_ONCE: usize = 1 << 20;

/// Less than this at once is copied as cheaply.
const TRICKLE: usize = 8 * 1024;

/// Pipes that a worker keeps for the next transfer.
const KEPT: usize = 8;

thread_local! {
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// One direction's transfer. Holds a pipe only while there are bytes in it.
#[derive(Debug, Default)]
pub(super) struct Splice {
    pipe: Option<Pipe>,
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spliced {
    /// Little comes at a time, or there is no pipe to be had: copying serves better.
    Trickle,
    /// The sender has closed.
    End,
}

impl Splice {
    /// Moves bytes until there are none; `moved` is told of every piece.
    pub(super) fn poll(
        &mut self,
        from: &impl BareSocket,
        to: &impl BareSocket,
        cx: &mut Context<'_>,
        moved: &mut impl FnMut(usize),
    ) -> Poll<io::Result<Spliced>> {
        let (Some(source), Some(target)) = (from.socket(), to.socket()) else {
            return Poll::Ready(Ok(Spliced::Trickle));
        };
        let mut trickle = false;
        loop {
            while let Some(pipe) = &mut self.pipe {
                to.note_written(ready!(pipe.poll_empty(target, cx))?);
                if pipe.filled == 0
                    && let Some(pipe) = self.pipe.take()
                {
                    pipe.give_back();
                }
            }
            if trickle {
                return Poll::Ready(Ok(Spliced::Trickle));
            }
            let Some(mut pipe) = Pipe::take() else { return Poll::Ready(Ok(Spliced::Trickle)) };
            match pipe.poll_fill(source, cx) {
                Poll::Pending => {
                    pipe.give_back();
                    return Poll::Pending;
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Ready(Ok(0)) => {
                    pipe.give_back();
                    return Poll::Ready(Ok(Spliced::End));
                }
                Poll::Ready(Ok(n)) => {
                    from.note_read(n);
                    moved(n);
                    trickle = n < TRICKLE;
                    self.pipe = Some(pipe);
                }
            }
        }
    }
}

/// A pipe and how many bytes are in it.
#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    filled: usize,
}

impl Pipe {
    /// An empty pipe; `None` if the system has none left.
    fn take() -> Option<Self> {
        SPARE.with(|spare| spare.borrow_mut().pop()).or_else(|| {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
            // Smaller than wished for is only slower.
            let _ = fcntl_setpipe_size(&write, AT_ONCE);
            Some(Self { read, write, filled: 0 })
        })
    }

    fn give_back(self) {
        debug_assert_eq!(self.filled, 0, "bytes of one connection must never reach another");
        SPARE.with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < KEPT && self.filled == 0 {
                spare.push(self);
            }
        });
    }

    /// From the socket into the pipe, which is empty. 0: the sender has closed.
    fn poll_fill(&mut self, source: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(source.poll_read_ready(cx))?;
            let moved = source.try_io(Interest::READABLE, || {
                Ok(splice(source, None, &self.write, None, AT_ONCE, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
            });
            match moved {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
                Ok(n) => {
                    self.filled += n;
                    return Poll::Ready(Ok(n));
                }
            }
        }
    }

    /// From the pipe into the socket, as much as it takes.
    fn poll_empty(&mut self, target: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(target.poll_write_ready(cx))?;
            let moved = target.try_io(Interest::WRITABLE, || {
                Ok(splice(&self.read, None, target, None, self.filled, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
            });
            match moved {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    self.filled -= n;
                    return Poll::Ready(Ok(n));
                }
            }
        }
    }
}
