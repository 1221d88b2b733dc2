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
        // A client that starts with nothing gets all at once. One that comes back has something to lose.
        let starts = self.is_unsent() && !self.resumed;
        let open = Open { changes: open.changes || starts, ..open };
        if !self.is_due(ledger, news, open, variant) || self.must_wait(news, open, variant) {
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
        let owes = !self.owed.is_empty() || !self.repeats.is_empty();
        let is_particular = owes || !self.odd.is_empty() || !self.refused_removals.is_empty();
        let content =
            if is_particular || !complete { Arc::new(compose(&recipe)) } else { sharing.content(recipe, compose) };
        Some(Draft { content, complete, removals_to })
    }

    fn is_due(&self, ledger: &Ledger, news: News, open: Open, variant: Variant) -> bool {
        let removal = news.first_removal.is_some_and(|first| Some(first) <= open.removals_to);
        let changes = news.changes && open.changes;
        self.answer_due || !self.owed.is_empty() || removal || changes || self.has_repeats(ledger, news, open, variant)
    }

    /// Whether something is to be told again that need not wait.
    fn has_repeats(&self, ledger: &Ledger, news: News, open: Open, variant: Variant) -> bool {
        let unchanged = |name: &ResourceName| {
            let entry = ledger.of(&self.type_url).and_then(|kind| kind.entry(name.as_str()));
            entry.is_none_or(|entry| self.difference(entry, variant) != Some(Difference::Change))
        };
        let wait = news.changes && !open.changes;
        !self.repeats.is_empty() && (!wait || self.repeats.iter().any(unchanged))
    }

    /// A whole set shows every change, an empty answer would show none of them, and a client that comes back is told in order.
    fn must_wait(&self, news: News, open: Open, variant: Variant) -> bool {
        let all = self.is_whole_set(variant) || self.is_unsent();
        news.changes && !open.changes && (all || (self.answer_due && self.owed.is_empty()))
    }

    /// The resource as it can be in a whole set: in place of one that was refused stands what was accepted before, if
    /// anything was. With the refused one in it every later set would be refused as well.
    fn acceptable<'s>(&'s self, resource: &'s Arc<Resource>) -> Option<&'s Arc<Resource>> {
        match self.odd.get(resource.name()) {
            Some(Odd::Refused { version, instead: Some(instead), .. }) if version == resource.version() => {
                instead.as_ref()
            }
            _ => Some(resource),
        }
    }

    fn is_owed(&self, name: &ResourceName) -> bool {
        self.owed.contains(name) || self.repeats.contains(name)
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
        if self.state.is_whole_set(*variant) {
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
        let present: Vec<&Arc<Resource>> = if self.recipe.wildcard {
            kind.live().collect()
        } else {
            self.named().filter_map(Entry::present).collect()
        };
        let state = self.state;
        self.resources.extend(present.into_iter().filter_map(|resource| state.acceptable(resource)).cloned());
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
        let state = self.state;
        let unchanged = |name: &&ResourceName| self.complete || !self.has_changed(name);
        let repeats = state.repeats.iter().filter(|name| !state.owed.contains(*name)).filter(unchanged);
        let names: Vec<&ResourceName> = state.owed.iter().chain(repeats).collect();
        for name in names {
            let entry = self.kind.and_then(|kind| kind.entry(name.as_str()));
            match entry.and_then(|entry| self.last_word(entry)).cloned() {
                Some(resource) => self.resources.push(resource),
                None => self.removed.push(name.clone()),
            }
        }
    }

    fn has_changed(&self, name: &ResourceName) -> bool {
        let entry = self.kind.and_then(|kind| kind.entry(name.as_str()));
        entry.is_some_and(|entry| self.state.difference(entry, self.recipe.variant) == Some(Difference::Change))
    }

    /// What there is of a name; while its removal waits, its last content. What refers to it may be warming: with the news
    /// that it is gone Envoy goes on without it, and without any it waits, and its acknowledgement with it.
    fn last_word<'e>(&self, entry: &'e Entry) -> Option<&'e Arc<Resource>> {
        (!entry.gone || Some(entry.revision) > self.recipe.removals_to).then_some(&entry.resource)
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
        let changed = changed.into_iter().filter(|entry| !state.is_owed(entry.resource.name()));
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
                Some((Difference::Removal, revision))
                    if revision <= recipe.from && Some(revision) <= recipe.removals_to =>
                {
                    self.removed.push(name.clone());
                }
                _ => {}
            }
        }
        changed.sort();
        let kind = self.kind;
        let present = |name: &&ResourceName| kind?.entry(name.as_str())?.present().cloned();
        self.resources.extend(changed.iter().filter(|name| !state.is_owed(name)).filter_map(present));
        if recipe.removals_to.is_some() {
            let gone = state.refused_removals.iter();
            let gone = gone.filter(|name| kind.and_then(|k| k.entry(name.as_str())?.present()).is_none());
            self.removed.extend(gone.cloned());
        }
    }
}
