use serde_json::{Map, Value};

use crate::model::StringMatcher;

/// `type.matcher.v3.MetadataMatcher` on dynamic metadata.
#[derive(Debug)]
pub(super) struct MetadataMatcher {
    /// Namespace, then the keys to follow.
    pub(super) path: Vec<String>,
    pub(super) value: ValueMatcher,
    pub(super) invert: bool,
}

/// `type.matcher.v3.ValueMatcher`.
#[derive(Debug)]
pub(super) enum ValueMatcher {
    Null,
    Number(f64),
    /// In `[start, end)`.
    NumberRange(f64, f64),
    Text(StringMatcher),
    Bool(bool),
    Present(bool),
    /// A list with an item that matches.
    ListHas(Box<ValueMatcher>),
    OneOf(Vec<ValueMatcher>),
}

impl MetadataMatcher {
    pub(super) fn matches(&self, metadata: Option<&Map<String, Value>>) -> bool {
        let found = metadata.and_then(|metadata| {
            let (first, rest) = self.path.split_first()?;
            rest.iter().try_fold(metadata.get(first)?, |value, key| value.get(key))
        });
        self.value.matches(found) != self.invert
    }
}

impl ValueMatcher {
    #[allow(clippy::float_cmp)] // the API asks for equality
    fn matches(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (ValueMatcher::OneOf(matchers), value) => matchers.iter().any(|matcher| matcher.matches(value)),
            (ValueMatcher::Present(present), value) => value.is_some() == *present,
            (ValueMatcher::Null, Some(Value::Null)) => true,
            (ValueMatcher::Number(number), Some(value)) => value.as_f64() == Some(*number),
            (ValueMatcher::NumberRange(start, end), Some(value)) => {
                value.as_f64().is_some_and(|number| (*start..*end).contains(&number))
            }
            (ValueMatcher::Text(matcher), Some(Value::String(text))) => matcher.matches(text),
            (ValueMatcher::Bool(expected), Some(Value::Bool(value))) => value == expected,
            (ValueMatcher::ListHas(matcher), Some(Value::Array(items))) => {
                items.iter().any(|item| matcher.matches(Some(item)))
            }
            _ => false,
        }
    }
}
