//! Matchers of texts, headers and query parameters.

use mesh_xds_api::envoy::{
    config::route::v3::{
        HeaderMatcher as ProtoHeader, QueryParameterMatcher, header_matcher::HeaderMatchSpecifier,
        query_parameter_matcher::QueryParameterMatchSpecifier,
    },
    r#type::matcher::v3::{
        RegexMatchAndSubstitute, RegexMatcher, StringMatcher as ProtoString, string_matcher::MatchPattern,
    },
};
use regex::{Regex, RegexBuilder};

use super::{
    error::{At as _, FieldError, Translated, refuse, refuse_field},
    value::{header_name, present, required},
};
use crate::{
    model::{HeaderKey, HeaderMatch, HeaderMatcher, QueryMatcher, StringMatcher},
    supported,
};

supported! {
    /// Matchers. Filters that have them in their configuration put this table beside their own.
    pub static MATCHERS =
    envoy.type.matcher.v3.StringMatcher {
        carried: exact, prefix, suffix, safe_regex, contains, ignore_case;
    }
    envoy.type.matcher.v3.RegexMatcher {
        carried: regex;
        irrelevant: google_re2 = "expressions take linear time and bounded space whatever the engine is called";
    }
    envoy.type.matcher.v3.RegexMatchAndSubstitute {
        carried: pattern, substitution;
    }
    envoy.config.route.v3.HeaderMatcher {
        carried: name, exact_match, safe_regex_match, range_match, present_match, prefix_match, suffix_match,
            contains_match, string_match, invert_match, treat_missing_header_as_empty;
    }
    envoy.config.route.v3.QueryParameterMatcher {
        carried: name, string_match, present_match;
    }
}

/// Bytes of a compiled expression at most.
const REGEX_SIZE: usize = 4 << 20;

/// An expression that must match the whole text, as Envoy's do.
///
/// # Errors
/// The expression is malformed or too large.
pub fn full_regex(value: &RegexMatcher) -> Result<Regex, FieldError> {
    let regex = required(&value.regex, "regex")?;
    compile(&format!("^(?:{regex})$"), regex)
}

/// An expression that may match anywhere: for substitutions.
fn part_regex(value: &RegexMatcher) -> Translated<Regex> {
    let regex = required(&value.regex, "regex")?;
    compile(regex, regex)
}

fn compile(pattern: &str, shown: &str) -> Translated<Regex> {
    RegexBuilder::new(pattern).size_limit(REGEX_SIZE).build().or_else(|error| {
        let reason = match error {
            regex::Error::CompiledTooBig(_) => "is too large".to_owned(),
            error => error.to_string().lines().last().unwrap_or("is malformed").trim().to_owned(),
        };
        refuse_field("regex", format!("invalid expression {shown:?}: {reason}"))
    })
}

/// A pattern and its substitution, in which `\1` names a group and `\\` is a backslash.
pub(super) fn substitution(value: &RegexMatchAndSubstitute) -> Translated<(Regex, String)> {
    let regex = part_regex(present(value.pattern.as_ref(), "pattern")?).at("pattern")?;
    let mut chars = value.substitution.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            continue;
        }
        match chars.next() {
            Some('\\') => {}
            Some(digit @ '0'..='9') => {
                let group = usize::try_from(u32::from(digit) - u32::from('0')).unwrap_or(usize::MAX);
                if group >= regex.captures_len() {
                    return refuse_field("substitution", format!("\\{group} names no group of the pattern"));
                }
            }
            _ => return refuse_field("substitution", "a backslash must be followed by a digit or a backslash"),
        }
    }
    Ok((regex, value.substitution.clone()))
}

/// A condition on a text.
///
/// # Errors
/// What is missing, malformed or not carried.
pub fn string_matcher(value: &ProtoString) -> Result<StringMatcher, FieldError> {
    let fold = value.ignore_case;
    let text = |text: &str, field| -> Translated<String> {
        required(text, field)?;
        Ok(if fold { text.to_ascii_lowercase() } else { text.to_owned() })
    };
    Ok(match &value.match_pattern {
        Some(MatchPattern::Exact(exact)) if fold => StringMatcher::ExactIgnoreCase(exact.clone()),
        Some(MatchPattern::Exact(exact)) => StringMatcher::Exact(exact.clone()),
        Some(MatchPattern::Prefix(prefix)) => StringMatcher::Prefix(text(prefix, "prefix")?, fold),
        Some(MatchPattern::Suffix(suffix)) => StringMatcher::Suffix(text(suffix, "suffix")?, fold),
        Some(MatchPattern::Contains(part)) => StringMatcher::Contains(text(part, "contains")?, fold),
        Some(MatchPattern::SafeRegex(regex)) => StringMatcher::Regex(full_regex(regex).at("safe_regex")?),
        Some(MatchPattern::Custom(_)) => return refuse_field("custom", "is not carried"),
        None => return refuse("one of exact, prefix, suffix, contains, safe_regex is required"),
    })
}

