//! PING frames that tell whether the host is still there (`connection_keepalive`).

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

use crate::model::Keepalive;

/// Asks a host again and again whether it is there, whether it has streams or not.
#[derive(Debug)]
pub(super) struct Pings {
    pings: PingPong,
    interval: Duration,
    timeout: Duration,
    timer: Pin<Box<Sleep>>,
    asked: bool,
}

impl Pings {
    /// `random` is for the jitter of the interval.
    pub(super) fn new(pings: PingPong, keepalive: &Keepalive, random: u64) -> Self {
        let (interval, timeout) = (keepalive.jittered(random), keepalive.timeout);
        Self { pings, interval, timeout, timer: Box::pin(sleep(interval)), asked: false }
    }

    /// Ready when the host did not answer in time.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.asked
                && let Poll::Ready(answer) = self.pings.poll_pong(cx)
            {
                if answer.is_err() {
                    return Poll::Ready(());
                }
                self.asked = false;
                self.timer.as_mut().reset(Instant::now() + self.interval);
            }
            ready!(self.timer.as_mut().poll(cx));
            if self.asked || self.pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready(());
            }
            self.asked = true;
            self.timer.as_mut().reset(Instant::now() + self.timeout);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Future, poll_fn},
        pin::Pin,
        time::Duration,
    };

    use super::Pings;
    use crate::model::Keepalive;

    /// Drives a client whose host answers PINGs or does not. True: the host was given up.
    async fn given_up(answers: bool, timeout: Duration, patience: Duration) -> bool {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (client, server) = tokio::join!(h2::client::handshake(ours), h2::server::handshake(theirs));
        let ((_sender, mut client), mut server) = (client.unwrap(), server.unwrap());
        let _: &h2::server::Connection<_, bytes::Bytes> = &server;
        let keepalive = Keepalive { interval: Duration::from_millis(1), timeout, jitter_percent: 0.0 };
        let mut pings = Pings::new(client.ping_pong().unwrap(), &keepalive, 0);
        let turns = poll_fn(|cx| {
            let _ = Pin::new(&mut client).poll(cx);
            if answers {
                let _ = server.poll_closed(cx);
            }
            pings.poll(cx)
        });
        tokio::time::timeout(patience, turns).await.is_ok()
    }

    #[tokio::test]
    async fn a_host_that_does_not_answer_is_given_up() {
        assert!(given_up(false, Duration::from_millis(1), Duration::from_secs(60)).await);
        assert!(!given_up(true, Duration::from_secs(60), Duration::from_millis(50)).await);
    }
}
