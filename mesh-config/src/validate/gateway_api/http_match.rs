//! The conditions of an `HTTPRoute`.

use super::{header, name};
use crate::{
    model::gateway_api::{HttpPathMatch, HttpRouteMatch, PathMatchType},
    path::FieldPath,
    validate::{Findings, rules},
};

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Checks one set of conditions. A header or parameter may stand only once in it.
pub(super) fn validate(path: FieldPath<'_>, condition: &HttpRouteMatch, findings: &mut Findings<'_>) {
    if let Some(wanted) = &condition.path {
        path_match(path.field("path"), wanted, findings);
    }
    name::word(path.field("method"), condition.method.as_deref(), &METHODS, findings);
    let at = path.field("headers");
    rules::max_items(at, condition.headers.len(), 16, findings);
    for (index, wanted) in condition.headers.iter().enumerate() {
        let at = at.index(index);
        header::token(at.field("name"), &wanted.name, findings);
        header::value(at.field("value"), &wanted.value, findings);
        if condition.headers[..index].iter().any(|other| other.name == wanted.name) {
            findings.error(at.field("name"), format_args!("the header {:?} stands twice", wanted.name));
        }
    }
    let at = path.field("queryParams");
    rules::max_items(at, condition.query_params.len(), 16, findings);
    for (index, wanted) in condition.query_params.iter().enumerate() {
        let at = at.index(index);
        header::token(at.field("name"), &wanted.name, findings);
        if wanted.value.is_empty() {
            findings.error(at.field("value"), "the value must not be empty");
        }
        rules::max_len(at.field("value"), &wanted.value, 1024, findings);
        if condition.query_params[..index].iter().any(|other| other.name == wanted.name) {
            findings.error(at.field("name"), format_args!("the parameter {:?} stands twice", wanted.name));
        }
    }
}

/// Whether a condition, with the defaults put in, is on the prefix of the path.
pub(super) fn is_prefix(condition: &HttpRouteMatch) -> bool {
    condition.path.as_ref().and_then(|path| path.match_type).is_none_or(|form| form == PathMatchType::PathPrefix)
}

/// Whether a text holds only what may stand in a path.
pub(super) fn is_path_text(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(&byte);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let escape = byte == b'%'
            && bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit())
            && bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit());
        if !escape && !plain(byte) {
            return false;
        }
    }
    !text.is_empty()
}

/// What a path must not hold, unless it is an expression.
const BARRED: [&str; 6] = ["//", "/./", "/../", "%2f", "%2F", "#"];

fn path_match(path: FieldPath<'_>, wanted: &HttpPathMatch, findings: &mut Findings<'_>) {
    let value = wanted.value.as_deref().unwrap_or("/");
    let path = path.field("value");
    rules::max_len(path, value, 1024, findings);
    if wanted.match_type == Some(PathMatchType::RegularExpression) {
        return;
    }
    if !value.starts_with('/') {
        findings.error(path, format_args!("the path {value:?} must begin with /"));
    }
    for barred in BARRED.iter().filter(|barred| value.contains(**barred)) {
        findings.error(path, format_args!("the path {value:?} must not contain {barred:?}"));
    }
    for barred in ["/..", "/."].iter().filter(|barred| value.ends_with(**barred)) {
        findings.error(path, format_args!("the path {value:?} must not end with {barred:?}"));
    }
    if !is_path_text(value) {
        findings.error(path, format_args!("the path {value:?} holds characters that a path cannot have"));
    }
}
