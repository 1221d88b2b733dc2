//! Make before break, within one stream: what may go out now, and what has to wait.
//!
//! A change waits while a type it refers to has changes unsent or unanswered. A removal waits while a type that refers to
//! it has anything unsent or unanswered. Neither waits longer than [`super::StreamLimits::max_hold`]. Answers that a
//! request is owed never wait: the client may be holding back its acknowledgement for them.

use std::time::Instant;

use super::{Event, ServerStream};

/// What of a type may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) changes: bool,
    pub(super) removals: bool,
}

impl ServerStream {
    /// Decides for the type at `index`, and keeps its waiting time.
    pub(super) fn gate(&mut self, index: usize, now: Instant) -> Open {
        let state = &self.types[index];
        let unsettled = |wanted: &[crate::TypeUrl], removals: bool| {
            self.types
                .iter()
                .filter(|t| wanted.contains(&t.type_url))
                .any(|t| if removals { !t.is_settled() } else { !t.changed.is_empty() || t.in_flight.is_some() })
        };
        let open = Open {
            changes: !unsettled(state.rules.refers_to, false),
            removals: !unsettled(state.rules.referred_by, true),
        };
        let waits = (!open.changes && !state.changed.is_empty()) || (!open.removals && !state.gone.is_empty());
        let state = &mut self.types[index];
        if !waits {
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
        Open { changes: true, removals: true }
    }
}
