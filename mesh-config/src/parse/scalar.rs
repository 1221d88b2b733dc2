//! What a plain YAML scalar means.

use super::node::Data;

/// Reads a plain scalar as Kubernetes does (YAML 1.1 booleans and numbers, without single-letter booleans).
pub(super) fn resolve(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Data::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Data::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Data::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Data::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Data::Float(f64::NAN),
        _ => {}
    }
    let first = text.as_bytes()[0];
    if !(first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.')) {
        return Data::Text(text.to_owned());
    }
    integer(text).or_else(|| float(text)).unwrap_or_else(|| Data::Text(text.to_owned()))
}

fn integer(text: &str) -> Option<Data> {
    let plain: String;
    let digits = if text.contains('_') {
        plain = text.replace('_', "");
        &plain
    } else {
        text
    };
    let (sign, magnitude) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits.strip_prefix('+').unwrap_or(digits)),
    };
    let (radix, body) = match magnitude.get(..2) {
        Some("0x" | "0X") => (16, &magnitude[2..]),
        Some("0o") => (8, &magnitude[2..]),
        Some("0b") => (2, &magnitude[2..]),
        Some(_) if magnitude.starts_with('0') => (8, &magnitude[1..]),
        _ => (10, magnitude),
    };
    if body.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{body}"), radix).ok().map(Data::Int)
}

fn float(text: &str) -> Option<Data> {
    let shaped = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let number = text.bytes().any(|b| b.is_ascii_digit());
    if shaped && number { text.parse().ok().map(Data::Float) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_as_kubernetes_does() {
        let cases = [
            ("~", "Null"),
            ("yes", "Bool(true)"),
            ("Off", "Bool(false)"),
            ("9080", "Int(9080)"),
            ("-3", "Int(-3)"),
            ("0x1f", "Int(31)"),
            ("0644", "Int(420)"),
            ("1_000", "Int(1000)"),
            ("1.5", "Float(1.5)"),
            ("1e3", "Float(1000.0)"),
            ("089", "Float(89.0)"),
            ("1.2.3", "Text(\"1.2.3\")"),
            ("10ms", "Text(\"10ms\")"),
            ("-", "Text(\"-\")"),
            ("0x-1", "Text(\"0x-1\")"),
            ("y", "Text(\"y\")"),
            ("v1", "Text(\"v1\")"),
        ];
        for (text, expected) in cases {
            assert_eq!(format!("{:?}", resolve(text)), expected, "{text}");
        }
    }
}
