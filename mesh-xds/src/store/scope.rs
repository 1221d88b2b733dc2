//! Views whose clients depend on one another.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Revision;

/// Views whose clients depend on one another, as the proxies of one mesh do: a removal from any of the views is held back
/// until every client of all of them has accepted what changed before it ("make before break", across proxies). Cheap to
/// clone.
///
/// Views of a scope number their changes from one counter. A client that does not answer holds removals up once, for the
/// time that [`crate::protocol::server::StreamLimits::max_hold`] says; from then on until it answers it is not waited for.
#[derive(Debug, Clone, Default)]
pub struct Scope(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    revision: AtomicU64,
    state: Mutex<State>,
    /// Removals up to here may be told.
    released: watch::Sender<Revision>,
    next_id: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    views: HashMap<u64, ViewState>,
    /// Views that have clients which have not accepted all that changed, by the first of them.
    unsettled: BTreeSet<(Revision, u64)>,
    /// Changes to several views that belong together, by the revision before them.
    transactions: BTreeMap<Revision, usize>,
}

#[derive(Debug, Default)]
struct ViewState {
    changed: Revision,
    /// By what they have accepted.
    streams: BTreeSet<(Revision, u64)>,
    /// As it is among the unsettled.
    unsettled: Option<Revision>,
}

/// A view's part in its scope.
#[derive(Debug)]
pub(super) struct Member {
    scope: Scope,
    id: u64,
}

/// A stream's part in the scope of its view.
#[derive(Debug)]
pub(super) struct Participant {
    scope: Scope,
    view: u64,
    id: u64,
    accepted: Revision,
    /// Since when it lags behind its view without having accepted more.
    lags_since: Option<Instant>,
    /// It is not waited for.
    given_up: bool,
}

/// Changes to several views of a scope that belong together: no removal among them is told before the last of them has been
/// made. Ends when dropped.
#[derive(Debug)]
#[must_use = "the transaction ends when this is dropped"]
pub struct Transaction {
    scope: Scope,
    from: Revision,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            revision: AtomicU64::new(0),
            state: Mutex::default(),
            released: watch::Sender::new(Revision::MAX),
            next_id: AtomicU64::new(0),
        }
    }
}

impl Scope {
    /// Without views.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins changes to several views that belong together.
    pub fn transaction(&self) -> Transaction {
        let mut state = self.0.state.lock();
        let from = Revision(self.0.revision.load(Ordering::Relaxed));
        *state.transactions.entry(from).or_default() += 1;
        self.publish(&state);
        Transaction { scope: self.clone(), from }
    }

    /// Removals up to this revision may be told.
    #[must_use]
    pub fn released(&self) -> Revision {
        *self.0.released.borrow()
    }

    pub(super) fn follow(&self) -> watch::Receiver<Revision> {
        self.0.released.subscribe()
    }

    pub(super) fn join(&self) -> Member {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        self.0.state.lock().views.insert(id, ViewState::default());
        Member { scope: self.clone(), id }
    }

    /// Revisions for up to `count` changes: what comes after the one given.
    fn reserve(&self, count: u64) -> Revision {
        Revision(self.0.revision.fetch_add(count, Ordering::Relaxed))
    }

    fn publish(&self, state: &State) {
        let first = state.unsettled.first().map(|(revision, _)| *revision);
        let released = first.into_iter().chain(state.transaction()).min().unwrap_or(Revision::MAX);
        self.0.released.send_if_modified(|now| std::mem::replace(now, released) != released);
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let mut state = self.scope.0.state.lock();
        if let Some(count) = state.transactions.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                state.transactions.remove(&self.from);
            }
        }
        self.scope.publish(&state);
    }
}

impl State {
    /// Before the first transaction that goes on.
    fn transaction(&self) -> Option<Revision> {
        self.transactions.keys().next().copied()
    }

    /// Up to where all streams but one have accepted what changed.
    fn released_for(&self, view: u64, stream: (Revision, u64)) -> Revision {
        let other_views = self.unsettled.iter().filter(|(_, id)| *id != view).map(|(first, _)| *first).next();
        let own = self.views.get(&view).and_then(|view| {
            let other = view.streams.iter().find(|other| **other != stream).map(|(accepted, _)| *accepted);
            other.filter(|accepted| *accepted < view.changed)
        });
        other_views.into_iter().chain(own).chain(self.transaction()).min().unwrap_or(Revision::MAX)
    }

    /// Works out anew whether a view has clients that must be waited for.
    fn settle(&mut self, id: u64) {
        let Some(view) = self.views.get_mut(&id) else { return };
        let first = view.streams.first().map(|(accepted, _)| *accepted).filter(|accepted| *accepted < view.changed);
        if first == view.unsettled {
            return;
        }
        if let Some(before) = std::mem::replace(&mut view.unsettled, first) {
            self.unsettled.remove(&(before, id));
        }
        if let Some(first) = first {
            self.unsettled.insert((first, id));
        }
    }

    fn update(&mut self, id: u64, change: impl FnOnce(&mut ViewState)) {
        if let Some(view) = self.views.get_mut(&id) {
            change(view);
        }
        self.settle(id);
    }
}

impl Member {
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Revisions for up to `count` changes: what comes after the one given.
    pub(super) fn reserve(&self, count: usize) -> Revision {
        self.scope.reserve(count as u64)
    }

    /// The view has changed. Before anybody can see it.
    pub(super) fn changed(&self, revision: Revision) {
        let mut state = self.scope.0.state.lock();
        state.update(self.id, |view| view.changed = revision);
        self.scope.publish(&state);
    }

