//! Changes of headers.

use ::http::{HeaderName, HeaderValue};

/// Header edits of one level (route, virtual host, table, weighted cluster).
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits {
    /// Applied to requests, in order, after the removals.
    pub request: Vec<HeaderEdit>,
    /// Removed from requests.
    pub request_remove: Vec<HeaderName>,
    /// Applied to responses.
    pub response: Vec<HeaderEdit>,
    /// Removed from responses.
    pub response_remove: Vec<HeaderName>,
}

impl HeaderEdits {
    /// Whether nothing is edited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.request.is_empty()
            && self.request_remove.is_empty()
            && self.response.is_empty()
            && self.response_remove.is_empty()
    }
}

/// `core.v3.HeaderValueOption`.
#[derive(Clone, Debug)]
pub struct HeaderEdit {
    /// Header.
    pub name: HeaderName,
    /// Value.
    pub value: HeaderValueFormat,
    /// What happens if it is there or not.
    pub append: AppendAction,
    /// An empty value is kept.
    pub keep_empty: bool,
}

/// `core.v3.HeaderValueOption.HeaderAppendAction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppendAction {
    /// Added, beside what is there.
    #[default]
    AppendIfExistsOrAdd,
    /// Added if absent.
    AddIfAbsent,
    /// Replaces, or adds.
    OverwriteIfExistsOrAdd,
    /// Replaces if present.
    OverwriteIfExists,
}

/// A header value: constant, or with command operators as access logs have.
#[derive(Clone, Debug)]
pub enum HeaderValueFormat {
    /// No operator in it.
    Literal(HeaderValue),
    /// Text with operators such as `%DOWNSTREAM_REMOTE_ADDRESS%`.
    Format(String),
}
