//! Encoded messages, read where they lie: what those who look at them without decoding have in common.
//!
//! Nothing is decoded into messages. Bytes mean what a decoder would make of them: of a field that occurs several times the
//! last value counts, messages of one field merge, of a map's entries with one key the last is meant.

pub(crate) mod entries;
pub(crate) mod kept;
pub(crate) mod path;
pub(crate) mod reach;
pub(crate) mod value;
pub(crate) mod wire;

/// The full name of the message that holds another of any type.
pub(crate) const ANY: &str = "google.protobuf.Any";

/// How many messages may lie inside each other, the contents of an `Any` included: protobuf decoders stop at the same depth.
pub(crate) const MAX_DEPTH: usize = 100;
