//! Findings as SARIF 2.1.0, for code review tools.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Code, Diagnostic, Level};

/// Writes findings as a SARIF 2.1.0 log with one run. Source: OASIS SARIF 2.1.0.
#[must_use]
pub fn render_sarif(diagnostics: &[Diagnostic]) -> String {
    let codes: BTreeSet<Code> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    let rules: Vec<Value> = codes
        .iter()
        .map(|code| {
            let mut rule = json!({
                "id": code.as_str(),
                "name": code.name(),
                "shortDescription": {"text": code.doc()},
                "help": {"text": code.fix()},
                "defaultConfiguration": {"level": level(code.level())},
                "properties": {"page": code.page()},
            });
            // The format asks for an absolute address.
            if let Some(page) = code.upstream_page() {
                rule["helpUri"] = Value::String(page);
            }
            rule
        })
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "mesh", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            // The default of readers differs, and only where a file has characters beyond the first plane.
            "columnKind": "unicodeCodePoints",
            "results": diagnostics.iter().map(result).collect::<Vec<_>>(),
        }],
    });
    format!("{log:#}\n")
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "note",
    }
}

/// A file's name as a URI reference (RFC 3986): relative, or with the scheme `file` when it is absolute.
fn uri(file: &str) -> String {
    let mut uri = if file.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in file.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~') {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

fn result(diagnostic: &Diagnostic) -> Value {
    let text = match (diagnostic.resource.as_str(), &diagnostic.help) {
        ("", None) => diagnostic.message.clone(),
        ("", Some(help)) => format!("{}\n{help}", diagnostic.message),
        (resource, None) => format!("{resource}: {}", diagnostic.message),
        (resource, Some(help)) => format!("{resource}: {}\n{help}", diagnostic.message),
    };
    let mut result =
        json!({"ruleId": diagnostic.code.as_str(), "level": level(diagnostic.level), "message": {"text": text}});
    if !diagnostic.file.is_empty() {
        let mut place = json!({"artifactLocation": {"uri": uri(&diagnostic.file)}});
        if diagnostic.position.is_known() {
            place["region"] =
                json!({"startLine": diagnostic.position.line, "startColumn": diagnostic.position.column.max(1)});
        }
        result["locations"] = json!([{"physicalLocation": place}]);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Position, model::SourceLocation};

    #[test]
    fn names_of_files_are_uris() {
        assert_eq!(uri("config/my app.yaml"), "config/my%20app.yaml");
        assert_eq!(uri("/etc/mesh/a:b#1.yaml"), "file:///etc/mesh/a%3Ab%231.yaml");
        assert_eq!(uri("é.yaml"), "%C3%A9.yaml");
    }

    #[test]
    fn names_rule_and_region() {
        let location = SourceLocation { file: "a.yaml".into(), position: Position { line: 2, column: 3 } };
        let log = render_sarif(&[Diagnostic::at(Code::Syntax, &location, &[&"no"])]);
        let log: Value = serde_json::from_str(&log).unwrap();
        assert_eq!(log["version"], "2.1.0");
        assert_eq!(log["runs"][0]["tool"]["driver"]["rules"][0]["id"], "MESH0001");
        let region = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"];
        assert_eq!(region["startLine"], 2);
    }
}
