//! What there is to tell.

use std::ops::ControlFlow;

use super::{
    interest::Interest,
    ledger::{Entry, Ledger, Revision, TypeLedger},
    state::{Difference, TypeState},
};
use crate::protocol::Variant;

/// What a client is to be told of one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct News {
    /// The ledger's last change of the type when this was worked out.
    as_of: Revision,
    /// There is new content.
    pub(super) changes: bool,
    /// When the first resource was removed of which the client must hear.
    pub(super) first_removal: Option<Revision>,
}

impl News {
    pub(super) fn is_empty(self) -> bool {
        !self.changes && self.first_removal.is_none()
    }
}

impl TypeState {
    /// Works out what there is to tell. Costs what has changed since the client was last told.
    pub(super) fn look(&mut self, ledger: &Ledger, variant: Variant) -> News {
        let kind = ledger.of(&self.type_url);
        let as_of = kind.map_or(Revision::NONE, TypeLedger::last_change);
        if let Some(news) = self.news.filter(|news| news.as_of == as_of) {
            return news;
        }
        let mut news = News { as_of, ..News::default() };
        if let Some(kind) = kind {
            // Where names are subscribed each can be looked at, and a whole set says it all.
            let by_removals = self.interest.wildcard && variant == Variant::Delta && !self.is_unsent();
            self.lost_track |= by_removals && kind.forgot_since(self.told);
            let only_changes = kind.last_removal() <= self.told || !self.tells_removals(variant);
            each_change(kind, &self.interest, self.told, |entry| {
                news.note(self.difference(entry, variant), entry.revision);
                let all = news.changes && (only_changes || news.first_removal.is_some());
                if all { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        for odd in &self.odd {
            if let Some((difference, revision)) = self.odd_difference(kind, odd, variant) {
                news.note(Some(difference), revision);
            }
        }
        if news.is_empty() && !self.is_unsent() && self.odd.is_empty() {
            // None of it concerns the client: it need not be looked at again.
            self.told = self.told.max(as_of);
        }
        self.news = Some(news);
        news
    }

    /// Up to where the client has been told of every removal.
    pub(super) fn told_to(&mut self, ledger: &Ledger, variant: Variant) -> Revision {
        let no_removal = self.look(ledger, variant).first_removal.is_none();
        if self.is_unsent() {
            Revision::MAX
        } else if !self.odd.is_empty() {
            Revision::NONE
        } else if no_removal {
            ledger.revision()
        } else {
            self.told
        }
    }

    /// As [`TypeState::look`] found it.
    pub(super) fn known_news(&self) -> News {
        self.news.unwrap_or_default()
    }
}

impl News {
    fn note(&mut self, difference: Option<Difference>, revision: Revision) {
        match difference {
            Some(Difference::Change) => self.changes = true,
            Some(Difference::Removal) => {
                self.first_removal = Some(self.first_removal.map_or(revision, |first| first.min(revision)));
            }
            None => {}
        }
    }
}

/// Calls `each` for what changed after `since` among the subscribed: in order, unless there are fewer names than changes.
pub(super) fn each_change<'l>(
    kind: &'l TypeLedger,
    interest: &Interest,
    since: Revision,
    mut each: impl FnMut(&'l Entry) -> ControlFlow<()>,
) {
    let changes_at_most = kind.last_change().0.saturating_sub(since.0);
    let by_name = !interest.wildcard && (interest.names.len() as u64) < changes_at_most;
    let _ = if by_name {
        let entries = interest.names.iter().filter_map(|name| kind.entry(name.as_str()));
        entries.filter(|entry| entry.revision > since).try_for_each(each)
    } else {
        kind.since(since).filter(|entry| interest.covers(entry.resource.name().as_str())).try_for_each(&mut each)
    };
}
