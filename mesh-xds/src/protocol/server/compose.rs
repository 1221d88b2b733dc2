//! What a push says.

use std::{ops::ControlFlow, sync::Arc};

use super::{
    gate::Open,
    ledger::{Entry, Ledger, Revision, TypeLedger},
    news::{News, each_change},
    sharing::{Recipe, Sharing},
    state::{Difference, Odd, TypeState},
};
use crate::{
    Resource, ResourceName,
    protocol::{Content, Variant},
};

/// A push to be, and what it leaves untold.
pub(super) struct Draft {
    pub(super) content: Arc<Content>,
    /// Whether all changes are in it, so that the client has been told up to now.
    pub(super) complete: bool,
    /// As [`Open::removals_to`].
    pub(super) removals_to: Option<Revision>,
}

impl TypeState {
    /// The next push of the type, if there is one.
    pub(super) fn draft(
        &self,
        ledger: &Ledger,
        sharing: &Sharing,
        variant: Variant,
        ttl: bool,
        open: Open,
    ) -> Option<Draft> {
        let news = self.known_news();
        // A client that starts with nothing gets all at once, and so does one that asks for names.
        let starts = self.is_unsent() && (!self.resumed || !self.interest.names.is_empty());
        let open = Open { changes: open.changes || starts, ..open };
        if !self.is_due(news, open) || self.must_wait(news, open, variant) {
            return None;
        }
        let complete = open.changes || !news.changes;
        let kind = ledger.of(&self.type_url);
        // Where all removals are told, or there is none, it is no matter which would not be.
        let last_removal = kind.map_or(Revision::NONE, TypeLedger::last_removal);
        let removals_to = open.removals_to.map(|to| if last_removal <= to { Revision::MAX } else { to });
        let recipe = Recipe {
            type_url: self.type_url.clone(),
            variant,
            ttl,
            wildcard: self.interest.wildcard,
            names: self.interest.names.clone(),
            from: self.told,
            to: kind.map_or(Revision::NONE, TypeLedger::last_change),
            every: self.is_unsent(),
            removals_to,
        };
        let compose = |recipe: &Recipe| {
            Composer { state: self, kind, recipe, complete, resources: Vec::new(), removed: Vec::new() }.content()
        };
        let is_particular = !self.odd.is_empty() || !self.owed.is_empty() || !self.refused_removals.is_empty();
        let content =
            if is_particular || !complete { Arc::new(compose(&recipe)) } else { sharing.content(recipe, compose) };
        Some(Draft { content, complete, removals_to })
    }

    fn is_due(&self, news: News, open: Open) -> bool {
        let removal = news.first_removal.is_some_and(|first| Some(first) <= open.removals_to);
        self.answer_due || !self.owed.is_empty() || removal || (news.changes && open.changes)
    }

    /// A whole set shows every change, and an empty answer would show none of them.
    fn must_wait(&self, news: News, open: Open, variant: Variant) -> bool {
        let whole_set = variant == Variant::Sotw && self.rules.whole_set;
        news.changes && !open.changes && (whole_set || (self.answer_due && self.owed.is_empty()))
    }

    /// Removals that the client hears of later.
    pub(super) fn withheld<'l>(
        &self,
        kind: Option<&'l TypeLedger>,
        removals_to: Option<Revision>,
        variant: Variant,
    ) -> Vec<&'l Arc<Resource>> {
        let mut withheld = Vec::new();
        let from = self.told.max(removals_to.unwrap_or_default());
        if let Some(kind) = kind.filter(|kind| kind.last_removal() > from) {
            each_change(kind, &self.interest, from, |entry| {
                if self.difference(entry, variant) == Some(Difference::Removal) {
                    withheld.push(&entry.resource);
                }
                ControlFlow::Continue(())
            });
        }
        withheld
    }
}

/// Composes by a recipe, and by what is particular to one stream.
struct Composer<'a> {
    state: &'a TypeState,
    kind: Option<&'a TypeLedger>,
    recipe: &'a Recipe,
    complete: bool,
    resources: Vec<Arc<Resource>>,
    removed: Vec<ResourceName>,
}

impl<'a> Composer<'a> {
    fn content(mut self) -> Content {
        let Recipe { type_url, variant, ttl, .. } = self.recipe;
        if *variant == Variant::Sotw && self.state.rules.whole_set {
            self.whole_set();
        } else if self.recipe.every {
            self.every_name();
        } else {
            self.owed();
            self.changed();
            self.odd();
        }
        if *variant == Variant::Sotw {
            self.removed.clear();
        }
        self.removed.sort();
        self.removed.dedup();
        Content::new(type_url.clone(), *variant, *ttl, self.resources, self.removed)
    }

