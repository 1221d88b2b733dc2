//! One rule, ready to be asked.

use regex::Regex;

use super::format::Format;
use crate::encoded::value::Value;

/// What is told of a rule that is broken.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// The option: `string.min_len`.
    pub(super) name: String,
    /// In words.
    pub(super) reason: String,
}

/// A rule over a value.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) rule: Rule,
    pub(super) test: Test,
}

/// The rules over one value.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) list: Vec<Check>,
    /// They do not apply to the default value.
    pub(super) ignore_empty: bool,
}

impl Checks {
    /// The rules that `value` breaks.
    pub(super) fn broken_by<'c>(&'c self, value: &Value<'_>) -> impl Iterator<Item = &'c Rule> {
        let apply = !(self.ignore_empty && value.is_empty());
        self.list.iter().filter(move |c| apply && c.test.is_broken_by(value)).map(|c| &c.rule)
    }
}

#[derive(Debug)]
pub(super) enum Test {
    Equal(Value<'static>),
    Less(Value<'static>),
    LessOrEqual(Value<'static>),
    Greater(Value<'static>),
    GreaterOrEqual(Value<'static>),
    /// At least one holds: a range that means outside.
    Either(Box<[Test; 2]>),
    In(Vec<Value<'static>>),
    NotIn(Vec<Value<'static>>),
    MinChars(u64),
    MaxChars(u64),
    MinBytes(u64),
    MaxBytes(u64),
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Contains(Vec<u8>),
    NotContains(Vec<u8>),
    Pattern(Regex),
    Format(Format),
}

impl Test {
    /// A number that cannot be compared (NaN) breaks no limit, as in the code that Envoy is built with.
    fn is_broken_by(&self, value: &Value<'_>) -> bool {
        let bytes = value.as_bytes();
        match self {
            Self::Equal(wanted) => value != wanted,
            Self::Less(limit) => value >= limit,
            Self::LessOrEqual(limit) => value > limit,
            Self::Greater(limit) => value <= limit,
            Self::GreaterOrEqual(limit) => value < limit,
            Self::Either(tests) => tests.iter().all(|t| t.is_broken_by(value)),
            Self::In(list) => !list.contains(value),
            Self::NotIn(list) => list.contains(value),
            Self::MinChars(min) => chars(value) < *min,
            Self::MaxChars(max) => chars(value) > *max,
            Self::MinBytes(min) => (bytes.len() as u64) < *min,
            Self::MaxBytes(max) => bytes.len() as u64 > *max,
            Self::Prefix(prefix) => !bytes.starts_with(prefix),
            Self::Suffix(suffix) => !bytes.ends_with(suffix),
            Self::Contains(part) => !contains(bytes, part),
            Self::NotContains(part) => contains(bytes, part),
            Self::Pattern(pattern) => !matches!(value, Value::Text(text) if pattern.is_match(text)),
            Self::Format(format) => !format.matches(value),
        }
    }
}

fn chars(value: &Value<'_>) -> u64 {
    match value {
        Value::Text(text) => text.chars().count() as u64,
        _ => 0,
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|w| w == part)
}
