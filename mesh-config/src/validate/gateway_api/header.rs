//! Headers: their names, values and changes.

use super::name;
use crate::{
    model::gateway_api::{Header, HeaderModifier},
    path::FieldPath,
    validate::{Findings, rules},
};

/// Checks the name of a header or parameter.
pub(super) fn token(path: FieldPath<'_>, text: &str, findings: &mut Findings<'_>) {
    if !name::is_token(text) {
        findings.error(path, format_args!("invalid name {text:?}"));
    }
}

/// Checks the value of a header: visible characters, single spaces between them, at least one.
pub(super) fn value(path: FieldPath<'_>, text: &str, findings: &mut Findings<'_>) {
    let visible = |byte: &u8| (b'!'..=b'~').contains(byte);
    let bytes = text.as_bytes();
    let gaps = bytes.windows(2).any(|pair| !visible(&pair[0]) && !visible(&pair[1]));
    let edges = bytes.first().is_some_and(visible) && bytes.last().is_some_and(visible);
    if text.is_empty() {
        findings.error(path, "the value must not be empty");
    } else if !edges || gaps || !bytes.iter().all(|byte| visible(byte) || matches!(byte, b' ' | b'\t')) {
        findings.error(path, format_args!("invalid header value {text:?}"));
    }
    rules::max_len(path, text, 4096, findings);
}

/// Checks changes of headers. The same header may not stand twice in a list.
pub(super) fn modifier(path: FieldPath<'_>, changes: &HeaderModifier, findings: &mut Findings<'_>) {
    list(path.field("set"), &changes.set, findings);
    list(path.field("add"), &changes.add, findings);
    let remove = path.field("remove");
    rules::max_items(remove, changes.remove.len(), 16, findings);
    name::unique(remove, "header", &changes.remove, findings);
}

fn list(path: FieldPath<'_>, headers: &[Header], findings: &mut Findings<'_>) {
    rules::max_items(path, headers.len(), 16, findings);
    for (index, header) in headers.iter().enumerate() {
        let path = path.index(index);
        token(path.field("name"), &header.name, findings);
        value(path.field("value"), &header.value, findings);
        if headers[..index].iter().any(|other| other.name == header.name) {
            findings.error(path.field("name"), format_args!("the header {:?} stands twice", header.name));
        }
    }
}
