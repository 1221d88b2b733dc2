//! Faults of values, with what was expected.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::position::Position;

/// A fault of a value.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// Where; `None` until the value around it adds its own.
    pub(super) place: Option<(String, Position)>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, place: None }
    }

    /// A field that must be there is not.
    pub(super) fn required(path: &str, position: Position) -> Self {
        Self { place: Some((path.to_owned(), position)), ..Self::new(format!("{path} is required")) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {found}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {found}"))
    }
}

/// Puts a path before that of a fault.
pub(super) fn extend(fault: &mut Fault, prefix: &str) {
    if let Some((path, _)) = &mut fault.place {
        let dot = if prefix.is_empty() || path.is_empty() || path.starts_with('[') { "" } else { "." };
        *path = format!("{prefix}{dot}{path}");
    }
}
