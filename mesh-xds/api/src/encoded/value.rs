//! Values that rules compare, and how they lie on the wire.

use std::borrow::Cow;

use prost_reflect::Kind;

use super::wire::{Malformed, Raw, Reader};

const WIRE_TYPE: Malformed = "has another wire type than its field";
const UTF8: Malformed = "is a string that is not valid UTF-8";

/// A value, of a message or of a rule.
///
/// Durations and timestamps are integers (nanoseconds); so are booleans and enums.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(crate) enum Value<'a> {
    Integer(i128),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

impl Value<'_> {
    /// Whether it is its type's default.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Integer(i) => *i == 0,
            Self::Float(f) => *f == 0.0,
            Self::Text(t) => t.is_empty(),
            Self::Bytes(b) => b.is_empty(),
        }
    }

    /// The bytes of a text or of bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Integer(_) | Self::Float(_) => &[],
        }
    }

    /// Bytes that are equal where values of one field are.
    pub(crate) fn to_identity(&self) -> Vec<u8> {
        match self {
            Self::Integer(i) => i.to_le_bytes().to_vec(),
            Self::Float(f) => f.to_le_bytes().to_vec(),
            Self::Text(_) | Self::Bytes(_) => self.as_bytes().to_vec(),
        }
    }
}

/// The type of a field that is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    Enum,
    Float,
    Double,
    Text,
    Bytes,
}

impl Scalar {
    /// `None` for messages.
    pub(crate) fn of(kind: &Kind) -> Option<Self> {
        Some(match kind {
            Kind::Int32 => Self::Int32,
            Kind::Int64 => Self::Int64,
            Kind::Uint32 => Self::Uint32,
            Kind::Uint64 => Self::Uint64,
            Kind::Sint32 => Self::Sint32,
            Kind::Sint64 => Self::Sint64,
            Kind::Fixed32 => Self::Fixed32,
            Kind::Fixed64 => Self::Fixed64,
            Kind::Sfixed32 => Self::Sfixed32,
            Kind::Sfixed64 => Self::Sfixed64,
            Kind::Bool => Self::Bool,
            Kind::Enum(_) => Self::Enum,
            Kind::Float => Self::Float,
            Kind::Double => Self::Double,
            Kind::String => Self::Text,
            Kind::Bytes => Self::Bytes,
            Kind::Message(_) => return None,
        })
    }

    /// The value of a field that is not set.
    pub(crate) fn default(self) -> Value<'static> {
        match self {
            Self::Float | Self::Double => Value::Float(0.0),
            Self::Text => Value::Text(Cow::Borrowed("")),
            Self::Bytes => Value::Bytes(Cow::Borrowed(&[])),
            _ => Value::Integer(0),
        }
    }

    /// What `raw` means for a field of this type.
    pub(crate) fn value(self, raw: Raw<'_>) -> Result<Value<'_>, Malformed> {
        match raw {
            Raw::Varint(v) => self.varint(v),
            Raw::Fixed64(v) => self.fixed64(v),
            Raw::Fixed32(v) => self.fixed32(v),
            Raw::Bytes(bytes) => match self {
                Self::Text => std::str::from_utf8(bytes).map(|t| Value::Text(t.into())).map_err(|_| UTF8),
                Self::Bytes => Ok(Value::Bytes(bytes.into())),
                _ => Err(WIRE_TYPE),
            },
        }
    }

    // The casts are protobuf's own: a varint that is too large for its field keeps its lower bits.
    fn varint<'a>(self, v: u64) -> Result<Value<'a>, Malformed> {
        Ok(Value::Integer(match self {
            Self::Int32 | Self::Enum => i128::from(v as i32),
            Self::Int64 => i128::from(v as i64),
            Self::Uint32 => i128::from(v as u32),
            Self::Uint64 => i128::from(v),
            Self::Sint32 => i128::from(((v as u32) >> 1) as i32 ^ -((v & 1) as i32)),
            Self::Sint64 => i128::from((v >> 1) as i64 ^ -((v & 1) as i64)),
            Self::Bool => i128::from(v != 0),
            _ => return Err(WIRE_TYPE),
        }))
    }

    fn fixed64<'a>(self, v: u64) -> Result<Value<'a>, Malformed> {
        match self {
            Self::Fixed64 => Ok(Value::Integer(i128::from(v))),
            Self::Sfixed64 => Ok(Value::Integer(i128::from(v as i64))),
            Self::Double => Ok(Value::Float(f64::from_bits(v))),
            _ => Err(WIRE_TYPE),
        }
    }

    fn fixed32<'a>(self, v: u32) -> Result<Value<'a>, Malformed> {
        match self {
            Self::Fixed32 => Ok(Value::Integer(i128::from(v))),
            Self::Sfixed32 => Ok(Value::Integer(i128::from(v as i32))),
            Self::Float => Ok(Value::Float(f64::from(f32::from_bits(v)))),
            _ => Err(WIRE_TYPE),
        }
    }

    /// One element of a packed list. Texts and bytes are never packed.
    pub(crate) fn packed<'a>(self, list: &mut Reader<'a>) -> Result<Raw<'a>, Malformed> {
        match self {
            Self::Fixed32 | Self::Sfixed32 | Self::Float => list.array().map(|b| Raw::Fixed32(u32::from_le_bytes(b))),
            Self::Fixed64 | Self::Sfixed64 | Self::Double => list.array().map(|b| Raw::Fixed64(u64::from_le_bytes(b))),
            _ => list.varint().map(Raw::Varint),
        }
    }

    /// Whether a list of these may be packed.
    pub(crate) fn is_number(self) -> bool {
        !matches!(self, Self::Text | Self::Bytes)
    }
}