    /// Everything subscribed; removals that must wait stay.
    fn whole_set(&mut self) {
        let Some(kind) = self.kind else { return };
        if self.recipe.wildcard {
            self.resources.extend(kind.live().cloned());
        } else {
            self.resources.extend(self.named().filter_map(Entry::present).cloned());
        }
        let withheld = self.state.withheld(Some(kind), self.recipe.removals_to, self.recipe.variant);
        self.resources.extend(withheld.into_iter().cloned());
        for odd in &self.state.odd {
            let difference = self.state.odd_difference(self.kind, odd, self.recipe.variant);
            if let (Odd::Leaving(resource), Some((Difference::Removal, revision))) = (odd.1, difference)
                && Some(revision) > self.recipe.removals_to
            {
                self.resources.push(resource.clone());
            }
        }
        self.resources.sort_by(|a, b| a.name().cmp(b.name()));
        self.resources.dedup_by(|a, b| a.name() == b.name());
    }

    /// The first answer: all that is subscribed, and what of it does not exist.
    fn every_name(&mut self) {
        if self.recipe.wildcard {
            self.resources.extend(self.kind.into_iter().flat_map(TypeLedger::live).cloned());
        } else {
            let mut present: Vec<_> = self.named().filter_map(Entry::present).cloned().collect();
            present.sort_by(|a, b| a.name().cmp(b.name()));
            self.resources = present;
        }
        let kind = self.kind;
        let exists = |name: &ResourceName| kind.and_then(|kind| kind.entry(name.as_str())?.present()).is_some();
        self.removed.extend(self.recipe.names.iter().filter(|name| !exists(name)).cloned());
    }

    fn named(&self) -> impl Iterator<Item = &'a Entry> + use<'a> {
        let (kind, recipe) = (self.kind, self.recipe);
        recipe.names.iter().filter_map(move |name| kind?.entry(name.as_str()))
    }

    /// What is owed: the resources that exist, and the names that do not.
    fn owed(&mut self) {
        for name in &self.state.owed {
            let entry = self.kind.and_then(|kind| kind.entry(name.as_str()));
            match entry.and_then(|entry| self.last_word(entry)) {
                Some(resource) => self.resources.push(resource.clone()),
                None => self.removed.push(name.clone()),
            }
        }
    }

    /// What there is of a name; while its removal waits, its last content. What refers to it may be warming: with the news
    /// that it is gone Envoy goes on without it, and without any it waits, and its acknowledgement with it.
    fn last_word<'e>(&self, entry: &'e Entry) -> Option<&'e Arc<Resource>> {
        (!entry.gone || entry.revision > self.recipe.removals_to).then_some(&entry.resource)
    }

    fn changed(&mut self) {
        let (state, recipe) = (self.state, self.recipe);
        let Some(kind) = self.kind else { return };
        let mut changed: Vec<&Entry> = Vec::new();
        each_change(kind, &state.interest, recipe.from, |entry| {
            match state.difference(entry, recipe.variant) {
                Some(Difference::Change) if self.complete => changed.push(entry),
                Some(Difference::Removal) if Some(entry.revision) <= recipe.removals_to => {
                    self.removed.push(entry.resource.name().clone());
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        changed.sort_by_key(|entry| entry.revision);
        let changed = changed.into_iter().filter(|entry| !state.owed.contains(entry.resource.name()));
        self.resources.extend(changed.map(|entry| entry.resource.clone()));
    }

    /// What is odd and has not changed since the client was told, or is not known to the ledger any more.
    fn odd(&mut self) {
        let (state, recipe) = (self.state, self.recipe);
        let mut changed: Vec<&ResourceName> = Vec::new();
        for odd in &state.odd {
            let name = odd.0;
            match state.odd_difference(self.kind, odd, recipe.variant) {
                Some((Difference::Change, revision)) if revision <= recipe.from && self.complete => changed.push(name),
                Some((Difference::Removal, revision)) => {
                    if revision <= recipe.from && Some(revision) <= recipe.removals_to {
                        self.removed.push(name.clone());
                    }
                }
                _ => {}
            }
        }
        changed.sort();
        let kind = self.kind;
        let present = |name: &&ResourceName| kind?.entry(name.as_str())?.present().cloned();
        self.resources.extend(changed.iter().filter(|name| !state.owed.contains(**name)).filter_map(present));
        if recipe.removals_to.is_some() {
            let gone = state.refused_removals.iter();
            let gone = gone.filter(|name| kind.and_then(|k| k.entry(name.as_str())?.present()).is_none());
            self.removed.extend(gone.cloned());
        }
    }
}
