//! Walks encoded messages along their plans.
//!
//! A message is read once, front to back: elements of lists are checked as they come, of every other field the last
//! value (or the merged one) is kept in a slot. Then the slots are checked, in the order of field numbers.

mod map;
mod slot;

use std::collections::HashSet;

use self::slot::Slot;
use super::{
    MAX_DEPTH, MAX_VIOLATIONS, Violation, Violations,
    check::{Checks, Rule},
    plan::{Element, Field, List, One, Plan, Registry, Shape},
};
use crate::encoded::{
    ANY,
    kept::Kept,
    path::Path,
    value::{self, Scalar, Value},
    wire::{Malformed, Raw, Reader},
};

const DEPTH: &str = "lies deeper than a decoder would follow";

/// One check.
#[derive(Debug)]
pub(super) struct Walker<'a> {
    registry: &'static Registry,
    /// The slots of the messages that are being read, innermost last: one allocation serves them all.
    slots: Vec<Slot<'a>>,
    found: Vec<Violation>,
}

/// A message that is being read.
#[derive(Clone, Copy)]
struct Here<'p> {
    plan: &'static Plan,
    path: &'p Path<'p>,
    /// How many messages may still lie inside this one.
    depth: usize,
    /// Where its slots begin.
    base: usize,
}

impl<'a> Walker<'a> {
    pub(super) fn new(registry: &'static Registry) -> Self {
        Self { registry, slots: Vec::new(), found: Vec::new() }
    }

    pub(super) fn check(mut self, full_name: &str, encoded: &'a [u8]) -> Result<(), Violations> {
        self.content(full_name, encoded, &Path::ROOT, MAX_DEPTH);
        let truncated = self.is_full();
        Violations::of(self.found, truncated).map_or(Ok(()), Err)
    }

    fn is_full(&self) -> bool {
        self.found.len() >= MAX_VIOLATIONS
    }

    fn report(&mut self, message: &'static str, path: &Path<'_>, rule: &'static str, reason: &'static str) {
        if !self.is_full() {
            self.found.push(Violation { message, path: path.to_string(), rule, reason });
        }
    }

    fn broken(&mut self, here: Here<'_>, path: &Path<'_>, rule: &'static Rule) {
        self.report(&here.plan.name, path, &rule.name, &rule.reason);
    }

    fn malformed(&mut self, here: Here<'_>, path: &Path<'_>, reason: Malformed) {
        self.report(&here.plan.name, path, "wire", reason);
    }

    /// The outermost message, or the one in an `Any`.
    fn content(&mut self, full_name: &str, bytes: &'a [u8], path: &Path<'_>, depth: usize) {
        if full_name == ANY {
            if let Err(reason) = self.any(None, bytes, path, depth) {
                self.report(ANY, path, "wire", reason);
            }
        } else if let Some(plan) = self.registry.by_name(full_name) {
            self.message(plan, bytes, path, depth);
        }
    }

    /// An `Any`, and what is in it. The rules are about its type URL.
    fn any(
        &mut self,
        rules: Option<(Here<'_>, &'static Checks)>,
        bytes: &'a [u8],
        path: &Path<'_>,
        depth: usize,
    ) -> Result<(), Malformed> {
        let Some(depth) = depth.checked_sub(1) else {
            self.report(ANY, path, "depth", DEPTH);
            return Ok(());
        };
        let (type_url, content) = value::any_parts(bytes)?;
        if let Some((here, checks)) = rules {
            self.apply(here, checks, &Value::Text(type_url.into()), path);
        }
        self.content(type_url.rsplit('/').next().unwrap_or_default(), content, path, depth);
        Ok(())
    }

    fn message(&mut self, plan: &'static Plan, bytes: &'a [u8], path: &Path<'_>, depth: usize) {
        if self.is_full() {
            return;
        }
        let Some(depth) = depth.checked_sub(1) else { return self.report(&plan.name, path, "depth", DEPTH) };
        let here = Here { plan, path, depth, base: self.slots.len() };
        self.slots.resize_with(here.base + plan.fields.len(), Slot::default);
        match self.read(here, bytes) {
            Ok(()) => self.finish(here, bytes),
            Err(reason) => self.malformed(here, path, reason),
        }
        self.slots.truncate(here.base);
    }

