//! A field of a message, or of one inside it.

use std::borrow::Cow;

use super::{plan::Source, walk::Slot};
use crate::encoded::{
    kept::Kept,
    wire::{Malformed, Raw, Reader},
};

/// A chain of fields, from a message with a plan on.
#[derive(Debug)]
pub(super) struct Place {
    /// As the table writes it.
    pub(super) path: &'static str,
    /// Index of the first field in its plan.
    pub(super) field: usize,
    pub(super) rest: Vec<Step>,
}

/// One field behind the first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) number: u32,
    /// It is a message.
    pub(super) merges: bool,
}

impl Place {
    /// The values there: several only of a list.
    pub(super) fn values<'s>(&self, slots: &'s [Slot<'_>]) -> Vec<Cow<'s, [u8]>> {
        match slots.get(self.field) {
            Some(Slot::One(kept)) => descend(kept, &self.rest).ok().flatten().into_iter().collect(),
            Some(Slot::Many(raws)) => raws.iter().filter_map(bytes).map(Cow::Borrowed).collect(),
            Some(Slot::Empty | Slot::Map) | None => Vec::new(),
        }
    }
}

fn bytes<'a>(raw: &Raw<'a>) -> Option<&'a [u8]> {
    match raw {
        Raw::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn descend<'k>(kept: &'k Kept<'_>, steps: &[Step]) -> Result<Option<Cow<'k, [u8]>>, Malformed> {
    let Some(bytes) = kept.bytes() else { return Ok(None) };
    let [step, rest @ ..] = steps else { return Ok(Some(Cow::Borrowed(bytes))) };
    let mut inner = Kept::Nothing;
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.field()? {
        if number == step.number {
            inner.put(raw, step.merges);
        }
    }
    // What was merged lives only here.
    Ok(descend(&inner, rest)?.map(|found| Cow::Owned(found.into_owned())))
}

impl Source {
    /// Whether an encoded `ConfigSource` means this server.
    pub(super) fn is_served(&self, encoded: &[u8]) -> bool {
        let mut reader = Reader::new(encoded);
        let mut last = None;
        while let Ok(Some((number, _))) = reader.field() {
            if self.members.contains(&number) {
                last = Some(number);
            }
        }
        last.is_some_and(|number| self.served.contains(&number))
    }
}
