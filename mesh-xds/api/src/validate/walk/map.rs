use std::collections::HashMap;

use super::{Here, Kept, Walker};
use crate::validate::{
    path::{Key, Path},
    plan::{Element, Field, Map},
    value::{self, Value},
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

impl<'a> Walker<'a> {
    /// A map: of several entries with one key the last is meant, so all are read before any is checked.
    pub(super) fn map(
        &mut self,
        here: Here<'_>,
        field: &'static Field,
        map: &'static Map,
        message: &'a [u8],
        path: &Path<'_>,
    ) -> Result<(), Malformed> {
        let mut entries: Vec<(Value<'a>, Kept<'a>)> = Vec::new();
        let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut reader = Reader::new(message);
        while let Some((number, raw)) = reader.field()? {
            if number != field.number {
                continue;
            }
            let entry = Entry::read(value::message_bytes(raw)?, map.value.merges())?;
            let key = entry.key.map_or(Ok(map.key.default()), |raw| map.key.value(raw))?;
            let at = *known.entry(key.to_identity()).or_insert(entries.len());
            match entries.get_mut(at) {
                Some(earlier) => earlier.1 = entry.value,
                None => entries.push((key, entry.value)),
            }
        }
        self.apply(here, &map.size, &Value::Integer(entries.len() as i128), path);
        for (key, value) in entries {
            if self.is_full() {
                break;
            }
            self.entry(here, map, &key, value, path);
        }
        Ok(())
    }

    fn entry(&mut self, here: Here<'_>, map: &'static Map, key: &Value<'_>, kept: Kept<'a>, path: &Path<'_>) {
        let path = path.key(match key {
            Value::Integer(key) => Key::Integer(*key),
            // Keys are texts, integers or booleans.
            Value::Text(_) | Value::Bytes(_) | Value::Float(_) => {
                Key::Text(std::str::from_utf8(key.as_bytes()).unwrap_or_default())
            }
        });
        self.apply(here, &map.keys, key, &path);
        if !matches!(kept, Kept::Nothing) {
            return self.kept(here, &map.value, kept, &path);
        }
        if let Some(rule) = &map.no_sparse {
            self.broken(here, &path, rule);
        }
        match &map.value {
            Element::Scalar(scalar, checks) => self.apply(here, checks, &scalar.default(), &path),
            // An empty message is a value too.
            element => self.element(here, element, Raw::Bytes(&[]), &path),
        }
    }
}
