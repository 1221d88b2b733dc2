//! YAML text to documents: one tree per document, and one error per document that cannot be read.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_saphyr::granit_parser::{self, Event, Marker, Parser, ScalarStyle, ScanError};

use super::{
    node::{Data, Entry, Node},
    scalar,
};
use crate::position::Position;

/// The most values that one document may hold, aliases expanded.
pub const MAX_NODES: usize = 1_000_000;
/// The most documents that one file may hold.
pub const MAX_DOCUMENTS: usize = 50_000;
/// The longest single value, in bytes: more than any object of a cluster may hold.
pub const MAX_SCALAR_BYTES: usize = 4 * 1024 * 1024;
/// How deep values may nest.
pub const MAX_DEPTH: usize = 100;

/// Why a document cannot be read, and where.
#[derive(Debug)]
pub(super) struct DocumentError {
    pub(super) position: Position,
    pub(super) message: String,
}

impl DocumentError {
    fn new(position: Position, message: impl Into<String>) -> Self {
        Self { position, message: message.into() }
    }
}

impl From<ScanError> for DocumentError {
    fn from(error: ScanError) -> Self {
        Self::new(position(error.marker()), error.info())
    }
}

/// Reads every document; an error in one does not touch the others.
pub(super) fn documents(text: &str) -> Vec<Result<Arc<Node>, DocumentError>> {
    let options = granit_parser::options! {
        emit_comments: false,
        block_nesting_limit: MAX_DEPTH,
        flow_nesting_limit: MAX_DEPTH
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut found = Vec::new();
    let mut builder = Builder::default();
    while let Some(event) = parser.next_event() {
        let step =
            event.map_err(DocumentError::from).and_then(|(event, span)| builder.event(event, position(&span.start)));
        match step {
            Ok(None) => continue,
            Ok(Some(root)) => found.push(Ok(root)),
            Err(error) => {
                found.push(Err(error));
                builder = Builder::default();
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
        if found.len() >= MAX_DOCUMENTS {
            let message = format!("the file holds more than {MAX_DOCUMENTS} documents: split it");
            found.push(Err(DocumentError::new(Position { line: 1, column: 1 }, message)));
            break;
        }
    }
    found
}

fn position(marker: &Marker) -> Position {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Position { line: number(marker.line()), column: number(marker.col()).saturating_add(1) }
}

/// A collection that is being read.
enum Open {
    List { position: Position, items: Vec<Arc<Node>> },
    Map { position: Position, entries: Vec<Entry>, keys: HashSet<String>, key: Option<(String, Position)> },
}

/// Puts the tree of one document together from events.
#[derive(Default)]
struct Builder {
    /// Open collections with their anchor (0: none) and the number of values before them.
    stack: Vec<(Open, usize, usize)>,
    anchors: HashMap<usize, (Arc<Node>, usize)>,
    nodes: usize,
    root: Option<Arc<Node>>,
}

impl Builder {
    /// Takes one event; gives the tree when the document ends.
    fn event(&mut self, event: Event<'_>, at: Position) -> Result<Option<Arc<Node>>, DocumentError> {
        match event {
            Event::DocumentStart(..) => *self = Self::default(),
            Event::DocumentEnd => {
                let empty = || Arc::new(Node { position: at, data: Data::Null });
                return Ok(Some(std::mem::take(self).root.unwrap_or_else(empty)));
            }
            Event::Scalar(text, ..) if text.len() > MAX_SCALAR_BYTES => {
                let message = format!("a value is longer than {MAX_SCALAR_BYTES} bytes");
                return Err(DocumentError::new(at, message));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let forced_text = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let data = if style == ScalarStyle::Plain && !forced_text {
                    scalar::resolve(&text)
                } else {
                    Data::Text(text.into_owned())
                };
                self.count(1, at)?;
                self.place(Arc::new(Node { position: at, data }), anchor, 1, at)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.count(1, at)?;
                self.stack.push((Open::List { position: at, items: Vec::new() }, anchor, self.nodes));
            }
            Event::MappingStart(_, anchor, _) => {
                self.count(1, at)?;
                let open = Open::Map { position: at, entries: Vec::new(), keys: HashSet::new(), key: None };
                self.stack.push((open, anchor, self.nodes));
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at)?,
            Event::Alias(id) => {
                let (node, size) = self
                    .anchors
                    .get(&id)
                    .cloned()
                    .ok_or_else(|| DocumentError::new(at, "the alias stands inside its own anchor"))?;
                self.count(size, at)?;
                self.place(node, 0, size, at)?;
            }
            _ => {}
        }
        Ok(None)
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), DocumentError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            let message = format!("the document holds more than {MAX_NODES} values, aliases expanded: split it");
            return Err(DocumentError::new(at, message));
        }
        Ok(())
    }

    fn close(&mut self, at: Position) -> Result<(), DocumentError> {
        let Some((open, anchor, before)) = self.stack.pop() else { return Ok(()) };
        let (position, data) = match open {
            Open::List { position, items } => (position, Data::List(items)),
            Open::Map { position, entries, .. } => (position, Data::Map(merge(entries)?)),
        };
        let size = self.nodes - before + 1;
        self.place(Arc::new(Node { position, data }), anchor, size, at)
    }

    /// Puts a finished value into the collection around it.
    fn place(&mut self, node: Arc<Node>, anchor: usize, size: usize, at: Position) -> Result<(), DocumentError> {
        if anchor > 0 {
            self.anchors.insert(anchor, (Arc::clone(&node), size));
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some((Open::List { items, .. }, ..)) => items.push(node),
            Some((Open::Map { entries, keys, key, .. }, ..)) => match key.take() {
                None => *key = Some((key_text(&node, at)?, at)),
                Some((key, position)) => {
                    if key != "<<" && !keys.insert(key.clone()) {
                        let message = format!("the key {key:?} stands twice in the same mapping: remove one");
                        return Err(DocumentError::new(position, message));
                    }
                    entries.push(Entry { key, position, value: node });
                }
            },
        }
        Ok(())
    }
}

fn key_text(node: &Node, at: Position) -> Result<String, DocumentError> {
    match &node.data {
        Data::Text(text) => Ok(text.clone()),
        Data::Int(number) => Ok(number.to_string()),
        Data::Bool(value) => Ok(value.to_string()),
        Data::Float(number) => Ok(number.to_string()),
        Data::Null | Data::List(_) | Data::Map(_) => {
            Err(DocumentError::new(at, format!("{} cannot be a key: use a text", node.describe())))
        }
    }
}

/// Resolves merge keys (`<<`): fields that are written out win over merged ones.
fn merge(entries: Vec<Entry>) -> Result<Vec<Entry>, DocumentError> {
    if entries.iter().all(|entry| entry.key != "<<") {
        return Ok(entries);
    }
    let (merged, mut entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.key == "<<");
    for merge in merged {
        let sources: Vec<&Arc<Node>> = match &merge.value.data {
            Data::List(items) => items.iter().collect(),
            _ => vec![&merge.value],
        };
        for source in sources {
            let Data::Map(fields) = &source.data else {
                return Err(DocumentError::new(merge.position, "a merge key needs a mapping or a list of mappings"));
            };
            for field in fields {
                if entries.iter().all(|entry| entry.key != field.key) {
                    entries.push(field.clone());
                }
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_costs_one_document() {
        let text = "a: 1\n---\nb: [1, 2\n---\nc: &x {d: 1}\ne: *x\n---\na: 1\na: 2\n---\nf: 1\n";
        let found = documents(text);
        let shape: Vec<_> = found.iter().map(Result::is_ok).collect();
        assert_eq!(shape, [true, false, true, false, true]);
        let twice = found[3].as_ref().unwrap_err();
        assert_eq!((twice.position.line, twice.position.column), (9, 1), "{}", twice.message);
    }

    #[test]
    fn merges_and_shares() {
        let text = "base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n";
        let root = documents(text).remove(0).unwrap();
        let merged = root.field("use").unwrap();
        assert!(matches!(merged.field("x").unwrap().data, Data::Int(1)));
        assert!(matches!(merged.field("y").unwrap().data, Data::Int(3)));
        assert_eq!(merged.field("y").unwrap().position, Position { line: 4, column: 6 });
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let inner = vec![format!("*a{}", level - 1); 10].join(",");
            text.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
        }
        let found = documents(&text);
        assert!(found[0].as_ref().unwrap_err().message.contains("more than"));
    }
}
