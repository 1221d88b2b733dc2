use std::collections::HashMap;

use super::{
    kept::Kept,
    path::Key,
    value::{self, Scalar, Value},
    wire::{Malformed, Raw, Reader},
};

/// An entry of a map, as it lies on the wire.
struct Entry<'a> {
    key: Option<Raw<'a>>,
    value: Kept<'a>,
}

impl<'a> Entry<'a> {
    fn read(bytes: &'a [u8], merges: bool) -> Result<Self, Malformed> {
        let mut entry = Self { key: None, value: Kept::Nothing };
        let mut reader = Reader::new(bytes);
        while let Some((number, raw)) = reader.field()? {
            match number {
                1 => entry.key = Some(raw),
                2 => entry.value.put(raw, merges),
                _ => {}
            }
        }
        Ok(entry)
    }
}

/// The entries of the map with this field number, each key once. `merges`: the values are messages.
pub(crate) fn entries(
    message: &[u8],
    number: u32,
    key: Scalar,
    merges: bool,
) -> Result<Vec<(Value<'_>, Kept<'_>)>, Malformed> {
    let mut entries: Vec<(Value<'_>, Kept<'_>)> = Vec::new();
    // Of several entries with one key the last is meant.
    let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut reader = Reader::new(message);
    while let Some((field, raw)) = reader.field()? {
        if field != number {
            continue;
        }
        let entry = Entry::read(value::message_bytes(raw)?, merges)?;
        let key = entry.key.map_or(Ok(key.default()), |raw| key.value(raw))?;
        let at = *known.entry(key.to_identity()).or_insert(entries.len());
        match entries.get_mut(at) {
            Some(earlier) => earlier.1 = entry.value,
            None => entries.push((key, entry.value)),
        }
    }
    Ok(entries)
}

/// A key as a path shows it.
pub(crate) fn shown<'k>(key: &'k Value<'_>) -> Key<'k> {
    match key {
        Value::Integer(key) => Key::Integer(*key),
        // Keys are texts, integers or booleans.
        Value::Text(_) | Value::Bytes(_) | Value::Float(_) => {
            Key::Text(std::str::from_utf8(key.as_bytes()).unwrap_or_default())
        }
    }
}
