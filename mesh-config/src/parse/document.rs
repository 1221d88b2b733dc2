//! YAML text to documents: one tree per document, and one error per document that cannot be read.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_saphyr::granit_parser::{self, ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError};

use super::{
    node::{Data, Entry, Node},
    scalar,
};
use crate::position::Position;

/// The most values that one document may hold, aliases expanded.
pub const MAX_NODES: usize = 1_000_000;
/// The most values that all documents of one file may hold, aliases expanded.
pub const MAX_FILE_NODES: usize = 2_000_000;
/// The most documents that one file may hold.
pub const MAX_DOCUMENTS: usize = 50_000;
/// The longest single value, in bytes: more than any object of a cluster may hold.
pub const MAX_SCALAR_BYTES: usize = 4 * 1024 * 1024;
/// How deep collections may nest, aliases expanded.
pub const MAX_DEPTH: usize = 100;

/// Why a document cannot be read, and where.
#[derive(Debug)]
pub(super) struct DocumentError {
    pub(super) position: Position,
    pub(super) message: String,
    /// Whether the rest of the file is not read: it is made to cost much.
    ends_file: bool,
}

impl DocumentError {
    fn new(position: Position, message: impl Into<String>) -> Self {
        Self { position, message: message.into(), ends_file: false }
    }

    fn limit(position: Position, message: String) -> Self {
        Self { ends_file: true, ..Self::new(position, message) }
    }

    fn too_deep(position: Position) -> Self {
        Self::limit(position, format!("values are nested more than {MAX_DEPTH} deep, aliases expanded: flatten them"))
    }
}

impl From<ScanError> for DocumentError {
    fn from(error: ScanError) -> Self {
        let at = position(error.marker());
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            Self::too_deep(at)
        } else {
            Self::new(at, error.info())
        }
    }
}

/// Reads every document; an error in one does not touch the others, but for a limit of nesting or of values, which ends
/// the file.
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
                let ends_file = error.ends_file;
                found.push(Err(error));
                builder = Builder { left: builder.left, ..Builder::default() };
                if ends_file || !matches!(parser.proceed_next_document(), Ok(true)) {
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
struct Open {
    position: Position,
    values: Values,
    /// The number of its anchor; 0: none.
    anchor: usize,
    /// How many values stand before it.
    before: usize,
    /// How deep the deepest of its values is.
    depth: usize,
}

/// What a collection holds so far.
enum Values {
    List(Vec<Arc<Node>>),
    Map { entries: Vec<Entry>, keys: HashSet<String>, key: Option<(String, Position)> },
}

/// A whole value: as many nodes as it has with aliases expanded, and as deep.
#[derive(Clone)]
struct Whole {
    node: Arc<Node>,
    size: usize,
    depth: usize,
}

/// Puts the tree of one document together from events.
struct Builder {
    /// Open collections, the outermost first.
    stack: Vec<Open>,
    anchors: HashMap<usize, Whole>,
    nodes: usize,
    root: Option<Arc<Node>>,
    /// How many values the file may hold yet.
    left: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self { stack: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None, left: MAX_FILE_NODES }
    }
}

impl Builder {
    /// Takes one event; gives the tree when the document ends.
    fn event(&mut self, event: Event<'_>, at: Position) -> Result<Option<Arc<Node>>, DocumentError> {
        match event {
            Event::DocumentStart(..) => *self = Self { left: self.left, ..Self::default() },
            Event::DocumentEnd => {
                let empty = || Arc::new(Node { position: at, data: Data::Null });
                return Ok(Some(self.root.take().unwrap_or_else(empty)));
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
                self.place(Whole { node: Arc::new(Node { position: at, data }), size: 1, depth: 0 }, anchor, at)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(Values::List(Vec::new()), anchor, at)?;
            }
            Event::MappingStart(_, anchor, _) => {
                let values = Values::Map { entries: Vec::new(), keys: HashSet::new(), key: None };
                self.open(values, anchor, at)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at)?,
            Event::Alias(id) => {
                let whole = self.anchors.get(&id).cloned();
                let whole = whole.ok_or_else(|| DocumentError::new(at, "the alias stands inside its own anchor"))?;
                self.count(whole.size, at)?;
                self.place(whole, 0, at)?;
            }
            _ => {}
        }
        Ok(None)
    }

    fn open(&mut self, values: Values, anchor: usize, at: Position) -> Result<(), DocumentError> {
        self.count(1, at)?;
        if self.stack.len() >= MAX_DEPTH {
            return Err(DocumentError::too_deep(at));
        }
        self.stack.push(Open { position: at, values, anchor, before: self.nodes, depth: 0 });
        Ok(())
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), DocumentError> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.left = self.left.saturating_sub(nodes);
        if self.left == 0 {
            let message = format!("the file holds more than {MAX_FILE_NODES} values, aliases expanded: split it");
            return Err(DocumentError::limit(at, message));
        }
        if self.nodes > MAX_NODES {
            let message = format!("the document holds more than {MAX_NODES} values, aliases expanded: split it");
            return Err(DocumentError::limit(at, message));
        }
        Ok(())
    }

    fn close(&mut self, at: Position) -> Result<(), DocumentError> {
        let Some(open) = self.stack.pop() else { return Ok(()) };
        let data = match open.values {
            Values::List(items) => Data::List(items),
            Values::Map { entries, .. } => Data::Map(merge(entries)?),
        };
        let node = Arc::new(Node { position: open.position, data });
        self.place(Whole { node, size: self.nodes - open.before + 1, depth: open.depth + 1 }, open.anchor, at)
    }

    /// Puts a finished value into the collection around it.
    fn place(&mut self, whole: Whole, anchor: usize, at: Position) -> Result<(), DocumentError> {
        if self.stack.len() + whole.depth > MAX_DEPTH {
            return Err(DocumentError::too_deep(at));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, whole.clone());
        }
        let node = whole.node;
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.depth = open.depth.max(whole.depth);
        match &mut open.values {
            Values::List(items) => items.push(node),
            Values::Map { entries, keys, key } => match key.take() {
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

    #[test]
    fn depth_counts_through_aliases() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(documents(&nested(MAX_DEPTH))[0].is_ok());
        assert!(documents(&nested(MAX_DEPTH + 1))[0].is_err());
        let mut text = String::from("a0: &a0 x\n");
        for level in 1..30 {
            text.push_str(&format!("a{level}: &a{level} [[[[*a{}]]]]\n", level - 1));
        }
        let refused = documents(&text).remove(0).unwrap_err();
        assert!(refused.message.contains("100 deep"), "{}", refused.message);
        // 1 for the mapping around, 4 for each level: 24 levels fit.
        assert_eq!(refused.position.line, 26);
    }
}
