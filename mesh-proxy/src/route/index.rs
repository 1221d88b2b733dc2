//! Which routes of a virtual host may match a path, without looking at all of them.
//!
//! Routes are tried in order, so an index must give the first match by order, not the best one. Each route is found by what
//! its path condition is: an exact path, a prefix, or neither (expressions, templates, `CONNECT`). The lists that a path
//! leads to are merged by position, and each candidate is asked the whole question. So the time depends on the length of
//! the path and on the candidates, not on the number of routes.

use std::{collections::HashMap, hash::BuildHasherDefault};

use smallvec::SmallVec;

use super::hosts::OneShot;
use crate::model::{PathMatch, Route};

/// Fewer routes than this are quicker tried one by one.
const WORTH_IT: usize = 16;

/// The routes of one virtual host by path.
#[derive(Debug, Default)]
pub(super) struct PathIndex {
    as_written: ByPath,
    folded: ByPath,
    /// Routes whose condition is neither an exact path nor a prefix.
    others: Vec<u32>,
}

/// Positions by path, in ascending order.
#[derive(Debug, Default)]
struct ByPath {
    exact: Keyed,
    /// By length, which a path is cut to.
    prefixes: Vec<(usize, Keyed)>,
}

type Keyed = HashMap<Box<str>, Vec<u32>, BuildHasherDefault<OneShot>>;

/// The lists that one path leads to.
type Candidates<'i> = SmallVec<[&'i [u32]; 8]>;

impl PathIndex {
    /// `None`: not worth it.
    pub(super) fn new<'r>(routes: impl ExactSizeIterator<Item = &'r Route>) -> Option<Self> {
        if routes.len() < WORTH_IT {
            return None;
        }
        let mut index = PathIndex::default();
        for (position, route) in (0_u32..).zip(routes) {
            index.add(position, route);
        }
        let longest_first = |by: &mut ByPath| by.prefixes.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        longest_first(&mut index.as_written);
        longest_first(&mut index.folded);
        Some(index)
    }

    fn add(&mut self, position: u32, route: &Route) {
        let fold = route.matches.ignore_case;
        let by = if fold { &mut self.folded } else { &mut self.as_written };
        let key = |path: &str| -> Box<str> { if fold { path.to_ascii_lowercase().into() } else { path.into() } };
        let list = match &route.matches.path {
            PathMatch::Exact(path) => by.exact.entry(key(path)).or_default(),
            PathMatch::Prefix(prefix) | PathMatch::SeparatedPrefix(prefix) => {
                by.of_length(prefix.len()).entry(key(prefix)).or_default()
            }
            PathMatch::Regex(_) | PathMatch::Template(_) | PathMatch::Connect => &mut self.others,
        };
        list.push(position);
    }

    /// The first position, in order, of a route that may match `path` and that `matches` says yes to.
    pub(super) fn find(&self, path: &str, mut matches: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut candidates = Candidates::new();
        self.as_written.candidates(path, &mut candidates);
        if !self.folded.is_empty() {
            self.folded.candidates(&path.to_ascii_lowercase(), &mut candidates);
        }
        if !self.others.is_empty() {
            candidates.push(&self.others);
        }
        loop {
            let next = candidates.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list[0])?;
            // Invariant: the list is not empty.
            let (first, rest) = next.split_first()?;
            *next = rest;
            let position = *first as usize;
            if matches(position) {
                return Some(position);
            }
        }
    }
}

impl ByPath {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty()
    }

    fn of_length(&mut self, length: usize) -> &mut Keyed {
        let at = self.prefixes.iter().position(|(known, _)| *known == length).unwrap_or_else(|| {
            self.prefixes.push((length, Keyed::default()));
            self.prefixes.len() - 1
        });
        &mut self.prefixes[at].1
    }

    fn candidates<'i>(&'i self, path: &str, found: &mut Candidates<'i>) {
        if !self.exact.is_empty() {
            found.extend(self.exact.get(path).map(Vec::as_slice));
        }
        for (length, prefixes) in &self.prefixes {
            // A cut inside a character is no prefix of any text.
            if let Some(start) = path.get(..*length) {
                found.extend(prefixes.get(start).map(Vec::as_slice));
            }
        }
    }
}
