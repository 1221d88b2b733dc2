use super::wire::Raw;

/// What was read so far of a field that is no list.
#[derive(Debug, Default)]
pub(crate) enum Kept<'a> {
    #[default]
    Nothing,
    Raw(Raw<'a>),
    /// Messages of one field merge: that is what the concatenation of their encodings means.
    Merged(Vec<u8>),
}

impl<'a> Kept<'a> {
    /// One more occurrence: merges with what is there, or replaces it.
    pub(crate) fn put(&mut self, raw: Raw<'a>, merges: bool) {
        *self = match (std::mem::take(self), raw) {
            (Self::Raw(Raw::Bytes(first)), Raw::Bytes(more)) if merges => Self::Merged([first, more].concat()),
            (Self::Merged(mut bytes), Raw::Bytes(more)) if merges => {
                bytes.extend_from_slice(more);
                Self::Merged(bytes)
            }
            _ => Self::Raw(raw),
        };
    }

    /// The bytes of a text or of a message.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Raw(Raw::Bytes(bytes)) => Some(bytes),
            Self::Merged(bytes) => Some(bytes),
            Self::Nothing | Self::Raw(_) => None,
        }
    }
}
