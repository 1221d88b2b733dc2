//! Cross-origin rules.

use std::sync::LazyLock;

use regex::Regex;

use super::{header, name};
use crate::{
    model::gateway_api::CorsFilter,
    path::FieldPath,
    validate::{Findings, rules},
};

const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"];

/// `*`, or scheme, host (a `*.` wildcard or `*` is possible) and port.
static ORIGIN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(\*|https?://((\*\.)?([a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+|\*)(:[0-9]{1,5})?)$").ok());

/// Checks cross-origin rules.
pub(super) fn validate(path: FieldPath<'_>, cors: &CorsFilter, findings: &mut Findings<'_>) {
    for (field, list, limit) in [
        ("allowOrigins", &cors.allow_origins, 64),
        ("allowMethods", &cors.allow_methods, 9),
        ("allowHeaders", &cors.allow_headers, 64),
        ("exposeHeaders", &cors.expose_headers, 64),
    ] {
        let path = path.field(field);
        rules::max_items(path, list.len(), limit, findings);
        name::unique(path, "value", list, findings);
        if field != "exposeHeaders" && list.len() > 1 && list.iter().any(|value| value == "*") {
            findings.error(path, "* must stand alone");
        }
        for (index, value) in list.iter().enumerate() {
            let path = path.index(index);
            match field {
                "allowOrigins" => origin(path, value, findings),
                "allowMethods" => name::word(path, Some(value), &METHODS, findings),
                _ => header::token(path, value, findings),
            }
        }
    }
    if let Some(age) = cors.max_age.filter(|age| *age < 1) {
        findings.error(path.field("maxAge"), format_args!("{age} must be at least 1 second"));
    }
}

fn origin(path: FieldPath<'_>, text: &str, findings: &mut Findings<'_>) {
    let fine = text.len() <= 253 && ORIGIN.as_ref().is_some_and(|form| form.is_match(text));
    if !fine {
        findings.error(path, format_args!("invalid origin {text:?}: write SCHEME://HOST[:PORT], or *"));
    }
}
