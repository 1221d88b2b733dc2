use super::{Here, Walker};
use crate::{
    encoded::{
        entries::{entries, shown},
        kept::Kept,
        path::Path,
        value::Value,
        wire::{Malformed, Raw},
    },
    validate::plan::{Element, Field, Map},
};

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
        let entries = entries(message, field.number, map.key, map.value.merges())?;
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
        let path = path.key(shown(key));
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
