//! From the values of a document to the model's types, with the path and position of every fault.

use std::{cell::RefCell, sync::Arc};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{
    fault::{Fault, extend},
    key::{KeyReader, Variant},
    node::{Data, Entry, Node},
};
use crate::{path::FieldPath, suggest};

/// What one reading shares: how strict it is, and the faults it can go on after.
#[derive(Debug)]
pub(super) struct Reading {
    strict: bool,
    faults: RefCell<Vec<Fault>>,
}

impl Reading {
    /// A strict reading reports fields that the model does not have; otherwise they are passed over.
    pub(super) fn new(strict: bool) -> Self {
        Self { strict, faults: RefCell::default() }
    }

    /// Reads the value that stands at `path`, with one of the model's types.
    pub(super) fn read<'a, T>(
        &'a self,
        node: &'a Node,
        path: &str,
        with: impl FnOnce(NodeReader<'a>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let start = self.faults.borrow().len();
        let mut result = with(NodeReader { node, reading: self }).map_err(|mut fault| {
            fault.place.get_or_insert_with(|| (String::new(), node.position));
            fault
        });
        // Each level adds its step to the faults that pass it, so that a reading without faults builds no paths.
        for fault in self.faults.borrow_mut().iter_mut().skip(start).chain(result.as_mut().err()) {
            extend(fault, path);
        }
        result
    }

    /// Adds a fault that the reading can go on after.
    pub(super) fn push(&self, fault: Fault) {
        self.faults.borrow_mut().push(fault);
    }

    /// The faults that did not stop the reading.
    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults.into_inner()
    }

    pub(super) fn unknown_field(&self, entry: &Entry, fields: &[&str]) {
        let mut fault = Fault::new(format!("unknown field {:?}", entry.key));
        fault.help = Some(match suggest::nearest(&entry.key, fields.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None if fields.len() <= 16 => format!("the fields here are: {}", fields.join(", ")),
            None => "remove it, or check its indentation".to_owned(),
        });
        fault.place = Some((FieldPath::root().field(&entry.key).to_string(), entry.position));
        self.push(fault);
    }
}

/// Reads one value.
#[derive(Clone, Copy)]
pub(super) struct NodeReader<'a> {
    node: &'a Node,
    reading: &'a Reading,
}

impl NodeReader<'_> {
    fn wrong(&self, expected: &str) -> Fault {
        let mut fault = Fault::new(format!("expected {expected}, found {}", self.node.describe()));
        if expected == "a text" && matches!(self.node.data, Data::Bool(_) | Data::Int(_) | Data::Float(_)) {
            fault.help = Some("put the value in quotes".to_owned());
        } else if matches!(self.node.data, Data::Text(_)) && matches!(expected, "a number" | "a boolean") {
            fault.help = Some("write the value without quotes".to_owned());
        }
        fault
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.node.data {
                Data::Int(value) => visitor.visit_i64(value),
                #[allow(clippy::cast_possible_truncation)] // whole and within 2^53: the conversion is exact
                Data::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => visitor.visit_i64(value as i64),
                _ => Err(self.wrong("a number")),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for NodeReader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.data {
            Data::Null => visitor.visit_unit(),
            Data::Bool(value) => visitor.visit_bool(*value),
            Data::Int(value) => visitor.visit_i64(*value),
            Data::Float(value) => visitor.visit_f64(*value),
            Data::Text(text) => visitor.visit_str(text),
            Data::List(_) => self.deserialize_seq(visitor),
            Data::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.data {
            Data::Bool(value) => visitor.visit_bool(value),
            _ => Err(self.wrong("a boolean")),
        }
    }

    numbers!(deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.data {
            #[allow(clippy::cast_precision_loss)] // a JSON number: the nearest one is what is meant
            Data::Int(value) => visitor.visit_f64(value as f64),
            Data::Float(value) => visitor.visit_f64(value),
            _ => Err(self.wrong("a number")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.data {
            Data::Text(text) => visitor.visit_str(text),
            _ => Err(self.wrong("a text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.data {
            Data::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate(), reader: self }),
            _ => Err(self.wrong("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.data {
            Data::Map(entries) => {
                visitor.visit_map(Fields { entries: entries.iter(), next: None, known: None, reader: self })
            }
            _ => Err(self.wrong("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.data {
            Data::Map(entries) => {
                visitor.visit_map(Fields { entries: entries.iter(), next: None, known: Some(fields), reader: self })
            }
            // As in protobuf's JSON form, an absent message is an empty one.
            Data::Null => {
                visitor.visit_map(Fields { entries: [].iter(), next: None, known: Some(fields), reader: self })
            }
            _ => Err(self.wrong("a mapping")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Data::Text(text) = &self.node.data else { return Err(self.wrong("a text")) };
        if !variants.contains(&text.as_str()) {
            let mut fault = Fault::new(format!("unknown value {text:?}"));
            fault.help = Some(match suggest::nearest(text, variants.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("the values are: {}", variants.join(", ")),
            });
            return Err(fault);
        }
        visitor.visit_enum(Variant(text))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct }
}

/// The items of a list.
struct Items<'a, I> {
    items: I,
    reader: NodeReader<'a>,
}

impl<'a, I: Iterator<Item = (usize, &'a Arc<Node>)>> SeqAccess<'a> for Items<'a, I> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        read_child(self.reader, &Child::Item(index), node, seed).map(Some)
    }
}

/// The fields of a mapping; `known` when they are those of a struct.
struct Fields<'a> {
    entries: std::slice::Iter<'a, Entry>,
    next: Option<&'a Entry>,
    known: Option<&'static [&'static str]>,
    reader: NodeReader<'a>,
}

impl<'a> MapAccess<'a> for Fields<'a> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        for entry in self.entries.by_ref() {
            if let Some(known) = self.known {
                if !known.contains(&entry.key.as_str()) {
                    if self.reader.reading.strict {
                        self.reader.reading.unknown_field(entry, known);
                    }
                    continue;
                }
                if entry.value.is_null() {
                    continue;
                }
            }
            self.next = Some(entry);
            let result = seed.deserialize(KeyReader(&entry.key));
            return result.map(Some).map_err(|mut fault| {
                fault.place = Some((FieldPath::root().field(&entry.key).to_string(), entry.position));
                fault
            });
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match self.next.take() {
            Some(entry) => read_child(self.reader, &Child::Field(&entry.key), &entry.value, seed),
            None => Err(Fault::new("a value was asked for before its key")),
        }
    }
}

enum Child<'a> {
    Field(&'a str),
    Item(usize),
}

fn read_child<'a, S: DeserializeSeed<'a>>(
    parent: NodeReader<'a>,
    child: &Child<'a>,
    node: &'a Node,
    seed: S,
) -> Result<S::Value, Fault> {
    let start = parent.reading.faults.borrow().len();
    let mut result = seed.deserialize(NodeReader { node, reading: parent.reading }).map_err(|mut fault| {
        fault.place.get_or_insert_with(|| (String::new(), node.position));
        fault
    });
    if result.is_err() || parent.reading.faults.borrow().len() > start {
        let step = match child {
            Child::Field(name) => FieldPath::root().field(name).to_string(),
            Child::Item(index) => FieldPath::root().index(*index).to_string(),
        };
        for fault in parent.reading.faults.borrow_mut().iter_mut().skip(start).chain(result.as_mut().err()) {
            extend(fault, &step);
        }
    }
    result
}
