//! The values of one YAML document, each with its position.

use std::sync::Arc;

use crate::position::{Children, FieldPosition, Position, PositionNode};

/// A value and where it begins. An alias shares the node of its anchor.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) position: Position,
    pub(crate) data: Data,
}

/// A value.
#[derive(Debug)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Arc<Node>>),
    Map(Vec<Entry>),
}

/// A field of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) position: Position,
    pub(crate) value: Arc<Node>,
}

impl Node {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    /// The field of a mapping, unless it is absent or null.
    pub(crate) fn field(&self, name: &str) -> Option<&Arc<Node>> {
        self.entries().iter().find(|entry| entry.key == name).map(|entry| &entry.value).filter(|node| !node.is_null())
    }

    /// The fields of a mapping; none for other values.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The text, when it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What a message calls the value.
    pub(crate) fn describe(&self) -> String {
        match &self.data {
            Data::Null => "nothing".to_owned(),
            Data::Bool(value) => format!("the boolean {value}"),
            Data::Int(value) => format!("the number {value}"),
            Data::Float(value) => format!("the number {value}"),
            Data::Text(text) if text.len() <= 40 => format!("the text {text:?}"),
            Data::Text(_) => "a text".to_owned(),
            Data::List(_) => "a list".to_owned(),
            Data::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The positions alone, without the values (which may be secret).
    pub(crate) fn positions(&self) -> PositionNode {
        let children = match &self.data {
            Data::List(items) => Children::Items(items.iter().map(|item| item.positions()).collect()),
            Data::Map(entries) => Children::Fields(
                entries
                    .iter()
                    .map(|entry| FieldPosition {
                        name: entry.key.as_str().into(),
                        key: entry.position,
                        node: entry.value.positions(),
                    })
                    .collect(),
            ),
            _ => Children::None,
        };
        PositionNode { value: self.position, children }
    }
}