    /// A stream that has nothing yet, so that it is not waited for.
    pub(super) fn participate(&self) -> Participant {
        let id = self.scope.0.next_id.fetch_add(1, Ordering::Relaxed);
        let (scope, accepted) = (self.scope.clone(), Revision::MAX);
        Participant { scope, view: self.id, id, accepted, lags_since: None, given_up: true }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.scope.0.state.lock();
        if let Some(first) = state.views.remove(&self.id).and_then(|view| view.unsettled) {
            state.unsettled.remove(&(first, self.id));
        }
        self.scope.publish(&state);
    }
}

impl Participant {
    /// The stream has accepted all that changed up to `accepted`, while its view stands at `changed`.
    pub(super) fn observe(&mut self, accepted: Revision, changed: Revision, now: Instant) {
        let progress = accepted != self.accepted;
        if accepted >= changed {
            self.lags_since = None;
        } else if progress || self.lags_since.is_none() {
            self.lags_since = Some(now);
        }
        if !progress {
            return;
        }
        let before = (std::mem::replace(&mut self.accepted, accepted), self.id);
        let known = !std::mem::replace(&mut self.given_up, false);
        let after = (accepted, self.id);
        self.update(|view| {
            if known {
                view.streams.remove(&before);
            }
            view.streams.insert(after);
        });
    }

    /// Removals up to here may be told on this stream: whether it has accepted what changed itself is decided there.
    pub(super) fn released(&self) -> Revision {
        // Usually nobody has to be waited for.
        if self.scope.released() == Revision::MAX {
            return Revision::MAX;
        }
        self.scope.0.state.lock().released_for(self.view, (self.accepted, self.id))
    }

    /// When the stream is given up, if it goes on not answering.
    pub(super) fn deadline(&self, limit: Duration) -> Option<Instant> {
        self.lags_since.filter(|_| !self.given_up).map(|since| since + limit)
    }

    /// Gives the stream up if it has lagged behind for too long: until it accepts more, nobody waits for it.
    pub(super) fn give_up_if_due(&mut self, limit: Duration, now: Instant) {
        if self.deadline(limit).is_none_or(|deadline| now < deadline) {
            return;
        }
        self.given_up = true;
        let entry = (self.accepted, self.id);
        self.update(|view| {
            view.streams.remove(&entry);
        });
    }

    fn update(&self, change: impl FnOnce(&mut ViewState)) {
        let mut state = self.scope.0.state.lock();
        state.update(self.view, change);
        self.scope.publish(&state);
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        if !self.given_up {
            let entry = (self.accepted, self.id);
            self.update(|view| {
                view.streams.remove(&entry);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removals_wait_for_the_slowest_stream_of_all_views() {
        let scope = Scope::new();
        let (a, b) = (scope.join(), scope.join());
        let now = Instant::now();
        let (mut one, mut two) = (a.participate(), b.participate());
        one.observe(Revision(5), Revision(5), now);
        two.observe(Revision(5), Revision(5), now);
        assert_eq!(scope.released(), Revision::MAX, "nothing changed");
        a.changed(Revision(7));
        assert_eq!(scope.released(), Revision(5));
        b.changed(Revision(8));
        one.observe(Revision(7), Revision(7), now);
        assert_eq!(scope.released(), Revision(5), "the other view's stream has not answered");
        assert_eq!((one.released(), two.released()), (Revision(5), Revision::MAX), "none waits for itself");
        two.observe(Revision(8), Revision(8), now);
        assert_eq!(scope.released(), Revision::MAX);
    }

    #[test]
    fn a_stream_that_leaves_or_never_answers_is_not_waited_for() {
        let scope = Scope::new();
        let view = scope.join();
        let start = Instant::now();
        let limit = Duration::from_secs(15);
        let (mut gone, mut stuck) = (view.participate(), view.participate());
        gone.observe(Revision(1), Revision(2), start);
        stuck.observe(Revision(2), Revision(2), start);
        let now = start + limit * 2;
        view.changed(Revision(3));
        stuck.observe(Revision(2), Revision(3), now);
        assert_eq!(scope.released(), Revision(1));
        drop(gone);
        assert_eq!(scope.released(), Revision(2));
        assert_eq!(stuck.deadline(limit), Some(now + limit), "not since it was last heard of");
        stuck.give_up_if_due(limit, now + limit / 2);
        assert_eq!(scope.released(), Revision(2));
        stuck.give_up_if_due(limit, now + limit);
        assert_eq!(scope.released(), Revision::MAX);
        view.changed(Revision(4));
        stuck.observe(Revision(2), Revision(4), now + limit);
        assert_eq!(scope.released(), Revision::MAX, "until it answers");
        stuck.observe(Revision(3), Revision(4), now + limit);
        assert_eq!(scope.released(), Revision(3));
        drop((stuck, view));
        assert_eq!(scope.released(), Revision::MAX);
    }

    #[test]
    fn nothing_of_a_transaction_is_released_before_its_end() {
        let scope = Scope::new();
        let view = scope.join();
        view.reserve(4);
        let outer = scope.transaction();
        let inner = scope.transaction();
        view.reserve(1);
        assert_eq!(scope.released(), Revision(4));
        drop(inner);
        assert_eq!(scope.released(), Revision(4));
        drop(outer);
        assert_eq!(scope.released(), Revision::MAX);
    }
}
