//! Answers that a route gives itself.

use ::http::StatusCode;
use bytes::Bytes;

/// `route.v3.RedirectAction`.
#[derive(Clone, Debug, Default)]
pub struct Redirect {
    /// `https_redirect` or `scheme_redirect`.
    pub scheme: Option<String>,
    /// Host.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Path.
    pub path: RedirectPath,
    /// 301 (default), 302, 303, 307, 308.
    pub status: Option<StatusCode>,
    /// The query is dropped.
    pub strip_query: bool,
    /// The authority is told as it came, port included: of the redirect that `require_tls` makes.
    pub keep_authority: bool,
}

/// Path part of a redirect.
#[derive(Clone, Debug, Default)]
pub enum RedirectPath {
    /// Kept.
    #[default]
    Keep,
    /// Replaced; may carry a query.
    Full(String),
    /// Replaced by a text with operators (`path_rewrite`); may carry a query.
    Format(String),
    /// Matched prefix replaced.
    Prefix(String),
    /// Regular expression and replacement.
    Regex(regex::Regex, String),
}

/// `route.v3.DirectResponseAction`.
#[derive(Clone, Debug)]
pub struct DirectResponse {
    /// Status.
    pub status: StatusCode,
    /// Body.
    pub body: Bytes,
}
