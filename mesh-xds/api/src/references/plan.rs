//! What to look at in messages of each type.

use std::{collections::HashMap, sync::LazyLock};

use super::{compile, place::Place};
use crate::{TypeUrl, descriptor_pool, encoded::value::Scalar};

/// Plans of all message types in which a reference can be.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) plans: Vec<Plan>,
    pub(super) by_name: HashMap<String, usize>,
    pub(super) source: Source,
}

impl Registry {
    /// Of this crate's messages, compiled on first use.
    pub(super) fn global() -> &'static Self {
        static REGISTRY: LazyLock<Registry> = LazyLock::new(|| compile::registry(descriptor_pool()));
        &REGISTRY
    }

    /// `None` if a message of this type names nothing.
    pub(super) fn by_name(&self, full_name: &str) -> Option<&Plan> {
        self.by_name.get(full_name).and_then(|&id| self.plans.get(id))
    }
}

/// The members of `ConfigSource`, by number.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// Of which the last on the wire is set.
    pub(super) members: Vec<u32>,
    /// Those that mean this server.
    pub(super) served: Vec<u32>,
}

/// One type.
#[derive(Debug)]
pub(super) struct Plan {
    /// By number. Only fields that lead to a reference or make one, and what displaces them from their `oneof`.
    pub(super) fields: Vec<Field>,
    pub(super) namings: Vec<Naming>,
}

impl Plan {
    /// Index of the field with this number.
    pub(super) fn position(&self, number: u32) -> Option<usize> {
        self.fields.binary_search_by_key(&number, |f| f.number).ok()
    }
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: String,
    /// Which `oneof` of the message it belongs to.
    pub(super) oneof: Option<usize>,
    pub(super) count: Count,
    pub(super) content: Content,
}

/// How many values a field has.
#[derive(Debug)]
pub(super) enum Count {
    One,
    List,
    /// A map with keys of this type.
    Map(Scalar),
}

/// What a field leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Content {
    /// No message.
    Scalar,
    Any,
    /// The index of a plan; `None` where no reference can be inside.
    Message(Option<usize>),
}

impl Content {
    /// Whether a reference can be inside.
    pub(super) fn leads_on(self) -> bool {
        matches!(self, Self::Any | Self::Message(Some(_)))
    }

    /// Whether several occurrences of one field make one value together.
    pub(super) fn merges(self) -> bool {
        self != Self::Scalar
    }
}

/// A reference in the making.
#[derive(Debug)]
pub(super) struct Naming {
    /// Of which the first that is not empty counts.
    pub(super) names: Vec<Place>,
    pub(super) source: Option<Place>,
    pub(super) to: TypeUrl,
}
