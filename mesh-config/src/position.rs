//! Where each value of an object was written.

use std::{fmt, sync::Arc};

/// A line and column of a file, both counted from 1; 0 means unknown. Columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Position {
    /// Whether the position is known.
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.line > 0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One step of a field path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A field of a mapping.
    Field(&'a str),
    /// An item of a list, counted from 0.
    Index(usize),
}

/// Where each value of an object was written, by its field path.
///
/// Paths are written `spec.http[0].route[1].weight`; a field whose name holds other characters than letters, digits,
/// `_` and `-` is quoted: `metadata.labels["app.kubernetes.io/name"]`. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct PositionMap {
    root: Arc<PositionNode>,
}

/// The positions beneath one value.
#[derive(Debug, Default)]
pub(crate) struct PositionNode {
    /// Where the value begins.
    pub(crate) value: Position,
    pub(crate) children: Children,
}

/// What lies beneath a value.
#[derive(Debug, Default)]
pub(crate) enum Children {
    #[default]
    None,
    Fields(Vec<FieldPosition>),
    Items(Vec<PositionNode>),
}

/// A field of a mapping.
#[derive(Debug)]
pub(crate) struct FieldPosition {
    pub(crate) name: Box<str>,
    /// Where its name begins.
    pub(crate) key: Position,
    pub(crate) node: PositionNode,
}

impl PositionMap {
    pub(crate) fn new(root: PositionNode) -> Self {
        Self { root: Arc::new(root) }
    }

    /// Where the object begins.
    #[must_use]
    pub fn start(&self) -> Position {
        self.root.value
    }

    /// Where the value at a path was written. For a path that was not written it is the nearest part above that was.
    #[must_use]
    pub fn locate(&self, path: &str) -> Position {
        let mut found = self.root.value;
        let mut node = &*self.root;
        for step in steps(path) {
            match (&node.children, step) {
                (Children::Fields(fields), Step::Field(name)) => {
                    let Some(field) = fields.iter().find(|field| &*field.name == name) else { break };
                    node = &field.node;
                    // A nested block begins on the line below; its field's name is what people look for.
                    found = if matches!(node.children, Children::None) { node.value } else { field.key };
                }
                (Children::Items(items), Step::Index(index)) => {
                    let Some(item) = items.get(index) else { break };
                    node = item;
                    found = node.value;
                }
                _ => break,
            }
        }
        found
    }

    /// Whether the value at a path was written.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        let mut node = &*self.root;
        for step in steps(path) {
            let next = match (&node.children, step) {
                (Children::Fields(fields), Step::Field(name)) => {
                    fields.iter().find(|field| &*field.name == name).map(|field| &field.node)
                }
                (Children::Items(items), Step::Index(index)) => items.get(index),
                _ => None,
            };
            let Some(next) = next else { return false };
            node = next;
        }
        true
    }

    /// Where the name of the field at a path was written, else as [`PositionMap::locate`].
    #[must_use]
    pub fn locate_key(&self, path: &str) -> Position {
        let mut node = &*self.root;
        let mut key = None;
        for step in steps(path) {
            key = None;
            match (&node.children, step) {
                (Children::Fields(fields), Step::Field(name)) => {
                    let Some(field) = fields.iter().find(|field| &*field.name == name) else { break };
                    (node, key) = (&field.node, Some(field.key));
                }
                (Children::Items(items), Step::Index(index)) => {
                    let Some(item) = items.get(index) else { break };
                    node = item;
                }
                _ => break,
            }
        }
        key.unwrap_or_else(|| self.locate(path))
    }
}

/// Takes a path apart. Text that is not a path ends the steps early.
pub(crate) fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if rest.is_empty() {
            return None;
        }
        if let Some(inner) = rest.strip_prefix("[\"") {
            let (name, tail) = inner.split_once("\"]")?;
            rest = tail;
            return Some(Step::Field(name));
        }
        if let Some(inner) = rest.strip_prefix('[') {
            let (index, tail) = inner.split_once(']')?;
            rest = tail;
            return index.parse().ok().map(Step::Index);
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        rest = tail;
        Some(Step::Field(name))
    })
}

/// Appends a field to a path, quoted where needed.
pub(crate) fn push_field(path: &mut String, name: &str) {
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
    } else {
        path.push_str("[\"");
        path.push_str(name);
        path.push_str("\"]");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_paths_apart() {
        let path = r#"metadata.labels["app.io/x"].a[3].b"#;
        let found: Vec<_> = steps(path).collect();
        use Step::*;
        assert_eq!(found, [Field("metadata"), Field("labels"), Field("app.io/x"), Field("a"), Index(3), Field("b")]);
        let mut built = String::from("metadata.labels");
        push_field(&mut built, "app.io/x");
        push_field(&mut built, "a");
        assert_eq!(built, r#"metadata.labels["app.io/x"].a"#);
        assert_eq!(steps("a[x].b").count(), 1);
    }
}
