use std::fmt;

use mesh_xds_api::TypeUrl;

use crate::filter::FactoryError;

/// One field that is refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FieldError {
    /// Path from the resource, such as `filter_chains[0].filters[1].typed_config.foo`; empty for the resource itself.
    pub path: String,
    /// What is wrong with it, or that it is not carried.
    pub reason: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.reason) } else { write!(f, "{}: {}", self.path, self.reason) }
    }
}

impl FieldError {
    /// `path` is refused because of `reason`.
    pub fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }

    /// The same error, seen from the message that holds the field `parent`.
    #[must_use]
    pub fn within(mut self, parent: impl fmt::Display) -> Self {
        self.path = match self.path.as_str() {
            "" => parent.to_string(),
            path if path.starts_with('[') => format!("{parent}{path}"),
            path => format!("{parent}.{path}"),
        };
        self
    }
}

impl From<FactoryError> for FieldError {
    fn from(error: FactoryError) -> Self {
        Self { path: error.path, reason: error.reason }
    }
}

impl From<FieldError> for FactoryError {
    fn from(error: FieldError) -> Self {
        Self { path: error.path, reason: error.reason }
    }
}

/// A resource that is refused. Its `Display` form is what the control plane is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {resource:?}: {}", type_url.message_name(), list(fields))]
pub struct Rejection {
    /// Type of the resource.
    pub type_url: TypeUrl,
    /// Its name.
    pub resource: String,
    /// The refused fields: at least one, at most [`MAX_FIELDS`](super::MAX_FIELDS).
    pub fields: Vec<FieldError>,
}

fn list(fields: &[FieldError]) -> String {
    fields.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Names the field an error occurred in, on the way up.
pub(crate) trait At<T> {
    /// See [`FieldError::within`].
    fn at(self, parent: impl fmt::Display) -> Result<T, FieldError>;
}

impl<T, E: Into<FieldError>> At<T> for Result<T, E> {
    fn at(self, parent: impl fmt::Display) -> Result<T, FieldError> {
        self.map_err(|error| error.into().within(parent))
    }
}

/// Shorthand of the translators.
pub(crate) type Translated<T> = Result<T, FieldError>;

/// A refusal of the message itself; callers add the path.
pub(crate) fn refuse<T>(reason: impl Into<String>) -> Translated<T> {
    Err(FieldError::new("", reason))
}

/// A refusal of a field of the message at hand.
pub(crate) fn refuse_field<T>(path: impl Into<String>, reason: impl Into<String>) -> Translated<T> {
    Err(FieldError::new(path, reason))
}
