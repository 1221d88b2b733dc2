//! The xDS transport protocol as state machines: events and `now` in, messages and events out. No IO.
//!
//! ```text
//!            Request                                      Request
//!   wire ───────────────►  ServerStream     ClientStream ───────────► wire
//!        ◄───────────────  (one per stream) (one per    ◄───────────
//!            Push             ▲    │          client)      Response
//!                     changes │    │ events      ▲ │ updates
//!                             │    ▼      verdict│ ▼
//!                          resources          the consumer
//! ```
//!
//! State of the world (SotW) and delta are two spellings of one protocol: both are turned into one normal form at the edge
//! ([`Request`], [`Push`]), and one machine serves both, told by [`Variant`] where they differ.
//!
//! What is promised, in either variant:
//! - A request is acknowledgement or refusal by its `error_detail` alone; a nonce that answers nothing on this stream is
//!   dropped and counted, except that the subscription part of a delta request still counts.
//! - At most one response per type waits for its answer; what changes meanwhile is merged into the next.
//! - What is known to be refused is not sent again before its content changes, or the client asks for it by name. Where the
//!   client does not say which resource of a push it means, the push is halved until it is known; what it does not mean is sent
//!   again without the rest.
//! - A subscribed name is always answered: in delta also when it does not exist.
//! - Within a stream, what is referred to goes first and leaves last ([`TypeRules`]).

pub mod client;
mod message;
mod push;
mod rules;
pub mod server;

pub use message::{DecodeError, Heartbeat, Request, Response};
pub(crate) use push::endpoints_of;
pub use push::{Content, Push, content_version};
pub use rules::TypeRules;

use crate::ResourceName;

/// The two variants of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// State of the world: `DiscoveryRequest`, `DiscoveryResponse`.
    Sotw,
    /// Incremental: `DeltaDiscoveryRequest`, `DeltaDiscoveryResponse`.
    Delta,
}

impl Variant {
    /// `sotw` or `delta`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sotw => "sotw",
            Self::Delta => "delta",
        }
    }
}

/// The name that subscribes to everything of a type.
pub const WILDCARD: &str = "*";

/// What of one type a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscription {
    /// Everything the server has for this client.
    Wildcard,
    /// Exactly these names.
    Named(Vec<ResourceName>),
}

impl Subscription {
    /// A subscription to `names`.
    pub fn named<N: Into<ResourceName>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::Named(names.into_iter().map(Into::into).collect())
    }
}
