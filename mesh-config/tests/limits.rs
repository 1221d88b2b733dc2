//! Files that are made to cost much are refused by a limit that has a name, and cost little.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use mesh_config::{MAX_DOCUMENTS, MAX_FILE_BYTES, MAX_NODES, MAX_SCALAR_BYTES, load_str};

/// Far above what any of these takes, and far below what they would take without limits.
const LONG: Duration = Duration::from_secs(20);

/// Checks that a text is refused by the limit with this value.
fn refused(what: &str, text: &str, limit: usize) {
    let start = Instant::now();
    let loaded = load_str("big.yaml", text);
    let limit = limit.to_string();
    assert!(
        loaded.diagnostics.iter().any(|finding| finding.is_error() && finding.message.contains(&limit)),
        "{what}: {:?}",
        loaded.diagnostics.first()
    );
    assert!(start.elapsed() < LONG, "{what}: {:?}", start.elapsed());
}

#[test]
fn a_bomb_of_aliases() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{inner}]").unwrap();
    }
    refused("a bomb", &text, MAX_NODES);
}

#[test]
fn a_long_value() {
    let text =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{a: {}}}\n", "x".repeat(10 << 20));
    refused("a value", &text, MAX_SCALAR_BYTES);
}

#[test]
fn many_documents() {
    refused("documents", &"---\n{a: b}\n".repeat(100_000), MAX_DOCUMENTS);
}

#[test]
fn a_large_file() {
    refused("a file", &"# nothing\n".repeat(MAX_FILE_BYTES / 10 + 1), MAX_FILE_BYTES);
}

#[test]
fn a_long_expression() {
    let route = format!("{{match: [{{uri: {{regex: '{}'}}}}], redirect: {{uri: /}}}}", "(a|b)*".repeat(170_000));
    let text = format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec: {{hosts: [a], http: [{route}]}}\n"
    );
    refused("an expression", &text, 1024);
}

#[test]
fn deep_values() {
    let text = format!("a: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let start = Instant::now();
    assert!(!load_str("deep.yaml", &text).diagnostics.is_empty());
    assert!(start.elapsed() < LONG);
}
