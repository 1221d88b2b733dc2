//! The rules of message types in the order of their wire form.

use std::{collections::HashMap, sync::LazyLock};

use super::{
    check::{Check, Checks, Rule},
    compile,
};
use crate::{descriptor_pool, encoded::value::Scalar};

/// Plans of all message types in which a rule can apply.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) plans: Vec<Plan>,
    pub(super) by_name: HashMap<String, usize>,
}

impl Registry {
    /// The rules of this crate's messages, compiled on first use.
    pub(super) fn global() -> &'static Self {
        static REGISTRY: LazyLock<Registry> = LazyLock::new(|| compile::registry(descriptor_pool()).0);
        &REGISTRY
    }

    /// `None` if no rule can apply in a message of this type.
    pub(super) fn by_name(&self, full_name: &str) -> Option<&Plan> {
        self.by_name.get(full_name).and_then(|&id| self.plans.get(id))
    }
}

/// What to look at in a message of one type.
#[derive(Debug)]
pub(super) struct Plan {
    /// Full name of the type.
    pub(super) name: String,
    /// By number. Only fields in which a rule can apply, and the members of every `oneof` that one of them belongs to.
    pub(super) fields: Vec<Field>,
    pub(super) oneofs: Vec<Oneof>,
}

impl Plan {
    /// Index of the field with this number.
    pub(super) fn position(&self, number: u32) -> Option<usize> {
        self.fields.binary_search_by_key(&number, |f| f.number).ok()
    }
}

/// A `oneof`: its last member on the wire is the one that is set.
#[derive(Debug)]
pub(super) struct Oneof {
    pub(super) name: String,
    /// That one is set is required.
    pub(super) required: Option<Rule>,
    /// Indices of [`Plan::fields`].
    pub(super) members: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: String,
    /// Index of [`Plan::oneofs`].
    pub(super) oneof: Option<usize>,
    pub(super) shape: Shape,
}

#[derive(Debug)]
pub(super) enum Shape {
    One(One),
    List(List),
    Map(Map),
}

#[derive(Debug)]
pub(super) struct One {
    pub(super) element: Element,
    /// That the field is set is required.
    pub(super) required: Option<Rule>,
    /// A field that is not set has no value, instead of its type's default.
    pub(super) has_presence: bool,
}

#[derive(Debug)]
pub(super) struct List {
    pub(super) element: Element,
    /// Rules over the number of elements.
    pub(super) size: Checks,
    pub(super) unique: Option<Rule>,
}

#[derive(Debug)]
pub(super) struct Map {
    pub(super) key: Scalar,
    pub(super) keys: Checks,
    pub(super) value: Element,
    /// Rules over the number of entries.
    pub(super) size: Checks,
    /// Every entry has a value.
    pub(super) no_sparse: Option<Rule>,
}

/// A value: that of a field, of an element of a list, of an entry of a map.
#[derive(Debug)]
pub(super) enum Element {
    Scalar(Scalar, Checks),
    /// `google.protobuf.UInt32Value` and its like.
    Wrapper(Scalar, Checks),
    /// `google.protobuf.Duration` and `Timestamp`.
    Time(Checks),
    /// The rules are about the type URL.
    Any(Checks),
    /// The index of the plan in [`Registry::plans`]; `None` where no rule can apply inside.
    Message(Option<usize>),
}

impl Element {
    /// Whether several occurrences of one field make one value together.
    pub(super) fn merges(&self) -> bool {
        !matches!(self, Self::Scalar(..))
    }

    /// Whether any rule can apply.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Scalar(_, checks) | Self::Wrapper(_, checks) | Self::Time(checks) => checks.list.is_empty(),
            Self::Message(plan) => plan.is_none(),
            Self::Any(_) => false,
        }
    }
}

impl Shape {
    /// Whether any rule can apply.
    pub(super) fn is_idle(&self) -> bool {
        let none = |list: &[Check]| list.is_empty();
        match self {
            Self::One(one) => one.element.is_idle() && one.required.is_none(),
            Self::List(list) => list.element.is_idle() && none(&list.size.list) && list.unique.is_none(),
            Self::Map(map) => {
                let sizes = none(&map.size.list) && map.no_sparse.is_none();
                map.value.is_idle() && none(&map.keys.list) && sizes
            }
        }
    }
}
