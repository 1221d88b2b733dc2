use std::borrow::Cow;

use ::http::{HeaderMap, HeaderName};

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
/// Of a header that occurs several times each value is looked at by itself, as Envoy does since 1.39: the condition holds
/// if one value satisfies it. An inverted one holds if none does.
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

/// What header conditions look at: one request, or the headers of a response (pseudo headers then empty).
#[derive(Clone, Copy, Debug)]
pub struct HeaderView<'a> {
    /// `:method`.
    pub method: &'a str,
    /// `:path`, query included.
    pub path: &'a str,
    /// `:authority`, or `Host`.
    pub authority: &'a str,
    /// `:scheme`.
    pub scheme: &'a str,
    /// Regular headers.
    pub headers: &'a HeaderMap,
}

impl<'a> HeaderView<'a> {
    /// The value of a header; several values are joined with a comma, as Envoy does. `None` if it is missing.
    ///
    /// A value that is not UTF-8 is read with replacement characters. Allocates only for these two cases.
    #[must_use]
    pub fn value(&self, key: &HeaderKey) -> Option<Cow<'a, str>> {
        let pseudo = match key {
            HeaderKey::Method => self.method,
            HeaderKey::Path => self.path,
            HeaderKey::Authority => self.authority,
            HeaderKey::Scheme => self.scheme,
            HeaderKey::Name(name) => return self.named(name),
        };
        (!pseudo.is_empty()).then_some(Cow::Borrowed(pseudo))
    }

    fn named(&self, name: &HeaderName) -> Option<Cow<'a, str>> {
        let mut values = self.headers.get_all(name).iter();
        let first = String::from_utf8_lossy(values.next()?.as_bytes());
        let Some(second) = values.next() else { return Some(first) };
        let mut joined = first.into_owned();
        for value in std::iter::once(second).chain(values) {
            joined.push(',');
            joined.push_str(&String::from_utf8_lossy(value.as_bytes()));
        }
        Some(Cow::Owned(joined))
    }
}

impl HeaderMatcher {
    /// Whether the headers satisfy the condition.
    ///
    /// As in Envoy, a missing header satisfies no condition on its value, not even an inverted one, unless
    /// [`missing_as_empty`](Self::missing_as_empty) is set.
    #[must_use]
    pub fn matches(&self, view: &HeaderView<'_>) -> bool {
        let single = match &self.name {
            HeaderKey::Name(name) => {
                let mut values = view.headers.get_all(name).iter().peekable();
                return self
                    .verdict(values.peek().is_some(), values.map(|value| String::from_utf8_lossy(value.as_bytes())));
            }
            key => view.value(key),
        };
        self.verdict(single.is_some(), single.into_iter())
    }

    fn verdict<'v>(&self, present: bool, values: impl Iterator<Item = Cow<'v, str>>) -> bool {
        let present = present || self.missing_as_empty;
        if let HeaderMatch::Present(wanted) = self.matches {
            return (present == wanted) != self.invert;
        }
        let mut values = values.peekable();
        let matched = if values.peek().is_some() {
            values.any(|value| self.value_matches(&value))
        } else if present {
            self.value_matches("")
        } else {
            return false;
        };
        matched != self.invert
    }

    fn value_matches(&self, value: &str) -> bool {
        match &self.matches {
            HeaderMatch::Present(present) => *present,
            HeaderMatch::Value(matcher) => matcher.matches(value),
            HeaderMatch::Range(start, end) => {
                value.trim_ascii().parse::<i64>().is_ok_and(|number| (*start..*end).contains(&number))
            }
        }
    }
}

/// `route.v3.QueryParameterMatcher`.
#[derive(Clone, Debug)]
pub struct QueryMatcher {
    /// Parameter name.
    pub name: String,
    /// Condition on its first value; `None` means present.
    pub value: Option<StringMatcher>,
    /// With no `value`: the parameter must be absent (`present_match: false`).
    pub absent: bool,
}

impl QueryMatcher {
    /// Whether `query` (the text behind `?`, without it) satisfies the condition. Nothing is percent-decoded, as in Envoy.
    #[must_use]
    pub fn matches(&self, query: &str) -> bool {
        let found = query.split('&').find_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name == self.name).then_some(value)
        });
        match (&self.value, found) {
            (Some(matcher), Some(value)) => matcher.matches(value),
            (Some(_), None) => false,
            (None, found) => found.is_some() != self.absent,
        }
    }
}

#[cfg(test)]
mod tests {
    use ::http::{HeaderMap, HeaderName, HeaderValue};

    use super::{HeaderKey, HeaderMatch, HeaderMatcher, HeaderView, QueryMatcher, StringMatcher as M};

    fn header(matches: HeaderMatch, invert: bool, missing_as_empty: bool, value: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.append("x", HeaderValue::from_str(value).unwrap());
        }
        let name = HeaderKey::Name(HeaderName::from_static("x"));
        let view = HeaderView { method: "GET", path: "/", authority: "a", scheme: "http", headers: &headers };
        HeaderMatcher { name, matches, invert, missing_as_empty }.matches(&view)
    }

    #[test]
    fn header_conditions() {
        let exact = |text: &str| HeaderMatch::Value(M::exact(text));
        let present = HeaderMatch::Present;
        let cases = [
            (exact("a"), false, false, Some("a"), true),
            (exact("a"), false, false, Some("b"), false),
            (exact("a"), true, false, Some("b"), true),
            (exact("a"), true, false, None, false), // a missing header matches no value condition
            (exact("a"), true, true, None, true),
            (exact(""), false, true, None, true),
            (present(true), false, false, Some(""), true),
            (present(true), false, false, None, false),
            (present(true), true, false, None, true),
            (present(false), false, false, None, true),
            (present(false), true, false, None, false),
            (HeaderMatch::Range(-10, 0), false, false, Some("-1"), true),
            (HeaderMatch::Range(-10, 0), false, false, Some("0"), false),
            (HeaderMatch::Range(-10, 0), false, false, Some("-1somestring"), false),
        ];
        for (matches, invert, empty, value, expected) in cases {
            let case = format!("{matches:?} invert={invert} empty={empty} value={value:?}");
            assert_eq!(header(matches, invert, empty, value), expected, "{case}");
        }
    }

    #[test]
    fn several_values_are_joined() {
        let mut headers = HeaderMap::new();
        headers.append("x", HeaderValue::from_static("a"));
        headers.append("x", HeaderValue::from_static("b"));
        let view = HeaderView { method: "GET", path: "/", authority: "", scheme: "http", headers: &headers };
        assert_eq!(view.value(&HeaderKey::Name(HeaderName::from_static("x"))).as_deref(), Some("a,b"));
        assert_eq!(view.value(&HeaderKey::Authority), None);
    }

    #[test]
    fn query_conditions() {
        let query = |value: Option<M>, absent| QueryMatcher { name: "k".into(), value, absent };
        assert!(query(Some(M::exact("v")), false).matches("a=b&k=v&k=w"));
        assert!(!query(Some(M::exact("w")), false).matches("k=v&k=w"));
        assert!(query(None, false).matches("k"));
        assert!(!query(None, false).matches("kk=1"));
        assert!(query(None, true).matches(""));
    }

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
