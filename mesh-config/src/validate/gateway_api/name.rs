//! Names and short values, as the Gateway API's schemas take them.

use std::sync::LazyLock;

use regex::Regex;

use crate::{path::FieldPath, validate::Findings};

/// Whether a text is a lower-case RFC 1123 label, without its limit of length.
pub(super) fn is_label(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

/// Whether a text is a lower-case domain name.
pub(super) fn is_domain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether a text is a name of RFC 9110 (token).
pub(super) fn is_token(text: &str) -> bool {
    crate::validate::rules::is_header_name(text) && text.len() <= 256
}

/// Checks the name of an object that is referred to.
pub(super) fn object(path: FieldPath<'_>, name: &str, findings: &mut Findings<'_>) {
    if name.is_empty() {
        findings.error(path.field("name"), "the name is required");
    }
    crate::validate::rules::max_len(path.field("name"), name, 253, findings);
}

/// Checks a namespace.
pub(super) fn namespace(path: FieldPath<'_>, namespace: Option<&str>, findings: &mut Findings<'_>) {
    if let Some(namespace) = namespace.filter(|namespace| !is_label(namespace) || namespace.len() > 63) {
        let path = path.field("namespace");
        findings.error(path, format_args!("invalid namespace {namespace:?}: it must be a lower case label"));
    }
}

/// Checks an API group; empty for the core group.
pub(super) fn group(path: FieldPath<'_>, group: Option<&str>, findings: &mut Findings<'_>) {
    if let Some(group) = group.filter(|group| !group.is_empty() && !is_domain(group)) {
        findings.error(path.field("group"), format_args!("invalid API group {group:?}: it must be a domain name"));
    }
}

/// Checks a kind.
pub(super) fn kind(path: FieldPath<'_>, kind: &str, findings: &mut Findings<'_>) {
    let bytes = kind.as_bytes();
    let fine = kind.len() <= 63
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    if kind.is_empty() {
        findings.error(path.field("kind"), "the kind is required");
    } else if !fine {
        findings.error(path.field("kind"), format_args!("invalid kind {kind:?}"));
    }
}

/// Checks the name of a part of an object: a listener, a port, a rule.
pub(super) fn section(path: FieldPath<'_>, name: Option<&str>, findings: &mut Findings<'_>) {
    if let Some(name) = name.filter(|name| !is_domain(name)) {
        findings.error(path, format_args!("invalid name {name:?}: it must be lower case letters, digits, '-' and '.'"));
    }
}

/// Checks a host name without wildcard.
pub(super) fn precise_host(path: FieldPath<'_>, host: &str, findings: &mut Findings<'_>) {
    if !is_domain(host) {
        findings.error(path, format_args!("invalid host {host:?}: it must be a lower case domain name"));
    }
}

/// Checks a host name or `*.` wildcard.
pub(super) fn host(path: FieldPath<'_>, host: &str, findings: &mut Findings<'_>) {
    if !is_domain(host.strip_prefix("*.").unwrap_or(host)) || host.len() > 253 {
        findings.error(path, format_args!("invalid host {host:?}: it must be a lower case domain name"));
    }
}

/// Checks the hosts of a route.
pub(super) fn hosts(list: &[String], findings: &mut Findings<'_>) {
    let path = FieldPath::spec();
    let path = path.field("hostnames");
    crate::validate::rules::max_items(path, list.len(), 16, findings);
    list.iter().enumerate().for_each(|(index, name)| host(path.index(index), name, findings));
}

/// Checks a value that must be one of some words.
pub(super) fn word(path: FieldPath<'_>, value: Option<&str>, words: &[&str], findings: &mut Findings<'_>) {
    if let Some(value) = value.filter(|value| !words.contains(value)) {
        findings.error(path, format_args!("unknown value {value:?}"));
        findings.help(format!("the values are: {}", words.join(", ")));
    }
}

/// Checks that the items of a list are different.
pub(super) fn unique<T: PartialEq + std::fmt::Debug>(
    path: FieldPath<'_>,
    what: &str,
    items: &[T],
    findings: &mut Findings<'_>,
) {
    for (index, item) in items.iter().enumerate().filter(|(index, item)| items[..*index].contains(item)) {
        findings.error(path.index(index), format_args!("the {what} {item:?} stands twice"));
    }
}

/// The key of a label or annotation: `[DOMAIN/]NAME`.
pub(super) fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(|prefix| is_domain(prefix) && prefix.len() < 253) && !name.is_empty() && is_label_value(name)
}

/// The value of a label.
pub(super) fn is_label_value(value: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Checks an implementation's own settings: their number, and the form of their keys.
pub(super) fn options(
    path: FieldPath<'_>,
    options: &std::collections::BTreeMap<String, String>,
    findings: &mut Findings<'_>,
) {
    crate::validate::rules::max_items(path, options.len(), 16, findings);
    for (key, value) in options {
        crate::validate::rules::max_len(path.field(key), value, 4096, findings);
    }
}

/// Whether a text is the name of a controller or of another implementation's own thing: `DOMAIN/PATH`.
pub(super) fn is_domain_path(text: &str) -> bool {
    let Some((domain, path)) = text.split_once('/') else { return false };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    text.len() <= 253 && is_domain(domain) && !path.is_empty() && path.bytes().all(plain)
}

/// One to four numbers of at most five digits, each with a unit. Source: GEP-2257.
static DURATION: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("^([0-9]{1,5}(h|m|s|ms)){1,4}$").ok());

/// Checks a span of time.
pub(super) fn duration(path: FieldPath<'_>, text: Option<&str>, findings: &mut Findings<'_>) {
    let fine = |text: &str| DURATION.as_ref().is_some_and(|form| form.is_match(text));
    if let Some(text) = text.filter(|text| !fine(text)) {
        findings.error(path, format_args!("invalid duration {text:?}: write whole numbers with h, m, s or ms"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(is_domain("a.example.com") && is_domain("a-1") && !is_domain("A.b") && !is_domain("a..b"));
        assert!(!is_domain("") && !is_domain("a_b") && !is_domain("-a"));
        assert!(is_domain_path("example.com/a/b") && !is_domain_path("example") && !is_domain_path("a.b/"));
        assert!(is_label_key("a.b/c_d") && is_label_key("x") && !is_label_key("a.b/") && !is_label_key("/x"));
        let form = DURATION.as_ref().unwrap();
        assert!(form.is_match("1h30m") && form.is_match("0s") && !form.is_match("0.5s") && !form.is_match("123456s"));
    }
}