/// A condition on a header.
///
/// # Errors
/// What is missing, malformed or not carried.
pub fn header_matcher(value: &ProtoHeader) -> Result<HeaderMatcher, FieldError> {
    let text = |text: &str, field| required(text, field).map(str::to_owned);
    let matches = match &value.header_match_specifier {
        None => HeaderMatch::Present(true),
        Some(HeaderMatchSpecifier::PresentMatch(present)) => HeaderMatch::Present(*present),
        Some(HeaderMatchSpecifier::RangeMatch(range)) => HeaderMatch::Range(range.start, range.end),
        Some(HeaderMatchSpecifier::ExactMatch(exact)) => HeaderMatch::Value(StringMatcher::Exact(exact.clone())),
        Some(HeaderMatchSpecifier::PrefixMatch(prefix)) => {
            HeaderMatch::Value(StringMatcher::Prefix(text(prefix, "prefix_match")?, false))
        }
        Some(HeaderMatchSpecifier::SuffixMatch(suffix)) => {
            HeaderMatch::Value(StringMatcher::Suffix(text(suffix, "suffix_match")?, false))
        }
        Some(HeaderMatchSpecifier::ContainsMatch(part)) => {
            HeaderMatch::Value(StringMatcher::Contains(text(part, "contains_match")?, false))
        }
        Some(HeaderMatchSpecifier::SafeRegexMatch(regex)) => {
            HeaderMatch::Value(StringMatcher::Regex(full_regex(regex).at("safe_regex_match")?))
        }
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => {
            HeaderMatch::Value(string_matcher(matcher).at("string_match")?)
        }
    };
    Ok(HeaderMatcher {
        name: header_key(&value.name).at("name")?,
        matches,
        invert: value.invert_match,
        missing_as_empty: value.treat_missing_header_as_empty,
    })
}

/// Several conditions on headers.
///
/// # Errors
/// As [`header_matcher`].
pub fn header_matchers(values: &[ProtoHeader], field: &str) -> Result<Vec<HeaderMatcher>, FieldError> {
    values.iter().enumerate().map(|(i, value)| header_matcher(value).at(format_args!("{field}[{i}]"))).collect()
}

/// A header name, pseudo headers included.
pub(super) fn header_key(name: &str) -> Translated<HeaderKey> {
    Ok(match name {
        "" => return refuse("is required"),
        ":method" => HeaderKey::Method,
        ":path" => HeaderKey::Path,
        ":authority" => HeaderKey::Authority,
        ":scheme" => HeaderKey::Scheme,
        name if name.eq_ignore_ascii_case("host") => HeaderKey::Authority,
        name => HeaderKey::Name(header_name(name)?),
    })
}

pub(super) fn query_matcher(value: &QueryParameterMatcher) -> Translated<QueryMatcher> {
    let name = required(&value.name, "name")?.to_owned();
    let (value, absent) = match &value.query_parameter_match_specifier {
        None => (None, false),
        Some(QueryParameterMatchSpecifier::PresentMatch(present)) => (None, !present),
        Some(QueryParameterMatchSpecifier::StringMatch(matcher)) => {
            (Some(string_matcher(matcher).at("string_match")?), false)
        }
    };
    Ok(QueryMatcher { name, value, absent })
}

#[cfg(test)]
mod tests {
    use mesh_xds_api::json;
    use serde_json::json;

    use super::*;

    fn string(value: serde_json::Value) -> Result<StringMatcher, String> {
        string_matcher(&json::from_value(&value).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn strings() {
        assert!(string(json!({"prefix": "Ab", "ignore_case": true})).unwrap().matches("aBc"));
        assert!(string(json!({"contains": "B", "ignore_case": true})).unwrap().matches("abc"));
        let regex = string(json!({"safe_regex": {"google_re2": {}, "regex": "a|b"}})).unwrap();
        assert!(regex.matches("a") && !regex.matches("ab"));
        for (value, error) in [
            (json!({}), "one of"),
            (json!({"prefix": ""}), "prefix: is required"),
            (json!({"safe_regex": {"regex": "("}}), "safe_regex.regex: invalid expression"),
            (json!({"safe_regex": {"regex": r"\C"}}), "safe_regex.regex: invalid expression"),
        ] {
            let found = string(value).unwrap_err();
            assert!(found.contains(error), "{found}");
        }
    }

    #[test]
    fn headers() {
        let header = |value| header_matcher(&json::from_value(&value).unwrap()).map_err(|e| e.to_string());
        assert_eq!(header(json!({"name": "Host", "exact_match": "a"})).unwrap().name, HeaderKey::Authority);
        assert!(matches!(header(json!({"name": "x"})).unwrap().matches, HeaderMatch::Present(true)));
        assert_eq!(header(json!({"name": ":status"})).unwrap_err(), "name: \":status\" is no header name");
        assert_eq!(header(json!({"name": ""})).unwrap_err(), "name: is required");
    }

    #[test]
    fn substitutions_name_groups_that_exist() {
        let edit = |text: &str| {
            let value = json!({"pattern": {"regex": "^/(a)(b)"}, "substitution": text});
            substitution(&json::from_value(&value).unwrap()).map(|_| ()).map_err(|e| e.to_string())
        };
        assert_eq!(edit(r"/\2\\\1"), Ok(()));
        assert_eq!(edit(r"\3").unwrap_err(), r"substitution: \3 names no group of the pattern");
        assert!(edit(r"\x").is_err());
    }
}