/// The bytes of a message field.
pub(crate) fn message_bytes(raw: Raw<'_>) -> Result<&[u8], Malformed> {
    match raw {
        Raw::Bytes(bytes) => Ok(bytes),
        _ => Err(WIRE_TYPE),
    }
}

/// The value inside a wrapper such as `google.protobuf.UInt32Value`.
pub(crate) fn unwrap(scalar: Scalar, wrapper: &[u8]) -> Result<Value<'_>, Malformed> {
    let mut value = scalar.default();
    let mut reader = Reader::new(wrapper);
    while let Some((number, raw)) = reader.field()? {
        if number == 1 {
            value = scalar.value(raw)?;
        }
    }
    Ok(value)
}

/// A `google.protobuf.Duration` or `Timestamp` in nanoseconds.
pub(crate) fn nanoseconds(time: &[u8]) -> Result<Value<'static>, Malformed> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(time);
    while let Some((number, raw)) = reader.field()? {
        match (number, raw) {
            (1, Raw::Varint(v)) => seconds = i128::from(v as i64),
            (2, Raw::Varint(v)) => nanos = i128::from(v as i32),
            (1 | 2, _) => return Err(WIRE_TYPE),
            _ => {}
        }
    }
    Ok(Value::Integer(seconds * 1_000_000_000 + nanos))
}

/// Type URL and content of a `google.protobuf.Any`.
pub(crate) fn any_parts(any: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let (mut type_url, mut content): (&[u8], &[u8]) = (&[], &[]);
    let mut reader = Reader::new(any);
    while let Some((number, raw)) = reader.field()? {
        match number {
            1 => type_url = message_bytes(raw)?,
            2 => content = message_bytes(raw)?,
            _ => {}
        }
    }
    Ok((std::str::from_utf8(type_url).map_err(|_| UTF8)?, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_as_protobuf_reads_them() {
        let value = |scalar: Scalar, raw| scalar.value(raw).unwrap();
        assert_eq!(value(Scalar::Int32, Raw::Varint(u64::MAX)), Value::Integer(-1));
        assert_eq!(value(Scalar::Uint32, Raw::Varint(1 << 32 | 7)), Value::Integer(7));
        assert_eq!(value(Scalar::Sint32, Raw::Varint(3)), Value::Integer(-2));
        assert_eq!(value(Scalar::Sint64, Raw::Varint(u64::MAX)), Value::Integer(i128::from(i64::MIN)));
        assert_eq!(value(Scalar::Bool, Raw::Varint(2)), Value::Integer(1));
        assert_eq!(value(Scalar::Sfixed32, Raw::Fixed32(u32::MAX)), Value::Integer(-1));
        assert_eq!(value(Scalar::Float, Raw::Fixed32(0.5_f32.to_bits())), Value::Float(0.5));
        assert_eq!(Scalar::Uint32.value(Raw::Fixed32(1)), Err(WIRE_TYPE));
        assert_eq!(Scalar::Text.value(Raw::Bytes(&[0xff])), Err(UTF8));
    }

    #[test]
    fn well_known_types() {
        assert_eq!(unwrap(Scalar::Uint32, &[]), Ok(Value::Integer(0)));
        assert_eq!(unwrap(Scalar::Uint32, &[8, 1, 8, 2]), Ok(Value::Integer(2)));
        let duration = prost_types::Duration { seconds: -3, nanos: -5 };
        assert_eq!(nanoseconds(&prost::Message::encode_to_vec(&duration)), Ok(Value::Integer(-3_000_000_005)));
        assert_eq!(any_parts(&[10, 1, b'a', 18, 1, 9, 10, 1, b'b']), Ok(("b", &[9_u8][..])));
    }
}
