//! The server's half: one [`ServerStream`] per gRPC stream.
//!
//! ```text
//! handle(Request)  ─► subscriptions, acknowledgements      ─► poll(): next Push, by order of types
//! Ledger           ─► what changed since it was told       ─► poll_event(): what happened
//! ```
//!
//! The machine keeps, per type, up to which revision of the [`Ledger`] the client was told, and what of single names is
//! different. The resources stay in the ledger, which every call gets and which may have moved on between calls. Streams
//! over one ledger that have a [`Sharing`] in common compose and encode a push once for all.

mod compose;
mod culprits;
mod gate;
mod interest;
mod ledger;
mod news;
mod probe;
mod pushing;
mod report;
mod requests;
mod settle;
mod sharing;
mod state;
mod warming;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use self::state::TypeState;
pub use self::{
    ledger::{Ledger, Revision},
    report::{ResourceReport, ResourceState, TypeReport},
    sharing::Sharing,
};
use super::Variant;
use crate::{Nonce, ResourceName, TypeUrl, Version};

/// Bounds of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLimits {
    /// Types one stream may ask for. Default 64.
    pub max_types: usize,
    /// Names one stream may subscribe to, per type. Default 100 000.
    pub max_names: usize,
    /// Bytes of one name. Default 4096.
    pub max_name_bytes: usize,
    /// Bytes of a refusal's message that are kept; the rest is cut off. Default 4096.
    pub max_message_bytes: usize,
    /// How long a change may wait for the acknowledgement of what it refers to, and a removal for that of what refers
    /// to it. Default 15 s: Envoy acknowledges clusters when they are warm, which its `initial_fetch_timeout` bounds
    /// with the same figure.
    pub max_hold: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            max_types: 64,
            max_names: 100_000,
            max_name_bytes: 4096,
            max_message_bytes: 4096,
            max_hold: Duration::from_secs(15),
        }
    }
}

/// Why a stream must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A request without a type.
    #[error("the request names no type_url")]
    NoType,
    /// More types than [`StreamLimits::max_types`].
    #[error("more than {0} types on one stream")]
    TooManyTypes(usize),
    /// More names than [`StreamLimits::max_names`].
    #[error("more than {limit} names subscribed of {type_url}")]
    TooManyNames {
        /// The type.
        type_url: TypeUrl,
        /// The limit.
        limit: usize,
    },
    /// A name longer than [`StreamLimits::max_name_bytes`].
    #[error("a name of {type_url} is longer than {limit} bytes")]
    NameTooLong {
        /// The type.
        type_url: TypeUrl,
        /// The limit.
        limit: usize,
    },
}

/// One resource of a push, as events tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The name.
    pub name: ResourceName,
    /// The version; `None` if the push told that the name does not exist.
    pub version: Option<Version>,
    /// The client's message names this resource. If it names none of the push, any may be meant.
    pub named: bool,
}

/// What happened on a stream, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A subscription changed.
    Subscribed {
        /// The type.
        type_url: TypeUrl,
        /// Whether everything is wanted.
        wildcard: bool,
        /// How many names are wanted besides.
        names: usize,
    },
    /// A push was handed out.
    Pushed {
        /// The type.
        type_url: TypeUrl,
        /// Its nonce.
        nonce: Nonce,
        /// Resources in it.
        resources: usize,
        /// Removals in it.
        removed: usize,
        /// Encoded bytes of the resources.
        bytes: usize,
    },
    /// A push was accepted.
    Acked {
        /// The type.
        type_url: TypeUrl,
        /// Its nonce.
        nonce: Nonce,
        /// Time from push to answer.
        after: Duration,
    },
    /// A push was refused.
    Nacked {
        /// The type.
        type_url: TypeUrl,
        /// Its nonce.
        nonce: Nonce,
        /// The client's words.
        message: Arc<str>,
        /// What was in the push. Where the message names resources of it, the others are taken to be accepted, as Envoy and
        /// gRPC do it (gRFC A46); else none is.
        resources: Vec<Sent>,
    },
    /// A nonce that answers nothing on this stream: the answer was dropped.
    StaleNonce {
        /// The type.
        type_url: TypeUrl,
        /// The nonce.
        nonce: Nonce,
    },
    /// A change or removal waited for [`StreamLimits::max_hold`] and was sent without the acknowledgement.
    HoldExpired {
        /// The type that was held back.
        type_url: TypeUrl,
    },
}

