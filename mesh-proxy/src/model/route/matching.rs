//! What a route is chosen by.

use ::http::{HeaderMap, header::COOKIE};

use super::UriTemplate;
use crate::model::{HeaderMatcher, QueryMatcher, StringMatcher};

/// `route.v3.RouteMatch`.
#[derive(Clone, Debug, Default)]
pub struct RouteMatch {
    /// Condition on the path (without query).
    pub path: PathMatch,
    /// ASCII case of the path is ignored (exact and prefix).
    pub ignore_case: bool,
    /// All must match.
    pub headers: Vec<HeaderMatcher>,
    /// All must match.
    pub query: Vec<QueryMatcher>,
    /// All must match.
    pub cookies: Vec<CookieMatcher>,
    /// Only gRPC requests.
    pub grpc: bool,
    /// Share of requests.
    pub fraction: Option<RuntimeFraction>,
    /// Condition on the client certificate: presented, validated.
    pub tls_presented: Option<bool>,
    /// See `tls_presented`.
    pub tls_validated: Option<bool>,
}

/// Condition on the path.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// Starts with.
    Prefix(String),
    /// Equal.
    Exact(String),
    /// Equal, or followed by a slash (`path_separated_prefix`).
    SeparatedPrefix(String),
    /// The whole path matches.
    Regex(regex::Regex),
    /// The whole path matches (`uri_template`).
    Template(UriTemplate),
    /// A `CONNECT` request.
    Connect,
}

impl Default for PathMatch {
    /// Every path.
    fn default() -> Self {
        PathMatch::Prefix(String::new())
    }
}

/// `route.v3.CookieMatcher`.
#[derive(Clone, Debug)]
pub struct CookieMatcher {
    /// Name of the cookie.
    pub name: String,
    /// Condition on its first value. A missing cookie satisfies no condition, not even an inverted one.
    pub value: StringMatcher,
    /// The result is inverted.
    pub invert: bool,
}

/// `core.v3.RuntimeFractionalPercent`, the default value only: this proxy has no runtime layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeFraction {
    /// Of `denominator`.
    pub numerator: u32,
    /// 100, 10 000 or 1 000 000.
    pub denominator: u32,
}

impl CookieMatcher {
    /// Whether the cookies of a request satisfy the condition.
    #[must_use]
    pub fn matches(&self, headers: &HeaderMap) -> bool {
        cookie(headers, &self.name).is_some_and(|value| self.value.matches(value) != self.invert)
    }
}

/// The first value of a cookie, without the quotes that may be around it (RFC 6265, section 4.1.1).
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';')).find_map(
        |pair| {
            let (key, value) = pair.trim().split_once('=')?;
            let inside = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            (key == name).then_some(inside.unwrap_or(value))
        },
    )
}
