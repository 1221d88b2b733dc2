//! What a client holds, for operators.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use super::{
    ledger::{Entry, Ledger, Revision},
    news::each_change,
    state::{Odd, TypeState},
};
use crate::{ResourceName, TypeUrl, Version, protocol::Variant};

/// How a client stands to one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceState {
    /// Sent and accepted.
    Acked,
    /// Sent and refused, in the client's words.
    Nacked(Arc<str>),
    /// Sent and not answered yet, or changed and not sent yet.
    Stale,
}

impl ResourceState {
    /// `ACKED`, `NACKED` or `STALE`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Acked => "ACKED",
            Self::Nacked(_) => "NACKED",
            Self::Stale => "STALE",
        }
    }
}

/// One resource a client was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceReport {
    /// The name.
    pub name: ResourceName,
    /// The version last sent; empty if it is not known any more, for it has changed twice since.
    pub version: Version,
    /// How the client answered.
    pub state: ResourceState,
}

/// One type on one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeReport {
    /// The type.
    pub type_url: TypeUrl,
    /// Whether everything is subscribed.
    pub wildcard: bool,
    /// How many names are subscribed besides.
    pub names: usize,
    /// By name.
    pub resources: Vec<ResourceReport>,
    /// Pushes so far.
    pub pushes: u64,
    /// Pushes accepted.
    pub acks: u64,
    /// Pushes refused.
    pub nacks: u64,
    /// Answers dropped for their nonce.
    pub stale_nonces: u64,
    /// Whether a push waits for its answer.
    pub in_flight: bool,
    /// Changes and removals not sent yet.
    pub pending: usize,
    /// The last refusal, while anything of it stands: until the client has accepted other content.
    pub last_error: Option<Arc<str>>,
}

impl TypeReport {
    /// The type as a whole: refused while a refusal stands, stale while anything is unsent or unanswered.
    #[must_use]
    pub fn state(&self) -> ResourceState {
        match &self.last_error {
            Some(message) => ResourceState::Nacked(message.clone()),
            None if self.in_flight || self.pending > 0 => ResourceState::Stale,
            None => ResourceState::Acked,
        }
    }
}

impl TypeState {
    pub(super) fn report(&self, ledger: &Ledger, variant: Variant) -> TypeReport {
        let mut resources = self.resource_reports(ledger);
        resources.sort_by(|a, b| a.name.cmp(&b.name));
        TypeReport {
            type_url: self.type_url.clone(),
            wildcard: self.interest.wildcard,
            names: self.interest.names.len(),
            resources,
            pushes: self.counts.pushes,
            acks: self.counts.acks,
            nacks: self.counts.nacks,
            stale_nonces: self.counts.stale_nonces,
            in_flight: self.in_flight.is_some(),
            pending: self.pending(ledger, variant),
            last_error: self.last_error.clone(),
        }
    }

    /// How many changes and removals are not told yet.
    fn pending(&self, ledger: &Ledger, variant: Variant) -> usize {
        let kind = ledger.of(&self.type_url);
        let mut pending = 0;
        if let Some(kind) = kind {
            each_change(kind, &self.interest, self.told, |entry| {
                pending += usize::from(self.difference(entry, variant).is_some());
                ControlFlow::Continue(())
            });
        }
        let old = |revision: Revision| revision <= self.told;
        let odd = self.odd.iter().filter_map(|odd| self.odd_difference(kind, odd, variant));
        pending + odd.filter(|(_, revision)| old(*revision)).count()
    }

    fn resource_reports(&self, ledger: &Ledger) -> Vec<ResourceReport> {
        if self.is_unsent() {
            return Vec::new();
        }
        let kind = ledger.of(&self.type_url);
        let unanswered: HashSet<&ResourceName> =
            self.in_flight.iter().flat_map(|flight| flight.content.resources.iter().map(|r| r.name())).collect();
        let mut reports: Vec<ResourceReport> = Vec::new();
        if let Some(kind) = kind {
            each_change(kind, &self.interest, Revision::NONE, |entry| {
                if !self.odd.contains_key(entry.resource.name()) {
                    reports.extend(self.even_report(entry, &unanswered));
                }
                ControlFlow::Continue(())
            });
        }
        reports.extend(self.odd.iter().filter_map(|(name, odd)| {
            let version = odd.version()?.clone();
            let current = ledger.get(&self.type_url, name.as_str()).is_some_and(|r| *r.version() == version);
            let state = match odd {
                Odd::Refused { message, .. } => ResourceState::Nacked(message.clone()),
                Odd::Holds(_) if current && !unanswered.contains(name) => ResourceState::Acked,
                _ => ResourceState::Stale,
            };
            Some(ResourceReport { name: name.clone(), version, state })
        }));
        reports
    }

    /// A resource that the client holds as it was at the revision told.
    fn even_report(&self, entry: &Entry, unanswered: &HashSet<&ResourceName>) -> Option<ResourceReport> {
        let name = entry.resource.name();
        if entry.revision <= self.told {
            let resource = entry.present()?;
            let state = if unanswered.contains(name) { ResourceState::Stale } else { ResourceState::Acked };
            return Some(ResourceReport { name: name.clone(), version: resource.version().clone(), state });
        }
        let known = entry.known_since <= self.told;
        let before = entry.before.as_ref().filter(|(revision, _)| *revision <= self.told);
        let version = before.map_or_else(|| Version::from(""), |(_, version)| version.clone());
        known.then(|| ResourceReport { name: name.clone(), version, state: ResourceState::Stale })
    }
}
