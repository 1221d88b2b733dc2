//! What a server tells of its streams.

use std::sync::Arc;

use super::StreamInfo;
use crate::{Nonce, Origin, ResourceName, TypeUrl, Version, protocol::server::Event};

/// Is told what happens on each stream.
///
/// # Contract
/// Called from the stream's own task, in order, under no lock. It must not block: it holds up that stream.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn observe(&self, stream: &StreamInfo, event: &StreamEvent);
}

/// Does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn observe(&self, _stream: &StreamInfo, _event: &StreamEvent) {}
}

impl<F> Observer for F
where
    F: Fn(&StreamInfo, &StreamEvent) + Send + Sync + 'static,
{
    fn observe(&self, stream: &StreamInfo, event: &StreamEvent) {
        self(stream, event);
    }
}

/// What happened on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEvent {
    /// The client was let in. The first event of a stream.
    Connected,
    /// The client was not let in. The only event of such a stream.
    Refused {
        /// What it was told.
        reason: String,
    },
    /// A client asked once, by gRPC's unary form or by REST, and was answered. The only event of such a stream.
    Fetched {
        /// The type.
        type_url: TypeUrl,
        /// Resources that are visible to it.
        resources: usize,
        /// It had them already, and was told so.
        unchanged: bool,
    },
    /// A push was refused.
    Nacked(Nack),
    /// Anything else of the protocol.
    Protocol(Event),
    /// The stream has ended. The last event.
    Disconnected {
        /// Why.
        reason: String,
    },
}

/// A refused push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nack {
    /// The type.
    pub type_url: TypeUrl,
    /// The push's nonce.
    pub nonce: Nonce,
    /// The client's words.
    pub message: Arc<str>,
    /// What was in the push.
    pub resources: Vec<NackedResource>,
}

/// One resource of a refused push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NackedResource {
    /// The name.
    pub name: ResourceName,
    /// The version refused; `None` for a removal.
    pub version: Option<Version>,
    /// The user's object the resource was made from, if known.
    pub origin: Option<Origin>,
    /// The client's message names this resource. If it names none of the push, any may be meant.
    pub named: bool,
}

impl Nack {
    /// The resources the client complains about: those its message names, or all if it names none.
    pub fn culprits(&self) -> impl Iterator<Item = &NackedResource> {
        let any_named = self.resources.iter().any(|r| r.named);
        self.resources.iter().filter(move |r| r.named || !any_named)
    }
}
