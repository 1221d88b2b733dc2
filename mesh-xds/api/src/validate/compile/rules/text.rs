use prost_reflect::{DynamicMessage, Value};
use regex::Regex;

use super::Subject;
use crate::{
    encoded::value::Scalar,
    validate::{check::Test, format::Format},
};

/// The tests of a rule of `StringRules` or `BytesRules`. `None` if it is not known.
pub(super) fn test(
    rule: &str,
    value: &Value,
    subject: &Subject,
    group: &DynamicMessage,
) -> Option<Vec<(String, Test)>> {
    if let Some(number) = value.as_u64() {
        return length(rule, number, matches!(subject, Subject::Scalar(Scalar::Text)));
    }
    match rule {
        // Said of `well_known_regex`, which looks here.
        "strict" => return Some(Vec::new()),
        "well_known_regex" => return well_known_regex(value.as_enum_number()?, group).map(|f| named(f, true)),
        "pattern" => {
            let pattern = value.as_str()?;
            // The generated code asks for a match of the whole text.
            let whole = Regex::new(&format!("^(?:{pattern})$")).ok()?;
            return Some(vec![(format!("must match {pattern}"), Test::Pattern(whole))]);
        }
        _ => {}
    }
    if let Some(wanted) = value.as_bool() {
        return format(rule).map(|f| named(f, wanted));
    }
    part(rule, value)
}

fn length(rule: &str, number: u64, of_chars: bool) -> Option<Vec<(String, Test)>> {
    let of_chars = of_chars && !rule.ends_with("bytes");
    let unit = if of_chars { "character" } else { "byte" };
    let min = |number| if of_chars { Test::MinChars(number) } else { Test::MinBytes(number) };
    let max = |number| if of_chars { Test::MaxChars(number) } else { Test::MaxBytes(number) };
    let count = if number == 1 { format!("1 {unit}") } else { format!("{number} {unit}s") };
    Some(match rule {
        "min_len" | "min_bytes" if number == 1 => vec![("must not be empty".to_owned(), min(1))],
        "min_len" | "min_bytes" => vec![(format!("must have at least {count}"), min(number))],
        "max_len" | "max_bytes" => vec![(format!("must have at most {count}"), max(number))],
        "len" | "len_bytes" => {
            // No length is too short and too long, so that one of them is told.
            let reason = format!("must have exactly {count}");
            vec![(reason.clone(), min(number)), (reason, max(number))]
        }
        _ => return None,
    })
}

fn part(rule: &str, value: &Value) -> Option<Vec<(String, Test)>> {
    let (part, shown) = match value {
        Value::String(text) => (text.as_bytes().to_vec(), format!("{text:?}")),
        Value::Bytes(bytes) => (bytes.to_vec(), format!("{bytes:?}")),
        _ => return None,
    };
    Some(vec![match rule {
        "prefix" => (format!("must begin with {shown}"), Test::Prefix(part)),
        "suffix" => (format!("must end with {shown}"), Test::Suffix(part)),
        "contains" => (format!("must contain {shown}"), Test::Contains(part)),
        "not_contains" => (format!("must not contain {shown}"), Test::NotContains(part)),
        _ => return None,
    }])
}

fn format(rule: &str) -> Option<Format> {
    Some(match rule {
        "email" => Format::Email,
        "hostname" => Format::Hostname,
        "ip" => Format::Ip,
        "ipv4" => Format::Ipv4,
        "ipv6" => Format::Ipv6,
        "address" => Format::Address,
        "uri" => Format::Uri,
        "uri_ref" => Format::UriReference,
        "uuid" => Format::Uuid,
        _ => return None,
    })
}

fn well_known_regex(number: i32, group: &DynamicMessage) -> Option<Format> {
    // True where it is not said.
    let strict = group.get_field_by_name("strict")?.as_bool()?;
    match (number, strict) {
        (1, true) => Some(Format::HeaderName),
        (2, true) => Some(Format::HeaderValue),
        (1 | 2, false) => Some(Format::HeaderText),
        _ => None,
    }
}

fn named(format: Format, wanted: bool) -> Vec<(String, Test)> {
    if wanted { vec![(format.reason().to_owned(), Test::Format(format))] } else { Vec::new() }
}
