//! Make before break: what may go out now, and what has to wait.
//!
//! - A change waits while a type it refers to has changes unsent or unanswered.
//! - A removal waits while a type that refers to it has anything unsent, unanswered or refused; and until every stream of
//!   the same scope has accepted all that changed up to the removal, which the caller says by a revision
//!   ([`super::ServerStream::poll`]).
//!
//! A client that comes back with what it held asks for one type after the other: its removals wait a moment for the types
//! that refer to them to be asked for, too.
//!
//! Neither waits longer than [`super::StreamLimits::max_hold`]. Answers that a request is owed never wait: the client may be
//! holding back its acknowledgement for them.

use std::time::{Duration, Instant};

use super::{Event, ServerStream, ledger::Revision, state::TypeState};
use crate::TypeUrl;

/// What of a type may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) changes: bool,
    /// Removals up to here; none if there is no revision.
    pub(super) removals_to: Option<Revision>,
}

/// How long a client that comes back may take to ask for all that it held.
pub(super) const RESUMING: Duration = Duration::from_secs(1);

/// What every proxy asks for that has it, after what it refers to.
const LAST_ASKED: [TypeUrl; 2] = [TypeUrl::LISTENER, TypeUrl::ROUTE];

impl ServerStream {
    /// Decides for the type at `index`, and keeps its waiting time. What there is to tell must be known.
    pub(super) fn gate(&mut self, index: usize, released: Revision, now: Instant) -> Open {
        let (state, types) = (&self.types[index], &self.types);
        let others = |wanted: &'static [TypeUrl]| types.iter().filter(|t| wanted.contains(&t.type_url));
        let news = state.known_news();
        let asks = self.resumes_until.is_some_and(|until| now < until)
            && LAST_ASKED
                .iter()
                .any(|t| state.rules.referred_by.contains(t) && types.iter().all(|other| other.type_url != *t));
        let removals = !asks && !others(state.rules.referred_by).any(TypeState::may_refer);
        let open = Open {
            changes: !others(state.rules.refers_to).any(|t| t.known_news().changes || t.in_flight.is_some()),
            removals_to: removals.then_some(if state.rules.leaves_last { released } else { Revision::MAX }),
        };
        let removal_waits = news.first_removal.is_some_and(|first| Some(first) > open.removals_to);
        let state = &mut self.types[index];
        if !removal_waits && (open.changes || !news.changes) {
            state.held_back_since = None;
            return open;
        }
        let since = *state.held_back_since.get_or_insert(now);
        if now.saturating_duration_since(since) < self.limits.max_hold {
            return open;
        }
        // The waiting itself ends when the push is made; while a push is in flight the gate is not asked.
        state.held_back_since = None;
        let type_url = state.type_url.clone();
        self.events.push_back(Event::HoldExpired { type_url });
        Open { changes: true, removals_to: Some(Revision::MAX) }
    }
}

impl TypeState {
    /// Whether the client may still hold something of this type that refers to what is gone.
    fn may_refer(&self) -> bool {
        !self.known_news().is_empty() || self.in_flight.is_some() || self.refuses()
    }
}
