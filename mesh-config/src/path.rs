//! Field paths, built on the stack while a value is walked and written out only for a finding.

use std::fmt;

use crate::position::push_field;

/// A field path such as `spec.http[0].route[1].weight`.
///
/// Made from the path above it, so that walking a value allocates nothing:
///
/// ```
/// use mesh_config::FieldPath;
///
/// let http = FieldPath::spec();
/// let http = http.field("http");
/// assert_eq!(http.index(0).field("timeout").to_string(), "spec.http[0].timeout");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FieldPath<'a> {
    parent: Option<&'a Self>,
    part: Part<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl<'a> FieldPath<'a> {
    /// The object itself.
    #[must_use]
    pub const fn root() -> Self {
        Self { parent: None, part: Part::Root }
    }

    /// The object's `spec`.
    #[must_use]
    pub const fn spec() -> Self {
        Self { parent: None, part: Part::Field("spec") }
    }

    /// A field of this value.
    #[must_use]
    pub const fn field<'b>(&'b self, name: &'b str) -> FieldPath<'b> {
        FieldPath { parent: Some(self), part: Part::Field(name) }
    }

    /// An item of this list, counted from 0.
    #[must_use]
    pub const fn index<'b>(&'b self, index: usize) -> FieldPath<'b> {
        FieldPath { parent: Some(self), part: Part::Index(index) }
    }

    fn write(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(out);
        }
        match self.part {
            Part::Root => {}
            Part::Field(name) => push_field(out, name),
            Part::Index(index) => {
                out.push('[');
                out.push_str(&index.to_string());
                out.push(']');
            }
        }
    }
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&out)
    }
}
