use std::collections::HashSet;

use crate::validate::wire::Raw;

/// What was read so far of one field.
#[derive(Debug, Default)]
pub(super) struct Slot<'a> {
    /// Occurrences; of a list, elements.
    pub(super) count: usize,
    pub(super) kept: Kept<'a>,
    /// The elements of a list that must be unique.
    pub(super) seen: Option<HashSet<Vec<u8>>>,
}

/// The value of a field that is no list.
#[derive(Debug, Default)]
pub(super) enum Kept<'a> {
    #[default]
    Nothing,
    Raw(Raw<'a>),
    /// Messages of one field merge: that is what the concatenation of their encodings means.
    Merged(Vec<u8>),
}

impl<'a> Kept<'a> {
    /// One more occurrence: merges with what is there, or replaces it.
    pub(super) fn put(&mut self, raw: Raw<'a>, merges: bool) {
        *self = match (std::mem::take(self), raw) {
            (Self::Raw(Raw::Bytes(first)), Raw::Bytes(more)) if merges => Self::Merged([first, more].concat()),
            (Self::Merged(mut bytes), Raw::Bytes(more)) if merges => {
                bytes.extend_from_slice(more);
                Self::Merged(bytes)
            }
            _ => Self::Raw(raw),
        };
    }
}
