//! How a text is matched.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};

/// How a text is matched; case sensitive. Source: `istio.networking.v1.StringMatch`.
///
/// More than one form in the same object is an error when read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum StringMatch {
    /// `{}`: the text is present, whatever it is. Only meaningful for headers and query parameters.
    #[default]
    Present,
    /// The text is this one.
    Exact(String),
    /// The text begins with this one.
    Prefix(String),
    /// The whole text matches this RE2 expression.
    Regex(String),
}

impl StringMatch {
    /// The text or expression of the match; empty for [`StringMatch::Present`].
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Present => "",
            Self::Exact(text) | Self::Prefix(text) | Self::Regex(text) => text,
        }
    }

    /// The field this form is written under; `None` for [`StringMatch::Present`].
    #[must_use]
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::Present => None,
            Self::Exact(_) => Some("exact"),
            Self::Prefix(_) => Some("prefix"),
            Self::Regex(_) => Some("regex"),
        }
    }
}

const FIELDS: &[&str] = &["exact", "prefix", "regex"];

struct StringMatchVisitor;

impl<'de> Visitor<'de> for StringMatchVisitor {
    type Value = StringMatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string match: one of exact, prefix, regex")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StringMatch, A::Error> {
        let mut found = StringMatch::Present;
        while let Some(key) = map.next_key::<String>()? {
            let wrap = match key.as_str() {
                "exact" => StringMatch::Exact,
                "prefix" => StringMatch::Prefix,
                "regex" => StringMatch::Regex,
                other => {
                    map.next_value::<IgnoredAny>()?;
                    return Err(A::Error::unknown_field(other, FIELDS));
                }
            };
            let next = wrap(map.next_value()?);
            if let (Some(first), Some(second)) = (found.field(), next.field()) {
                return Err(A::Error::custom(format_args!("{first} and {second} exclude each other: keep one")));
            }
            found = next;
        }
        Ok(found)
    }
}

impl<'de> Deserialize<'de> for StringMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("StringMatch", FIELDS, StringMatchVisitor)
    }
}

impl Serialize for StringMatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(field) = self.field() {
            map.serialize_entry(field, self.text())?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_form_only() {
        let read = serde_json::from_str::<StringMatch>;
        assert_eq!(read(r#"{"exact":"a"}"#).unwrap(), StringMatch::Exact("a".into()));
        assert_eq!(read("{}").unwrap(), StringMatch::Present);
        assert!(read(r#"{"exact":"a","prefix":"b"}"#).unwrap_err().to_string().contains("exclude each other"));
        assert!(read(r#"{"exacty":"a"}"#).is_err());
    }
}
