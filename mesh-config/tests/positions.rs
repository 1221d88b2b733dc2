//! Findings point at what was written, however it was written.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use mesh_config::{Diagnostic, load_str, render_sarif};

/// The place of the only error, `line:column path`.
fn place(text: &str) -> String {
    let found: Vec<Diagnostic> =
        load_str("case.yaml", text).diagnostics.into_iter().filter(Diagnostic::is_error).collect();
    assert_eq!(found.len(), 1, "{text}\n{found:?}");
    format!("{} {}", found[0].position, found[0].path)
}

const GOOD: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: good}\n";

const BAD: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: a
spec:
  hosts: [a]
  http:
  - timeout: 0.5ms
    redirect: {uri: /x}
";

#[test]
fn plain_and_in_several_documents() {
    assert_eq!(place(BAD), "8:14 spec.http[0].timeout");
    assert_eq!(place(&format!("{GOOD}---\n{BAD}")), "12:14 spec.http[0].timeout");
    // As Helm writes bundles: a comment after each separator, and empty documents.
    let bundle = format!(
        "---\n# Source: app/templates/a.yaml\n{GOOD}---\n# Source: app/templates/b.yaml\n---\n# Source: c\n{BAD}"
    );
    assert_eq!(place(&bundle), "17:14 spec.http[0].timeout");
}

#[test]
fn in_a_list() {
    let item = BAD.lines().map(|line| format!("  {line}\n")).collect::<String>().replacen("  ", "- ", 1);
    assert_eq!(place(&format!("apiVersion: v1\nkind: List\nitems:\n{item}")), "11:16 spec.http[0].timeout");
}

#[test]
fn through_an_alias_it_is_where_the_value_is_written() {
    let text = BAD
        .replace("metadata:\n", "metadata:\n  annotations: {short: &short 0.5ms}\n")
        .replace("timeout: 0.5ms", "timeout: *short");
    let place = place(&text);
    assert_eq!(place, "4:31 spec.http[0].timeout");
}

#[test]
fn with_other_line_ends_a_mark_and_wide_characters() {
    assert_eq!(place(&BAD.replace('\n', "\r\n")), "8:14 spec.http[0].timeout");
    assert_eq!(place(&format!("\u{feff}{BAD}")), "8:14 spec.http[0].timeout");
    // Columns count characters, not bytes.
    let wide = BAD
        .replace("  - timeout: 0.5ms", "  - {name: 世界é, timeout: 0.5ms, redirect: {uri: /x}}")
        .replace("    redirect: {uri: /x}\n", "");
    assert_eq!(place(&wide), "8:26 spec.http[0].timeout");
    let first = "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a}, spec: {sel: {}}}";
    let (plain, marked) = (place(first), place(&format!("\u{feff}{first}")));
    assert_eq!(plain, marked);
}

#[test]
fn tabs_are_characters() {
    let text = "{\n\t\"apiVersion\": \"security.istio.io/v1\", \"kind\": \"PeerAuthentication\",\n\t\"metadata\": {\"name\": \"a\"},\n\t\"spec\":\t{\"sel\": {}}\n}\n";
    assert!(place(text).starts_with("4:11 "), "{}", place(text));
}

#[test]
fn a_log_has_what_its_schema_requires() {
    let found = load_str("my files/case.yaml", BAD).diagnostics;
    let log: serde_json::Value = serde_json::from_str(&render_sarif(&found)).unwrap();
    let run = &log["runs"][0];
    // SARIF 2.1.0: required are version, runs, tool.driver.name, results with message; levels are of a fixed set.
    assert_eq!((log["version"].as_str(), run["columnKind"].as_str()), (Some("2.1.0"), Some("unicodeCodePoints")));
    assert!(run["tool"]["driver"]["name"].is_string());
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for result in run["results"].as_array().unwrap() {
        assert!(result["message"]["text"].is_string());
        assert!(["none", "note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
        assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "my%20files/case.yaml");
        assert!(
            place["region"]["startLine"].as_u64().unwrap() >= 1
                && place["region"]["startColumn"].as_u64().unwrap() >= 1
        );
    }
}
