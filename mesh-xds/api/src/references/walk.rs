//! Walks encoded messages along their plans.

use super::{
    Reference,
    plan::{Content, Count, Field, Naming, Plan, Registry},
};
use crate::encoded::{
    ANY, MAX_DEPTH,
    entries::{entries, shown},
    kept::Kept,
    path::Path,
    value::any_parts,
    wire::{Malformed, Raw, Reader},
};

/// One search.
#[derive(Debug)]
pub(super) struct Walker {
    registry: &'static Registry,
    found: Vec<Reference>,
}

/// What was read of one field.
#[derive(Debug, Default)]
pub(super) enum Slot<'a> {
    #[default]
    Empty,
    One(Kept<'a>),
    Many(Vec<Raw<'a>>),
    /// There are entries.
    Map,
}

impl Walker {
    pub(super) fn new(registry: &'static Registry) -> Self {
        Self { registry, found: Vec::new() }
    }

    pub(super) fn all(mut self, full_name: &str, encoded: &[u8]) -> Vec<Reference> {
        self.named(full_name, encoded, &Path::ROOT, MAX_DEPTH);
        self.found
    }

    /// The outermost message, or the one in an `Any`.
    fn named(&mut self, full_name: &str, bytes: &[u8], path: &Path<'_>, depth: usize) {
        if full_name == ANY {
            self.any(bytes, path, depth);
        } else if let Some(plan) = self.registry.by_name(full_name) {
            self.message(plan, bytes, path, depth);
        }
    }

    fn any(&mut self, bytes: &[u8], path: &Path<'_>, depth: usize) {
        if let (Some(depth), Ok((type_url, content))) = (depth.checked_sub(1), any_parts(bytes)) {
            self.named(type_url.rsplit('/').next().unwrap_or_default(), content, path, depth);
        }
    }

    fn message(&mut self, plan: &'static Plan, bytes: &[u8], path: &Path<'_>, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let Ok(slots) = read(plan, bytes) else { return };
        for naming in &plan.namings {
            self.naming(naming, &slots, path);
        }
        for (field, slot) in plan.fields.iter().zip(&slots).filter(|(field, _)| field.content.leads_on()) {
            self.field(field, slot, bytes, &path.field(&field.name), depth);
        }
    }

    fn naming(&mut self, naming: &Naming, slots: &[Slot<'_>], path: &Path<'_>) {
        let served = |source: &[u8]| self.registry.source.is_served(source);
        if let Some(source) = &naming.source
            && !source.values(slots).iter().any(|s| served(s))
        {
            return;
        }
        for place in &naming.names {
            let path = path.field(place.path);
            let is_list = matches!(slots.get(place.field), Some(Slot::Many(_)));
            let before = self.found.len();
            for (i, name) in place.values(slots).iter().enumerate() {
                let path = if is_list { path.index(i).to_string() } else { path.to_string() };
                self.found(naming, name, path);
            }
            if self.found.len() > before {
                break;
            }
        }
    }

    fn found(&mut self, naming: &Naming, name: &[u8], path: String) {
        if let Ok(name) = std::str::from_utf8(name)
            && !name.is_empty()
        {
            self.found.push(Reference { type_url: naming.to.clone(), name: name.to_owned(), path });
        }
    }

    fn field(&mut self, field: &Field, slot: &Slot<'_>, message: &[u8], path: &Path<'_>, depth: usize) {
        match (slot, &field.count) {
            (Slot::One(kept), _) => self.kept(field.content, kept, path, depth),
            (Slot::Many(raws), _) => {
                for (i, raw) in raws.iter().enumerate() {
                    if let Raw::Bytes(bytes) = raw {
                        self.content(field.content, bytes, &path.index(i), depth);
                    }
                }
            }
            (Slot::Map, Count::Map(key)) => {
                let entries = entries(message, field.number, *key, field.content.merges());
                for (key, value) in entries.iter().flatten() {
                    self.kept(field.content, value, &path.key(shown(key)), depth);
                }
            }
            (Slot::Empty | Slot::Map, _) => {}
        }
    }

    fn kept(&mut self, content: Content, kept: &Kept<'_>, path: &Path<'_>, depth: usize) {
        if let Some(bytes) = kept.bytes() {
            self.content(content, bytes, path, depth);
        }
    }

    fn content(&mut self, content: Content, bytes: &[u8], path: &Path<'_>, depth: usize) {
        let registry = self.registry;
        match content {
            Content::Any => self.any(bytes, path, depth),
            Content::Message(Some(plan)) => self.message(&registry.plans[plan], bytes, path, depth),
            Content::Message(None) | Content::Scalar => {}
        }
    }
}

fn read<'a>(plan: &Plan, bytes: &'a [u8]) -> Result<Vec<Slot<'a>>, Malformed> {
    let mut slots: Vec<Slot<'a>> = Vec::new();
    slots.resize_with(plan.fields.len(), Slot::default);
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.field()? {
        let Some(i) = plan.position(number) else { continue };
        let field = &plan.fields[i];
        if field.oneof.is_some() {
            let others = plan.fields.iter().enumerate().filter(|(other, f)| *other != i && f.oneof == field.oneof);
            others.for_each(|(other, _)| slots[other] = Slot::Empty);
        }
        match (&field.count, &mut slots[i]) {
            (Count::One, Slot::One(kept)) => kept.put(raw, field.content.merges()),
            (Count::One, slot) => *slot = Slot::One(Kept::Raw(raw)),
            (Count::List, Slot::Many(raws)) => raws.push(raw),
            (Count::List, slot) => *slot = Slot::Many(vec![raw]),
            (Count::Map(_), slot) => *slot = Slot::Map,
        }
    }
    Ok(slots)
}
