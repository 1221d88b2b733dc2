use ::http::HeaderName;

/// `type.matcher.v3.StringMatcher`, compiled.
#[derive(Clone, Debug)]
pub enum StringMatcher {
    /// Equal.
    Exact(String),
    /// Equal, ASCII letters compared without case.
    ExactIgnoreCase(String),
    /// Starts with; the flag says whether ASCII case is ignored (the text is then lower case).
    Prefix(String, bool),
    /// Ends with; flag as in `Prefix`.
    Suffix(String, bool),
    /// Contains; flag as in `Prefix`.
    Contains(String, bool),
    /// The whole text matches (RE2 semantics, linear time; the expression is anchored).
    Regex(regex::Regex),
}

impl StringMatcher {
    /// Whether `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            StringMatcher::Exact(m) => text == m,
            StringMatcher::ExactIgnoreCase(m) => text.eq_ignore_ascii_case(m),
            StringMatcher::Prefix(m, false) => text.starts_with(m.as_str()),
            StringMatcher::Suffix(m, false) => text.ends_with(m.as_str()),
            StringMatcher::Contains(m, false) => text.contains(m.as_str()),
            StringMatcher::Prefix(m, true) => {
                text.as_bytes().get(..m.len()).is_some_and(|head| head.eq_ignore_ascii_case(m.as_bytes()))
            }
            StringMatcher::Suffix(m, true) => text
                .len()
                .checked_sub(m.len())
                .is_some_and(|at| text.as_bytes()[at..].eq_ignore_ascii_case(m.as_bytes())),
            StringMatcher::Contains(m, true) => text.to_ascii_lowercase().contains(m.as_str()),
            StringMatcher::Regex(m) => m.is_match(text),
        }
    }
}

/// `route.v3.HeaderMatcher`.
///
/// A header that occurs several times is matched as its values joined with a comma, as Envoy does.
#[derive(Clone, Debug)]
pub struct HeaderMatcher {
    /// Header looked at. Pseudo headers are `:method`, `:path`, `:authority`, `:scheme`.
    pub name: HeaderKey,
    /// Condition.
    pub matches: HeaderMatch,
    /// The result is inverted.
    pub invert: bool,
    /// A missing header counts as an empty one.
    pub missing_as_empty: bool,
}

/// A header or pseudo header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HeaderKey {
    /// `:method`.
    Method,
    /// `:path`, query included.
    Path,
    /// `:authority` (HTTP/1.1: `Host`).
    Authority,
    /// `:scheme`.
    Scheme,
    /// Any other.
    Name(HeaderName),
}

/// Condition of a [`HeaderMatcher`].
#[derive(Clone, Debug)]
pub enum HeaderMatch {
    /// Present (`true`) or absent (`false`).
    Present(bool),
    /// The value matches.
    Value(StringMatcher),
    /// The value is a decimal integer in `[start, end)`.
    Range(i64, i64),
}

/// `route.v3.QueryParameterMatcher`.
#[derive(Clone, Debug)]
pub struct QueryMatcher {
    /// Parameter name.
    pub name: String,
    /// Condition on its first value; `None` means present.
    pub value: Option<StringMatcher>,
}

#[cfg(test)]
mod tests {
    use super::StringMatcher as M;

    #[test]
    fn ignores_case_only_when_asked() {
        assert!(M::Prefix("ab".into(), true).matches("ABc"));
        assert!(!M::Prefix("ab".into(), false).matches("ABc"));
        assert!(M::Suffix("bc".into(), true).matches("aBC"));
        assert!(!M::Suffix("abcd".into(), true).matches("bcd"));
        assert!(M::Contains("b".into(), true).matches("aBc"));
        assert!(!M::Prefix("é".into(), true).matches("e"));
    }
}
