//! Findings: what is wrong, where, and what to do.

mod catalogue;
mod fix;
mod render;
mod sarif;
mod suppression;

use std::{cmp::Reverse, fmt, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeMap};

pub use self::{
    catalogue::Code,
    render::{TextRenderer, render_json},
    sarif::render_sarif,
    suppression::{InvalidSuppression, SUPPRESS_ANNOTATION, Suppression, suppress},
};
use crate::{
    model::{Object, ObjectKey, SourceLocation},
    path::FieldPath,
    position::Position,
};

/// How grave a finding is, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Probably not what is meant.
    Warning,
    /// Refused, or without effect.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// The text names no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown level {0:?}: use error, warning or info")]
pub struct UnknownLevel(String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        match text {
            "info" => Ok(Self::Info),
            "warning" => Ok(Self::Warning),
            "error" => Ok(Self::Error),
            other => Err(UnknownLevel(other.to_owned())),
        }
    }
}

/// One finding.
///
/// As JSON: `{code, level, resource, message, file, line, documentation}`, and `column`, `path` and `help` where they are
/// known. `documentation` is an address, or the place of a page in the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// What it is about.
    pub code: Code,
    /// How grave it is.
    pub level: Level,
    /// The object, `Kind namespace/name` (`Kind name` when it names no namespace); empty when it is about none.
    pub resource: String,
    /// The object's key, when it is known. Not a part of the JSON form.
    pub key: Option<ObjectKey>,
    /// What is wrong.
    pub message: String,
    /// The file; empty when there is none.
    pub file: Arc<str>,
    /// Where in the file.
    pub position: Position,
    /// The field, such as `spec.http[0].timeout`; empty when it is not about a field.
    pub path: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding about a place that is no object; `args` fill the code's template.
    #[must_use]
    pub fn at(code: Code, location: &SourceLocation, args: &[&dyn fmt::Display]) -> Self {
        Self {
            code,
            level: code.level(),
            resource: String::new(),
            key: None,
            message: code.message(args),
            file: Arc::clone(&location.file),
            position: location.position,
            path: String::new(),
            help: None,
        }
    }

    /// A finding about a field of an object; `args` fill the code's template.
    #[must_use]
    pub fn on(code: Code, object: &Object, path: FieldPath<'_>, args: &[&dyn fmt::Display]) -> Self {
        let path = path.to_string();
        let position = object.positions.locate(&path);
        Self {
            resource: object.resource(),
            key: Some(object.key().clone()),
            position: if position.is_known() { position } else { object.source.position },
            path,
            ..Self::at(code, &object.source, args)
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether it is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.level == Level::Error
    }
}

impl fmt::Display for Diagnostic {
    /// One line: `file:line:column: level[code] resource: message (help)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}:", self.file)?;
            if self.position.is_known() {
                write!(f, "{}:", self.position)?;
            }
            f.write_str(" ")?;
        }
        write!(f, "{}[{}] ", self.level, self.code)?;
        if !self.resource.is_empty() {
            write!(f, "{}: ", self.resource)?;
        }
        f.write_str(&self.message)?;
        if !self.path.is_empty() {
            write!(f, " at {}", self.path)?;
        }
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", self.code.as_str())?;
        map.serialize_entry("level", &self.level)?;
        map.serialize_entry("resource", &self.resource)?;
        map.serialize_entry("message", &self.message)?;
        map.serialize_entry("file", &*self.file)?;
        map.serialize_entry("line", &self.position.line)?;
        if self.position.is_known() {
            map.serialize_entry("column", &self.position.column)?;
        }
        if !self.path.is_empty() {
            map.serialize_entry("path", &self.path)?;
        }
        if let Some(help) = &self.help {
            map.serialize_entry("help", help)?;
        }
        map.serialize_entry("documentation", &self.code.documentation())?;
        map.end()
    }
}

/// The gravest level of some findings.
#[must_use]
pub fn worst_level<'a>(diagnostics: impl IntoIterator<Item = &'a Diagnostic>) -> Option<Level> {
    diagnostics.into_iter().map(|diagnostic| diagnostic.level).max()
}

/// Puts findings in order: by file and position, the gravest first at the same place.
pub fn sort_diagnostics(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by(|a, b| {
        let key = |d: &Diagnostic| (Arc::clone(&d.file), d.position, Reverse(d.level), d.code);
        key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message))
    });
}
