//! Protobuf's wire format, read field by field: <https://protobuf.dev/programming-guides/encoding>.

/// Why bytes are no message.
pub(crate) type Malformed = &'static str;

const TRUNCATED: Malformed = "is no protobuf encoding: it ends inside a field";
const VARINT: Malformed = "is no protobuf encoding: a varint is too long";
const TAG: Malformed = "is no protobuf encoding: a field has no valid tag";
const GROUP: Malformed = "is no protobuf encoding: a group does not end";

/// Groups (of a long gone version of protobuf) that may lie inside each other.
const MAX_GROUPS: usize = 100;

/// The value of one field as it lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// Reads an encoded message from front to back.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field and its number, `None` at the end. Groups are passed over.
    pub(crate) fn field(&mut self) -> Result<Option<(u32, Raw<'a>)>, Malformed> {
        while !self.rest.is_empty() {
            let (number, wire_type) = self.tag()?;
            match wire_type {
                3 => self.skip_group(number)?,
                4 => return Err(GROUP),
                _ => return Ok(Some((number, self.value(wire_type)?))),
            }
        }
        Ok(None)
    }

    fn tag(&mut self) -> Result<(u32, u8), Malformed> {
        let tag = u32::try_from(self.varint()?).map_err(|_| TAG)?;
        let number = tag >> 3;
        if number == 0 { Err(TAG) } else { Ok((number, (tag & 7) as u8)) }
    }

    fn value(&mut self, wire_type: u8) -> Result<Raw<'a>, Malformed> {
        match wire_type {
            0 => self.varint().map(Raw::Varint),
            1 => self.array().map(|b| Raw::Fixed64(u64::from_le_bytes(b))),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| TRUNCATED)?;
                let (value, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
                self.rest = rest;
                Ok(Raw::Bytes(value))
            }
            5 => self.array().map(|b| Raw::Fixed32(u32::from_le_bytes(b))),
            _ => Err(TAG),
        }
    }

    fn skip_group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            if self.rest.is_empty() {
                return Err(GROUP);
            }
            match self.tag()? {
                (number, 3) if open.len() < MAX_GROUPS => open.push(number),
                (number, 4) if number == innermost => {
                    open.pop();
                }
                (_, 3 | 4) => return Err(GROUP),
                (_, wire_type) => {
                    self.value(wire_type)?;
                }
            }
        }
        Ok(())
    }

    /// One varint: the tag of a field, or an element of a packed list.
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        // Nearly all tags and lengths are one byte.
        if let [byte @ 0..=0x7f, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        let mut value = 0;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            if i == 9 && byte > 1 {
                return Err(VARINT);
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { TRUNCATED } else { VARINT })
    }

    /// One number of fixed size: the value of a field, or an element of a packed list.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (value, rest) = self.rest.split_first_chunk().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(*value)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u32, Raw<'_>)>, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut fields = Vec::new();
        while let Some(field) = reader.field()? {
            fields.push(field);
        }
        Ok(fields)
    }

    #[test]
    fn every_wire_type() {
        let bytes = [8, 0x96, 1, 17, 1, 0, 0, 0, 0, 0, 0, 0, 26, 2, 7, 8, 37, 2, 0, 0, 0];
        let fields = [(1, Raw::Varint(150)), (2, Raw::Fixed64(1)), (3, Raw::Bytes(&[7, 8])), (4, Raw::Fixed32(2))];
        assert_eq!(read(&bytes), Ok(fields.to_vec()));
        let longest = [8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        assert_eq!(read(&longest), Ok(vec![(1, Raw::Varint(u64::MAX))]));
    }

    #[test]
    fn groups_are_passed_over() {
        // Group 1 { 2: 5, group 3 {} }, then 4: 1.
        assert_eq!(read(&[11, 16, 5, 27, 28, 12, 32, 1]), Ok(vec![(4, Raw::Varint(1))]));
        assert_eq!(read(&[11, 16, 5]), Err(GROUP));
        assert_eq!(read(&[11, 20]), Err(GROUP));
        assert_eq!(read(&[12]), Err(GROUP));
        assert_eq!(read(&[11; 1000]), Err(GROUP));
    }

    #[test]
    fn malformed() {
        assert_eq!(read(&[8]), Err(TRUNCATED));
        assert_eq!(read(&[8, 0x80]), Err(TRUNCATED));
        assert_eq!(read(&[10, 5, 1]), Err(TRUNCATED));
        assert_eq!(read(&[13, 0, 0]), Err(TRUNCATED));
        assert_eq!(read(&[10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]), Err(TRUNCATED));
        assert_eq!(read(&[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2]), Err(VARINT));
        assert_eq!(read(&[0, 0]), Err(TAG));
        assert_eq!(read(&[14, 0]), Err(TAG));
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x10, 0]), Err(TAG));
    }
}