    fn read(&mut self, here: Here<'_>, bytes: &'a [u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(bytes);
        while let Some((number, raw)) = reader.field()? {
            let Some(i) = here.plan.position(number) else { continue };
            let field = &here.plan.fields[i];
            match &field.shape {
                Shape::One(one) => self.keep(here, i, field, one, raw),
                Shape::List(list) => self.elements(here, i, field, list, raw),
                Shape::Map(_) => self.slots[here.base + i].count += 1,
            }
            if self.is_full() {
                break;
            }
        }
        Ok(())
    }

    fn keep(&mut self, here: Here<'_>, i: usize, field: &Field, one: &One, raw: Raw<'a>) {
        if let Some(oneof) = field.oneof {
            let others = here.plan.oneofs[oneof].members.iter().filter(|&&m| m != i);
            others.for_each(|m| self.slots[here.base + m] = Slot::default());
        }
        let slot = &mut self.slots[here.base + i];
        slot.count += 1;
        slot.kept.put(raw, one.element.merges());
    }

    /// One occurrence of a list on the wire: an element, or many that are packed.
    fn elements(&mut self, here: Here<'_>, i: usize, field: &'static Field, list: &'static List, raw: Raw<'a>) {
        let path = here.path.field(&field.name);
        match (&list.element, raw) {
            (Element::Scalar(scalar, _), Raw::Bytes(packed)) if scalar.is_number() => {
                let mut reader = Reader::new(packed);
                while !reader.is_empty() && !self.is_full() {
                    match scalar.packed(&mut reader) {
                        Ok(raw) => self.list_element(here, i, list, raw, &path),
                        Err(reason) => return self.malformed(here, &path, reason),
                    }
                }
            }
            _ => self.list_element(here, i, list, raw, &path),
        }
    }

    fn list_element(&mut self, here: Here<'_>, i: usize, list: &'static List, raw: Raw<'a>, path: &Path<'_>) {
        let slot = &mut self.slots[here.base + i];
        let path = path.index(slot.count);
        slot.count += 1;
        if let (Some(rule), Element::Scalar(scalar, _)) = (&list.unique, &list.element) {
            let seen = slot.seen.get_or_insert_with(HashSet::new);
            if scalar.value(raw).is_ok_and(|value| !seen.insert(value.to_identity())) {
                self.broken(here, &path, rule);
            }
        }
        self.element(here, &list.element, raw, &path);
    }

    /// All of the message is read: checks what was kept.
    fn finish(&mut self, here: Here<'_>, bytes: &'a [u8]) {
        for (i, field) in here.plan.fields.iter().enumerate() {
            if self.is_full() {
                return;
            }
            let slot = std::mem::take(&mut self.slots[here.base + i]);
            let path = here.path.field(&field.name);
            match &field.shape {
                Shape::One(one) => self.one(here, field, one, slot.kept, &path),
                Shape::List(list) => self.apply(here, &list.size, &Value::Integer(slot.count as i128), &path),
                Shape::Map(map) if slot.count > 0 || !map.size.list.is_empty() => {
                    if let Err(reason) = self.map(here, field, map, bytes, &path) {
                        self.malformed(here, &path, reason);
                    }
                }
                Shape::Map(_) => {}
            }
            // What a `oneof` is asked for below.
            self.slots[here.base + i].count = slot.count;
        }
        for oneof in &here.plan.oneofs {
            let Some(rule) = &oneof.required else { continue };
            if oneof.members.iter().all(|m| self.slots[here.base + m].count == 0) {
                self.broken(here, &here.path.field(&oneof.name), rule);
            }
        }
    }

    fn one(&mut self, here: Here<'_>, field: &Field, one: &'static One, kept: Kept<'a>, path: &Path<'_>) {
        if !matches!(kept, Kept::Nothing) {
            return self.kept(here, &one.element, kept, path);
        }
        if let Some(rule) = &one.required
            && field.oneof.is_none()
        {
            self.broken(here, path, rule);
        }
        if let Element::Scalar(scalar, checks) = &one.element
            && !one.has_presence
        {
            self.apply(here, checks, &scalar.default(), path);
        }
    }

    fn kept(&mut self, here: Here<'_>, element: &'static Element, kept: Kept<'a>, path: &Path<'_>) {
        match kept {
            Kept::Nothing => {}
            Kept::Raw(raw) => self.element(here, element, raw, path),
            Kept::Merged(bytes) => {
                // The merged bytes live only here, so their slots must too.
                let mut inner = Walker::new(self.registry);
                inner.found = std::mem::take(&mut self.found);
                inner.element(here, element, Raw::Bytes(&bytes), path);
                self.found = inner.found;
            }
        }
    }

    fn element(&mut self, here: Here<'_>, element: &'static Element, raw: Raw<'a>, path: &Path<'_>) {
        let done = match element {
            Element::Scalar(scalar, checks) => self.scalar(here, *scalar, checks, raw, path),
            Element::Message(None) => Ok(()),
            Element::Message(Some(plan)) => value::message_bytes(raw).map(|bytes| {
                let registry = self.registry;
                self.message(&registry.plans[*plan], bytes, path, here.depth);
            }),
            Element::Any(checks) => {
                value::message_bytes(raw).and_then(|bytes| self.any(Some((here, checks)), bytes, path, here.depth))
            }
            Element::Wrapper(scalar, checks) => value::message_bytes(raw)
                .and_then(|bytes| value::unwrap(*scalar, bytes))
                .map(|value| self.apply(here, checks, &value, path)),
            Element::Time(checks) => value::message_bytes(raw)
                .and_then(value::nanoseconds)
                .map(|value| self.apply(here, checks, &value, path)),
        };
        if let Err(reason) = done {
            self.malformed(here, path, reason);
        }
    }

    fn scalar(
        &mut self,
        here: Here<'_>,
        scalar: Scalar,
        checks: &'static Checks,
        raw: Raw<'_>,
        path: &Path<'_>,
    ) -> Result<(), Malformed> {
        if !checks.list.is_empty() {
            self.apply(here, checks, &scalar.value(raw)?, path);
        }
        Ok(())
    }

    fn apply(&mut self, here: Here<'_>, checks: &'static Checks, value: &Value<'_>, path: &Path<'_>) {
        for rule in checks.broken_by(value) {
            self.report(&here.plan.name, path, &rule.name, &rule.reason);
        }
    }
}
