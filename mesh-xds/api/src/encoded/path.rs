//! Where a check is: a chain of segments on the call stack, written out only for a violation.

use std::fmt;

/// The longest map key that a path shows whole.
const MAX_KEY: usize = 64;

/// A place in a message.
#[derive(Clone, Copy)]
pub(crate) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    segment: Segment<'p>,
}

#[derive(Clone, Copy)]
enum Segment<'p> {
    Root,
    Field(&'p str),
    Index(usize),
    Key(Key<'p>),
}

/// A key of a map.
#[derive(Clone, Copy)]
pub(crate) enum Key<'p> {
    Text(&'p str),
    Integer(i128),
}

impl<'p> Path<'p> {
    pub(crate) const ROOT: Self = Self { parent: None, segment: Segment::Root };

    /// A field of the message here.
    pub(crate) fn field(&'p self, name: &'p str) -> Self {
        Self { parent: Some(self), segment: Segment::Field(name) }
    }

    /// An element of the list here.
    pub(crate) fn index(&'p self, index: usize) -> Self {
        Self { parent: Some(self), segment: Segment::Index(index) }
    }

    /// A value of the map here.
    pub(crate) fn key(&'p self, key: Key<'p>) -> Self {
        Self { parent: Some(self), segment: Segment::Key(key) }
    }

    fn is_root(&self) -> bool {
        matches!(self.segment, Segment::Root)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not deeper than three segments for each message, and messages have a depth limit.
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.segment {
            Segment::Root => Ok(()),
            Segment::Field(name) if self.parent.is_none_or(Path::is_root) => f.write_str(name),
            Segment::Field(name) => write!(f, ".{name}"),
            Segment::Index(index) => write!(f, "[{index}]"),
            Segment::Key(Key::Integer(key)) => write!(f, "[{key}]"),
            Segment::Key(Key::Text(key)) => match key.char_indices().nth(MAX_KEY) {
                Some((end, _)) => write!(f, "[{:?}...]", &key[..end]),
                None => write!(f, "[{key:?}]"),
            },
        }
    }
}
