use std::collections::HashSet;

use crate::encoded::kept::Kept;

/// What was read so far of one field.
#[derive(Debug, Default)]
pub(super) struct Slot<'a> {
    /// Occurrences; of a list, elements.
    pub(super) count: usize,
    pub(super) kept: Kept<'a>,
    /// The elements of a list that must be unique.
    pub(super) seen: Option<HashSet<Vec<u8>>>,
}
