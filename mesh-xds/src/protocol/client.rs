//! The client's half: one [`ClientState`] per client, which outlives its streams.
//!
//! ```text
//! watch / subscribe / unsubscribe ─┐                        ┌─► poll(): next Request, by order of types
//! connected / disconnected ────────┼──►  ClientState  ──────┼─► poll_update(): one Update per type at a time
//! handle(Response) ────────────────┤                        └─► poll_overdue(): names nobody answered in time
//! answer(Verdict), handle_timeout ─┘
//! ```
//!
//! Updates have one form in both variants: what is new or changed, and what is gone. Each must be answered with a
//! [`Verdict`], which becomes the acknowledgement or the refusal; the next update of the type waits for it.
//!
//! A resource with a time to live (`Resource.ttl`) is told as removed when that has passed without a word of it from the
//! server ("TTL" in the protocol's text). A heartbeat, or the same version again, prolongs it and is no update.

mod held;
mod requests;
mod state;
mod updates;

use std::time::{Duration, Instant};

use self::state::{Queued, TypeState};
use super::{DecodeError, Request, Response, Subscription, Variant};
use crate::{Resource, ResourceName, TypeUrl, Version};

/// Responses of one type that may wait unread before [`ClientState::is_full`].
const MAX_QUEUED: usize = 16;

/// Ties a verdict to an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpdateId(u64);

/// What changed for one type.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// To be given back with the verdict.
    pub id: UpdateId,
    /// The type.
    pub type_url: TypeUrl,
    /// Who says so.
    pub source: Source,
    /// New or changed resources.
    pub added: Vec<Resource>,
    /// Names that do not exist, or no longer.
    pub removed: Vec<ResourceName>,
}

/// Where an update comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The server said so.
    Server,
    /// Times to live have ended.
    Expiry,
    /// No server has answered yet. This was in force the last time ([`ClientState::restore`]).
    Snapshot {
        /// How long ago that was known.
        age: Duration,
    },
}

/// Subscriptions that no server has ever answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// The type.
    pub type_url: TypeUrl,
    /// The wildcard is not answered.
    pub wildcard: bool,
    /// Names that are not answered.
    pub names: Vec<ResourceName>,
}

/// What was in force of a type before, kept by the caller.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// The resources, with the versions by which the server knows them.
    pub resources: Vec<Resource>,
    /// They answer the wildcard, also if they are none.
    pub whole: bool,
    /// The server that they come from, as in [`ClientState::connected_to`].
    pub server: u64,
    /// How long ago that was known.
    pub age: Duration,
}

/// The consumer's answer to an [`Update`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is in force.
    Accepted,
    /// It is refused.
    Rejected {
        /// Why. Becomes the refusal's message.
        message: String,
        /// If not empty: only these were refused, the rest of the update is in force. Otherwise none of it is.
        resources: Vec<ResourceName>,
    },
}

/// Names that were not answered in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// The type.
    pub type_url: TypeUrl,
    /// Whether the wildcard was not answered.
    pub wildcard: bool,
    /// Names that were not answered.
    pub names: Vec<ResourceName>,
}

/// A type as the client stands to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeStatus {
    /// Resources held.
    pub resources: usize,
    /// Updates accepted.
    pub accepted: u64,
    /// Updates refused.
    pub rejected: u64,
    /// SotW: the version last accepted.
    pub version: Option<Version>,
    /// Why the last update was refused, if it was.
    pub last_error: Option<String>,
}

/// The client's half of the protocol. See the module page.
#[derive(Debug)]
pub struct ClientState {
    variant: Variant,
    types: Vec<TypeState>,
    connected: bool,
    now_at: Place,
    next_id: u64,
}

/// Where something was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Place {
    /// Counts streams, so that a verdict on an update of an earlier stream is not sent on a later one.
    stream: u64,
    /// Which server: versions mean nothing to another.
    server: u64,
}

impl ClientState {
    /// A client without subscriptions, not connected.
    #[must_use]
    pub fn new(variant: Variant) -> Self {
        Self { variant, types: Vec::new(), connected: false, now_at: Place::default(), next_id: 0 }
    }

    /// The variant spoken.
    #[must_use]
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Starts to watch a type. What is not answered within `fetch_timeout` is told by [`ClientState::poll_overdue`];
    /// `None` waits for ever. A type already watched gets the subscription in addition.
    pub fn watch(
        &mut self,
        type_url: &TypeUrl,
        subscription: Subscription,
        fetch_timeout: Option<Duration>,
        now: Instant,
    ) {
        let index = self.index_or_insert(type_url);
        let state = &mut self.types[index];
        state.fetch_timeout = fetch_timeout;
        match subscription {
            Subscription::Wildcard => state.subscribe_wildcard(now),
            Subscription::Named(names) => names.into_iter().for_each(|name| state.subscribe(name, now)),
        }
    }

    /// Adds names. One that is subscribed already is asked for again, and the server answers it again.
    pub fn subscribe(&mut self, type_url: &TypeUrl, names: impl IntoIterator<Item = ResourceName>, now: Instant) {
        let index = self.index_or_insert(type_url);
        names.into_iter().for_each(|name| self.types[index].subscribe(name, now));
    }

    /// Drops names. What is held of them is forgotten, without an update.
    pub fn unsubscribe(&mut self, type_url: &TypeUrl, names: impl IntoIterator<Item = ResourceName>) {
        if let Some(state) = self.state_mut(type_url) {
            names.into_iter().for_each(|name| state.unsubscribe(&name));
        }
    }

