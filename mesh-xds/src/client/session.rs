//! One stream that counts: requests out, responses in, until it ends.

use std::time::Instant;

use futures::StreamExt;
use tracing::{debug, warn};

use super::{
    channel::chain,
    shared::Shared,
    stream::{Duplex, Received},
};

/// Why a stream is over.
pub(super) struct Ended {
    pub(super) reason: String,
    /// Something was received, so that the server is worth to be asked again soon.
    pub(super) answered: bool,
}

/// What is to be waited for.
struct Pumped {
    /// Requests had to wait for room.
    full: bool,
    /// When to look again.
    deadline: Option<Instant>,
    /// Nothing more should be read.
    unread: bool,
}

/// Talks until the stream ends. The core must be connected already. `answered`: a response has come on it before.
pub(super) async fn talk(shared: &Shared, stream: Duplex, mut answered: bool) -> Ended {
    let Duplex { requests, mut responses } = stream;
    loop {
        let Pumped { full, deadline, unread } = pump(shared, &requests);
        tokio::select! {
            incoming = responses.next(), if !unread => match incoming {
                Some(Ok(received)) => {
                    answered = true;
                    take(shared, received);
                }
                Some(Err(status)) => return Ended { reason: chain(&status), answered },
                None => return Ended { reason: "the server closed the stream".into(), answered },
            },
            () = shared.wake.notified() => {}
            permit = requests.reserve(), if full => drop(permit),
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {}
        }
    }
}

/// Hands out updates and requests.
fn pump(shared: &Shared, requests: &tokio::sync::mpsc::Sender<crate::protocol::Request>) -> Pumped {
    let pumped = shared.with(|core| {
        core.deliver(Instant::now());
        let mut full = false;
        loop {
            match requests.try_reserve() {
                Ok(permit) => match core.state.poll() {
                    Some(request) => permit.send(request),
                    None => break,
                },
                // Closed: the response side will say why.
                Err(e) => {
                    full = matches!(e, tokio::sync::mpsc::error::TrySendError::Full(()));
                    break;
                }
            }
        }
        Pumped { full, deadline: core.state.poll_timeout(), unread: core.state.is_full() }
    });
    shared.tell(|_| {});
    // What nobody watches was judged here.
    shared.judged.notify_one();
    pumped
}

/// Takes what was received.
pub(super) fn take(shared: &Shared, received: Received) {
    shared.with(|core| {
        if let Some(keeper) = &mut core.keeper {
            keeper.in_reach();
        }
        match received {
            Ok(response) => {
                debug!(type_url = %response.type_url, added = response.resources.len(), nonce = %response.nonce,
                    "xDS response");
                core.state.handle(response, Instant::now());
            }
            Err(error) => {
                warn!(type_url = %error.type_url, %error, "xDS response refused: unreadable");
                core.state.handle_unreadable(error);
            }
        }
    });
}
