//! The server's half: one [`ServerStream`] per gRPC stream.
//!
//! ```text
//! handle(Request)      ─► subscriptions, acknowledgements      ─► poll(): next Push, by order of types
//! note_changes(names)  ─► what differs from what was sent      ─► poll_event(): what happened
//! ```
//!
//! The machine keeps, per name, the version last sent and whether it was accepted; the resources themselves stay in the
//! [`ResourceSet`], which every call gets and which may have moved on between calls.

mod gate;
mod interest;
mod pushing;
mod report;
mod requests;
mod state;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::report::{ResourceReport, ResourceState, TypeReport};
use self::state::TypeState;
use super::Variant;
use crate::{Nonce, Resource, ResourceName, TypeUrl, Version};

/// The resources a stream may see, at one moment.
pub trait ResourceSet {
    /// The resource of that type and name.
    fn get(&self, type_url: &TypeUrl, name: &str) -> Option<&Arc<Resource>>;

    /// Calls `each` with every resource of the type, in a stable order.
    fn for_each(&self, type_url: &TypeUrl, each: &mut dyn FnMut(&Arc<Resource>));
}

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
        /// What was in the push. The client applied none of it, or only part.
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
    limits: StreamLimits,
    types: Vec<TypeState>,
    events: VecDeque<Event>,
    nonce_prefix: u64,
    next_nonce: u64,
}

impl ServerStream {
    /// A stream without subscriptions. `seed` sets its nonces apart from those of other streams, so that a replayed one
    /// is recognised: give each stream another.
    #[must_use]
    pub fn new(variant: Variant, seed: u64, limits: StreamLimits) -> Self {
        Self { variant, limits, types: Vec::new(), events: VecDeque::new(), nonce_prefix: seed, next_nonce: 0 }
    }

    /// The variant spoken.
    #[must_use]
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// The next event, oldest first. Take them all after each call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Tells that resources of `type_url` may have changed. Costs what is named, not what exists.
    pub fn note_changes<'a>(
        &mut self,
        set: &dyn ResourceSet,
        type_url: &TypeUrl,
        names: impl IntoIterator<Item = &'a ResourceName>,
    ) {
        let variant = self.variant;
        let Some(state) = self.types.iter_mut().find(|t| t.type_url == *type_url) else { return };
        for name in names {
            state.note(set, name, variant);
        }
    }

    /// Tells that anything may have changed: compares everything. For a stream that missed changes.
    pub fn note_all(&mut self, set: &dyn ResourceSet) {
        for state in &mut self.types {
            state.note_all(set, self.variant);
        }
    }

    /// What the client holds of each type, as far as is known.
    #[must_use]
    pub fn report(&self) -> Vec<TypeReport> {
        self.types.iter().map(TypeState::report).collect()
    }

    /// When [`ServerStream::poll`] should be called although nothing happened.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.types.iter().filter_map(|t| t.held_back_since).min().map(|since| since + self.limits.max_hold)
    }

    /// When the oldest unanswered push was handed out.
    #[must_use]
    pub fn unanswered_since(&self) -> Option<Instant> {
        self.types.iter().filter_map(|t| t.in_flight.as_ref()).map(|f| f.sent_at).min()
    }

    fn nonce(&mut self) -> Nonce {
        self.next_nonce += 1;
        Nonce::from(format!("{:x}.{:x}", self.nonce_prefix, self.next_nonce))
    }
}

#[cfg(test)]
mod tests;