    /// Whether `name` itself is subscribed, the wildcard aside.
    #[must_use]
    pub fn is_subscribed(&self, type_url: &TypeUrl, name: &ResourceName) -> bool {
        self.state(type_url).is_some_and(|t| t.names.contains_key(name))
    }

    /// Stops watching a type: drops every name and the wildcard.
    pub fn unwatch(&mut self, type_url: &TypeUrl) {
        if let Some(state) = self.state_mut(type_url) {
            state.unsubscribe_all();
        }
    }

    /// A stream to the server last connected to is open: [`ClientState::poll`] gives the first requests.
    pub fn connected(&mut self) {
        self.connected_to(self.now_at.server);
    }

    /// A stream to `server` is open, a number by which the caller knows it (0 is the one to start with).
    ///
    /// Versions of one server mean nothing to another ("ACK/NACK and resource type instance version"): SotW then starts
    /// without a version; delta names what is held, so that a removal can be told, but with empty versions, so that all
    /// of it is sent. What is held stays until it is answered.
    pub fn connected_to(&mut self, server: u64) {
        self.disconnected();
        self.now_at.server = server;
        self.connected = true;
    }

    /// What would be asked first on a stream to `server` if it were opened now: of at most `limit` types, in order.
    #[must_use]
    pub fn first_requests(&self, server: u64, limit: usize) -> Vec<Request> {
        let types = self.types.iter().filter(|t| t.may_start(self.variant));
        types.take(limit).map(|t| t.compose_first(self.variant, server)).collect()
    }

    /// Whether something is subscribed that no server has ever answered: gRFC A71's "watcher for a resource that is not
    /// cached", where "does not exist" and a refused resource count as cached.
    #[must_use]
    pub fn lacks_answers(&self) -> bool {
        self.types.iter().any(TypeState::lacks_answers)
    }

    /// The stream has ended. Unread responses are dropped: the server says them again.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.now_at.stream += 1;
        self.types.iter_mut().for_each(TypeState::reset_stream);
    }

    /// What no server has ever answered. Each subscription is given once.
    pub fn take_unanswered(&mut self) -> Vec<Unanswered> {
        self.types.iter_mut().filter_map(TypeState::take_unanswered).collect()
    }

    /// Gives the consumer what was in force before, for what no server has answered. It is held from when it is accepted, so
    /// that a server only sends what differs, and still counts as unanswered.
    pub fn restore(&mut self, type_url: &TypeUrl, restored: Restored) {
        if let Some(state) = self.state_mut(type_url) {
            state.queue.push_back(Queued::Restored(restored));
        }
    }

    /// Takes a response, received at `now`. One of a type never watched is dropped.
    pub fn handle(&mut self, response: Response, now: Instant) {
        if let Some(state) = self.state_mut(&response.type_url) {
            state.queue.push_back(Queued::Response { response, at: now });
        }
    }

    /// Ends what has a time to live up to `now`. Call it at [`ClientState::poll_timeout`] and before
    /// [`ClientState::poll_update`], which then tells of it.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.types.iter_mut().for_each(|t| t.held.lapse(now));
    }

    /// Takes a response that could not be read: it will be refused, in its turn.
    pub fn handle_unreadable(&mut self, error: DecodeError) {
        if let Some(state) = self.state_mut(&error.type_url) {
            state.queue.push_back(Queued::Unreadable { message: error.to_string(), nonce: error.nonce });
        }
    }

    /// Whether so many responses wait for their turn that no more should be read from the stream.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.types.iter().any(|t| t.queue.len() >= MAX_QUEUED)
    }

    /// When [`ClientState::handle_timeout`] and [`ClientState::poll_overdue`] should be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.types.iter().filter_map(TypeState::next_deadline).min()
    }

    /// Names whose time has run out by `now`. Each is told once.
    pub fn poll_overdue(&mut self, now: Instant) -> Option<Overdue> {
        self.types.iter_mut().find_map(|t| t.take_overdue(now))
    }

    /// Whether a stream is open.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Names and versions of what is held of a type and has no time to live.
    pub fn lasting(&self, type_url: &TypeUrl) -> impl Iterator<Item = (&ResourceName, &Version)> {
        self.state(type_url).into_iter().flat_map(|t| t.held.iter().filter(|(name, _)| !t.held.is_mortal(name)))
    }

    /// The server that what is held of a type comes from, as in [`ClientState::connected_to`].
    #[must_use]
    pub fn server_of(&self, type_url: &TypeUrl) -> u64 {
        self.state(type_url).map_or(0, |t| t.server)
    }

    /// Whether a server has answered the wildcard of a type.
    #[must_use]
    pub fn is_whole(&self, type_url: &TypeUrl) -> bool {
        self.state(type_url).and_then(|t| t.wildcard).is_some_and(|w| w.answered)
    }

    /// How the client stands to each type.
    pub fn status(&self) -> impl Iterator<Item = (&TypeUrl, TypeStatus)> {
        self.types.iter().map(|t| (&t.type_url, t.status()))
    }

    fn state(&self, type_url: &TypeUrl) -> Option<&TypeState> {
        self.types.iter().find(|t| t.type_url == *type_url)
    }

    fn state_mut(&mut self, type_url: &TypeUrl) -> Option<&mut TypeState> {
        self.types.iter_mut().find(|t| t.type_url == *type_url)
    }

    fn index_or_insert(&mut self, type_url: &TypeUrl) -> usize {
        if let Some(index) = self.types.iter().position(|t| t.type_url == *type_url) {
            return index;
        }
        let state = TypeState::new(type_url.clone());
        let index = self.types.partition_point(|t| t.rules.order <= state.rules.order);
        self.types.insert(index, state);
        index
    }
}

#[cfg(test)]
mod tests;