/// The server's half of one stream. See the module page.
#[derive(Debug)]
pub struct ServerStream {
    variant: Variant,
    limits: Arc<StreamLimits>,
    types: Vec<TypeState>,
    events: VecDeque<Event>,
    sharing: Sharing,
    /// The client knows of times to live.
    ttl: bool,
    /// The client has come back with what it held, and until then may still be asking for it.
    resumes_until: Option<Instant>,
    opened_at: Option<Instant>,
    nonce_prefix: u64,
    next_nonce: u64,
}

impl ServerStream {
    /// A stream without subscriptions. `seed` sets its nonces apart from those of other streams, so that a replayed one
    /// is recognised: give each stream another.
    #[must_use]
    pub fn new(variant: Variant, seed: u64, limits: impl Into<Arc<StreamLimits>>) -> Self {
        let (types, events, sharing) = (Vec::new(), VecDeque::new(), Sharing::default());
        Self {
            variant,
            limits: limits.into(),
            types,
            events,
            sharing,
            ttl: false,
            resumes_until: None,
            opened_at: None,
            nonce_prefix: seed,
            next_nonce: 0,
        }
    }

    /// Shares with other streams over the same ledger.
    #[must_use]
    pub fn with_sharing(mut self, sharing: Sharing) -> Self {
        self.sharing = sharing;
        self
    }

    /// Whether the client is told of times to live: it has the feature `xds.config.supports-resource-ttl`. Default no.
    #[must_use]
    pub fn with_ttl(mut self, ttl: bool) -> Self {
        self.ttl = ttl;
        self
    }

    /// The variant spoken.
    #[must_use]
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// The next event, oldest first. Take them all after each call.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            // An idle stream keeps no room for them.
            self.events = VecDeque::new();
        }
        event
    }

    /// What the client holds of each type, as far as is known.
    #[must_use]
    pub fn report(&self, ledger: &Ledger) -> Vec<TypeReport> {
        self.types.iter().map(|t| t.report(ledger, self.variant)).collect()
    }

    /// When [`ServerStream::poll`] should be called although nothing happened.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let idle = self.types.iter().filter(|t| t.in_flight.is_none());
        idle.filter_map(|t| {
            let hold_ends = t.held_back_since.map(|since| since + self.limits.max_hold);
            let asked = self.resumes_until.filter(|_| t.held_back_since.is_some());
            hold_ends.into_iter().chain(t.heartbeat_at).chain(asked).min()
        })
        .min()
    }

    /// When the oldest unanswered push was handed out.
    #[must_use]
    pub fn unanswered_since(&self) -> Option<Instant> {
        self.types.iter().filter_map(|t| t.in_flight.as_ref()).map(|f| f.sent_at).min()
    }

    /// Whether a removal waits, so that the stream must be polled when others have accepted more.
    #[must_use]
    pub fn removals_wait(&self) -> bool {
        self.types.iter().any(|t| t.rules.leaves_last && t.known_news().first_removal.is_some())
    }

    /// Whether the client can no longer be told all that it must hear: more was removed since it was last told than is
    /// remembered. The stream must then end, so that the client says what it holds.
    #[must_use]
    pub fn lost_track(&self) -> bool {
        self.types.iter().any(|t| t.lost_track)
    }

    /// Up to where the client has been told of every removal: earlier ones need not be remembered for this stream.
    pub fn told(&mut self, ledger: &Ledger) -> Revision {
        let variant = self.variant;
        self.types.iter_mut().map(|t| t.told_to(ledger, variant)).min().unwrap_or(Revision::MAX)
    }

    fn nonce(&mut self) -> Nonce {
        self.next_nonce += 1;
        Nonce::from(format!("{:x}.{:x}", self.nonce_prefix, self.next_nonce))
    }
}

#[cfg(test)]
mod tests;
