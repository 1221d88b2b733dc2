//! One generated request.

use std::fmt;

use crate::proxies::Side;

/// A request as it is sent, but for its name, which tells the two proxies' copies apart.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) id: usize,
    pub(crate) listener: Listener,
    pub(crate) http2: bool,
    pub(crate) method: String,
    pub(crate) host: String,
    /// Path and query, as sent.
    pub(crate) path: String,
    /// In order; names may repeat.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Payload,
}

/// Where a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    Front,
    Other,
}

/// A request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    None,
    /// With `content-length`.
    Sized(String),
    /// Chunked (HTTP/1.1), or without a length (HTTP/2).
    Streamed(String),
}

/// The header that names a request.
pub(crate) const NAME: &str = "x-case";

impl Case {
    /// The name of this request where it goes through `side`. Both names have the same length.
    pub(crate) fn name(&self, side: Side) -> String {
        format!("{}{:06}", side.letter(), self.id)
    }

    /// Whether the proxies draw lots for this request.
    pub(crate) fn is_random(&self) -> bool {
        self.host == "random.test"
    }

    /// What the lot is about.
    pub(crate) fn choice(&self) -> String {
        let what = self.headers.iter().find(|(name, _)| name == "x-do").map_or("", |(_, value)| value);
        format!("{} {what}", self.path.split(['?', '/', '#']).nth(1).unwrap_or_default())
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = if self.http2 { 2 } else { 1 };
        write!(f, "#{} {:?} HTTP/{version} {} {} {:?}", self.id, self.listener, self.host, self.method, self.path)?;
        for (name, value) in &self.headers {
            write!(f, " {name}={value:?}")?;
        }
        match &self.body {
            Payload::None => Ok(()),
            Payload::Sized(body) => write!(f, " with {} bytes", body.len()),
            Payload::Streamed(body) => write!(f, " with {} bytes, streamed", body.len()),
        }
    }
}
