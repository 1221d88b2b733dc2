//! What a connection tells about its other end.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
};

use futures::task::AtomicWaker;
use rustls::pki_types::CertificateDer;

/// The other end of a connection, found among the extensions of every request that [`super::serve`] takes in. Services
/// that are served otherwise may insert one themselves.
#[derive(Debug, Clone, Default)]
pub struct PeerInfo {
    /// Where it connects from.
    pub remote_addr: Option<SocketAddr>,
    /// The certificates it gave, its own first; already verified by the TLS configuration. Empty without TLS, or if it
    /// gave none.
    pub certificates: Arc<[CertificateDer<'static>]>,
    /// The connection itself.
    pub connection: ConnectionHandle,
}

/// A connection that can be closed from outside. Cheap to clone. The default is of no connection, and does nothing.
#[derive(Debug, Clone, Default)]
pub struct ConnectionHandle(Option<Arc<Closing>>);

#[derive(Debug, Default)]
struct Closing {
    asked: AtomicBool,
    /// Of the task that reads from the connection.
    reader: AtomicWaker,
}

impl ConnectionHandle {
    /// Of a connection that ends when [`ConnectionHandle::poll_closed`] says so.
    pub(super) fn new() -> Self {
        Self(Some(Arc::default()))
    }

    /// Closes the connection, with every stream on it, whatever is still to be sent.
    pub fn close(&self) {
        if let Some(closing) = &self.0 {
            closing.asked.store(true, Ordering::Release);
            closing.reader.wake();
        }
    }

    /// Whether the connection is to be closed. If not, the task of `cx` is woken when it is: one task only.
    pub(super) fn poll_closed(&self, cx: &Context<'_>) -> bool {
        self.0.as_ref().is_some_and(|closing| {
            closing.reader.register(cx.waker());
            closing.asked.load(Ordering::Acquire)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;

    #[tokio::test]
    async fn closing_wakes_the_reader() {
        let connection = ConnectionHandle::new();
        let other = connection.clone();
        let reader =
            tokio::spawn(poll_fn(move |cx| if other.poll_closed(cx) { Poll::Ready(()) } else { Poll::Pending }));
        tokio::task::yield_now().await;
        assert!(!reader.is_finished());
        connection.close();
        reader.await.unwrap();
        // Of no connection.
        ConnectionHandle::default().close();
    }
}
