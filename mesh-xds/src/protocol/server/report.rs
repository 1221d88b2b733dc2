//! What a client holds, for operators.

use std::sync::Arc;

use super::state::{Standing, TypeState};
use crate::{ResourceName, TypeUrl, Version};

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
    /// The version last sent.
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
    /// The last refusal, if the last answer was one.
    pub last_error: Option<Arc<str>>,
}

impl TypeReport {
    /// The type as a whole: refused if the last answer was a refusal, stale while anything is unsent or unanswered.
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
    pub(super) fn report(&self) -> TypeReport {
        let mut resources: Vec<ResourceReport> = self
            .held
            .iter()
            .map(|(name, held)| ResourceReport {
                name: name.clone(),
                version: held.version.clone(),
                state: match &held.standing {
                    Standing::Refused(message) => ResourceState::Nacked(message.clone()),
                    Standing::Accepted if !self.changed.contains(name) => ResourceState::Acked,
                    _ => ResourceState::Stale,
                },
            })
            .collect();
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
            pending: self.changed.len() + self.gone.len(),
            last_error: self.last_error.clone(),
        }
    }
}
