//! Which clients are asked about: `envoy.type.matcher.v3.NodeMatcher`.

use mesh_xds_api::envoy::r#type::matcher::v3::{
    DoubleMatcher, ListMatcher, NodeMatcher, StringMatcher, StructMatcher, ValueMatcher, double_matcher, list_matcher,
    string_matcher::MatchPattern, struct_matcher::path_segment::Segment, value_matcher,
};
use prost_types::{Struct, Value, value::Kind};
use tonic::Status;

use crate::Node;

/// The largest program a regular expression may become.
const REGEX_BYTES: usize = 1 << 20;

/// Whether any matcher is fulfilled; none means all nodes.
pub(super) fn matches(matchers: &[NodeMatcher], node: &Node) -> Result<bool, Status> {
    for matcher in matchers {
        if one(matcher, node)? {
            return Ok(true);
        }
    }
    Ok(matchers.is_empty())
}

/// The id, and every matcher of metadata.
fn one(matcher: &NodeMatcher, node: &Node) -> Result<bool, Status> {
    if let Some(id) = &matcher.node_id
        && !text(id, node.id().as_str())?
    {
        return Ok(false);
    }
    for wanted in &matcher.node_metadatas {
        if !within(wanted, node.message().metadata.as_ref())? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The value at a path of keys.
fn within(matcher: &StructMatcher, metadata: Option<&Struct>) -> Result<bool, Status> {
    let wanted = matcher.value.as_ref().ok_or_else(|| Status::invalid_argument("node_metadatas: no value"))?;
    let mut fields = metadata;
    let mut found = None;
    for segment in &matcher.path {
        let Some(Segment::Key(key)) = &segment.segment else {
            return Err(Status::invalid_argument("node_metadatas: a path segment without a key"));
        };
        found = fields.and_then(|f| f.fields.get(key));
        fields = match found.and_then(|v| v.kind.as_ref()) {
            Some(Kind::StructValue(inner)) => Some(inner),
            _ => None,
        };
    }
    if matcher.path.is_empty() {
        return Err(Status::invalid_argument("node_metadatas: no path"));
    }
    value(wanted, found)
}

fn value(matcher: &ValueMatcher, found: Option<&Value>) -> Result<bool, Status> {
    use value_matcher::MatchPattern as Pattern;
    let pattern = matcher.match_pattern.as_ref();
    let kind = found.and_then(|v| v.kind.as_ref());
    Ok(match (pattern.ok_or_else(|| Status::invalid_argument("node_metadatas: an empty matcher"))?, kind) {
        (Pattern::PresentMatch(wanted), kind) => *wanted == kind.is_some(),
        (Pattern::NullMatch(_), Some(Kind::NullValue(_))) => true,
        (Pattern::DoubleMatch(wanted), Some(Kind::NumberValue(number))) => double(wanted, *number),
        (Pattern::StringMatch(wanted), Some(Kind::StringValue(found))) => text(wanted, found)?,
        (Pattern::BoolMatch(wanted), Some(Kind::BoolValue(found))) => wanted == found,
        (Pattern::ListMatch(wanted), Some(Kind::ListValue(found))) => any_of(wanted, &found.values)?,
        (Pattern::OrMatch(wanted), _) => {
            for matcher in &wanted.value_matchers {
                if value(matcher, found)? {
                    return Ok(true);
                }
            }
            false
        }
        _ => false,
    })
}

fn double(matcher: &DoubleMatcher, number: f64) -> bool {
    match &matcher.match_pattern {
        // The end does not belong to a range.
        Some(double_matcher::MatchPattern::Range(range)) => (range.start..range.end).contains(&number),
        Some(double_matcher::MatchPattern::Exact(wanted)) => *wanted == number,
        None => false,
    }
}

fn any_of(matcher: &ListMatcher, values: &[Value]) -> Result<bool, Status> {
    let Some(list_matcher::MatchPattern::OneOf(wanted)) = &matcher.match_pattern else { return Ok(false) };
    for found in values {
        if value(wanted, Some(found))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn text(matcher: &StringMatcher, text: &str) -> Result<bool, Status> {
    let fold = |s: &str| if matcher.ignore_case { s.to_lowercase() } else { s.to_owned() };
    let folded = fold(text);
    Ok(match &matcher.match_pattern {
        Some(MatchPattern::Exact(wanted)) => folded == fold(wanted),
        Some(MatchPattern::Prefix(wanted)) => folded.starts_with(&fold(wanted)),
        Some(MatchPattern::Suffix(wanted)) => folded.ends_with(&fold(wanted)),
        Some(MatchPattern::Contains(wanted)) => folded.contains(&fold(wanted)),
        // `ignore_case` "has no effect for the safe_regex match". All of the text has to match.
        Some(MatchPattern::SafeRegex(wanted)) => {
            let whole = regex::RegexBuilder::new(&format!("^(?:{})$", wanted.regex)).size_limit(REGEX_BYTES).build();
            whole.map_err(|e| Status::invalid_argument(format!("safe_regex: {e}")))?.is_match(text)
        }
        _ => return Err(Status::unimplemented("only exact, prefix, suffix, contains and safe_regex are supported")),
    })
}

#[cfg(test)]
mod tests {
    use mesh_xds_api::json::from_value;
    use serde_json::{Value as Json, json};

    use super::*;

    fn node() -> Node {
        let node = json!({ "id": "sidecar~a", "metadata": {
            "NAMESPACE": "books", "INTERCEPT": true, "WEIGHT": 2.5, "NOTHING": null,
            "LABELS": { "app": "reviews", "version": "v1" }, "PORTS": [80.0, "http"],
        } });
        Node::from(from_value::<mesh_xds_api::envoy::config::core::v3::Node>(&node).unwrap())
    }

    fn asked(matchers: Json) -> Result<bool, tonic::Code> {
        let matchers = matchers.as_array().unwrap().iter().map(|m| from_value::<NodeMatcher>(m).unwrap());
        matches(&matchers.collect::<Vec<_>>(), &node()).map_err(|status| status.code())
    }

    fn metadata(path: &[&str], value: Json) -> Json {
        let path: Vec<Json> = path.iter().map(|key| json!({ "key": key })).collect();
        json!({ "path": path, "value": value })
    }

    #[test]
    fn values_of_every_kind() {
        let string = |pattern: Json| json!({ "string_match": pattern });
        for (path, value, expected) in [
            (&["NAMESPACE"][..], string(json!({ "exact": "books" })), true),
            (&["NAMESPACE"], string(json!({ "exact": "BOOKS" })), false),
            (&["NAMESPACE"], string(json!({ "exact": "BOOKS", "ignore_case": true })), true),
            (&["NAMESPACE"], string(json!({ "safe_regex": { "regex": "bo+ks" } })), true),
            (&["NAMESPACE"], string(json!({ "safe_regex": { "regex": "boo|ks" } })), false),
            (&["LABELS", "app"], string(json!({ "prefix": "rev" })), true),
            (&["LABELS", "app", "deeper"], string(json!({ "prefix": "rev" })), false),
            (&["LABELS", "app"], json!({ "present_match": true }), true),
            (&["LABELS", "tier"], json!({ "present_match": true }), false),
            (&["LABELS", "tier"], json!({ "present_match": false }), true),
            (&["INTERCEPT"], json!({ "bool_match": true }), true),
            (&["INTERCEPT"], json!({ "bool_match": false }), false),
            (&["NOTHING"], json!({ "null_match": {} }), true),
            (&["NAMESPACE"], json!({ "null_match": {} }), false),
            (&["WEIGHT"], json!({ "double_match": { "exact": 2.5 } }), true),
            (&["WEIGHT"], json!({ "double_match": { "range": { "start": 2.5, "end": 3.0 } } }), true),
            (&["WEIGHT"], json!({ "double_match": { "range": { "start": 2.0, "end": 2.5 } } }), false),
            (&["PORTS"], json!({ "list_match": { "one_of": { "double_match": { "exact": 80.0 } } } }), true),
            (&["PORTS"], json!({ "list_match": { "one_of": { "bool_match": true } } }), false),
            (
                &["NAMESPACE"],
                json!({ "or_match": { "value_matchers": [{ "bool_match": true }, { "present_match": true }] } }),
                true,
            ),
        ] {
            let matcher = json!([{ "node_metadatas": [metadata(path, value.clone())] }]);
            assert_eq!(asked(matcher), Ok(expected), "{path:?} {value}");
        }
    }

    #[test]
    fn all_of_one_matcher_and_any_of_several() {
        let id = |suffix: &str| json!({ "suffix": suffix });
        let books = metadata(&["NAMESPACE"], json!({ "string_match": { "exact": "books" } }));
        let other = metadata(&["NAMESPACE"], json!({ "string_match": { "exact": "other" } }));
        assert_eq!(asked(json!([])), Ok(true));
        assert_eq!(asked(json!([{ "node_id": id("~a"), "node_metadatas": [books] }])), Ok(true));
        assert_eq!(asked(json!([{ "node_id": id("~b"), "node_metadatas": [books] }])), Ok(false));
        assert_eq!(asked(json!([{ "node_metadatas": [books, other] }])), Ok(false));
        assert_eq!(asked(json!([{ "node_metadatas": [other] }, { "node_metadatas": [books] }])), Ok(true));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let invalid = Err(tonic::Code::InvalidArgument);
        assert_eq!(asked(json!([{ "node_metadatas": [metadata(&[], json!({ "bool_match": true }))] }])), invalid);
        assert_eq!(asked(json!([{ "node_metadatas": [metadata(&["A"], json!({}))] }])), invalid);
        assert_eq!(asked(json!([{ "node_id": { "safe_regex": { "regex": "(" } } }])), invalid);
        assert_eq!(asked(json!([{ "node_id": { "custom": { "name": "x" } } }])), Err(tonic::Code::Unimplemented));
    }
}
