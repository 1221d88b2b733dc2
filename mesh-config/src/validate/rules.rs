//! Rules that several kinds share: names, hosts, ports, durations, expressions.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr as _,
};

use super::Findings;
use crate::{
    model::{Duration, Object, Percent, StringMatch},
    path::FieldPath,
};

/// Whether a text is an RFC 1123 label of at most 63 characters; upper case is let through, as Istio does.
pub(super) fn is_label(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// Why a text is not a domain name; a last dot is let through.
fn domain_fault(labels: &[&str]) -> Option<String> {
    if let Some(bad) = labels.iter().find(|label| !is_label(label)) {
        return Some(format!("the label {bad:?} must be letters, digits and '-', at most 63 of them"));
    }
    let last = labels.last().filter(|label| label.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(format!("the last label {last:?} must not be a number"))
}

fn labels(host: &str) -> Vec<&str> {
    host.strip_suffix('.').unwrap_or(host).split('.').collect()
}

/// Why a text is not a host name; `None` when it is.
pub(super) fn host_fault(host: &str) -> Option<String> {
    match host.len() {
        0 => Some("must not be empty".to_owned()),
        1..=255 => domain_fault(&labels(host)),
        _ => Some("must be at most 255 characters long".to_owned()),
    }
}

/// Why a text is neither a host name nor a wildcard (`*`, `*.example.com`); `None` when it is.
pub(super) fn wildcard_fault(host: &str) -> Option<String> {
    if host.is_empty() || host.len() > 255 {
        return host_fault(host);
    }
    let mut labels = labels(host);
    let Some(rest) = labels[0].strip_prefix('*') else { return domain_fault(&labels) };
    let rest = rest.strip_prefix('-').unwrap_or(rest);
    if rest.is_empty() {
        labels.remove(0);
        return if labels.is_empty() { None } else { domain_fault(&labels) };
    }
    labels[0] = rest;
    domain_fault(&labels)
}

/// Whether a text is an address.
pub(super) fn is_ip(text: &str) -> bool {
    IpAddr::from_str(text).is_ok()
}

/// Whether a text is an address or a range in CIDR form.
pub(super) fn is_subnet(text: &str) -> bool {
    is_ip(text) || ipnet::IpNet::from_str(text).is_ok()
}

/// Checks an address or a range.
pub(super) fn subnet(path: FieldPath<'_>, text: &str, findings: &mut Findings<'_>) {
    if !is_subnet(text) {
        findings.error(path, format_args!("{text:?} is neither an IP address nor a range in CIDR form"));
    }
}

/// Checks a host name.
pub(super) fn host(path: FieldPath<'_>, text: &str, findings: &mut Findings<'_>) {
    if let Some(fault) = host_fault(text) {
        findings.error(path, format_args!("invalid host {text:?}: {fault}"));
    }
}

/// Checks a host name or wildcard.
pub(super) fn wildcard_host(path: FieldPath<'_>, text: &str, findings: &mut Findings<'_>) {
    if let Some(fault) = wildcard_fault(text) {
        findings.error(path, format_args!("invalid host {text:?}: {fault}"));
    }
}

/// Checks a name that must be an RFC 1123 label.
pub(super) fn label(path: FieldPath<'_>, what: &str, text: &str, findings: &mut Findings<'_>) {
    if !is_label(text) {
        findings
            .error(path, format_args!("invalid {what} {text:?}: it must be letters, digits and '-', 1 to 63 of them"));
    }
}

/// Checks a port number.
pub(super) fn port(path: FieldPath<'_>, number: u32, findings: &mut Findings<'_>) {
    if !(1..=65535).contains(&number) {
        findings.error(path, format_args!("port {number} must be between 1 and 65535"));
    }
}

/// Checks a duration, which must be at least a millisecond, and whole milliseconds, when it is given.
pub(super) fn duration(path: FieldPath<'_>, span: Option<Duration>, findings: &mut Findings<'_>) {
    let Some(span) = span else { return };
    if span < Duration::from_millis(1) {
        findings.error(path, "the duration must be at least 1ms");
    } else if span.as_std().subsec_nanos() % 1_000_000 != 0 {
        findings.error(path, "the duration must be whole milliseconds");
    }
}

/// Checks a share.
pub(super) fn percent(path: FieldPath<'_>, share: Option<Percent>, findings: &mut Findings<'_>) {
    if let Some(Percent { value }) = share.filter(|share| !(0.0..=100.0).contains(&share.value)) {
        findings.error(path.field("value"), format_args!("{value} must be between 0 and 100 percent"));
    }
}

/// Checks a number that must not be negative.
pub(super) fn not_negative(path: FieldPath<'_>, number: Option<i32>, findings: &mut Findings<'_>) {
    if let Some(number) = number.filter(|number| *number < 0) {
        findings.error(path, format_args!("{number} must not be negative"));
    }
}

/// Checks an expression, which must be one that RE2 takes.
pub(super) fn regex(path: FieldPath<'_>, pattern: &str, findings: &mut Findings<'_>) {
    /// As Istio: longer ones may exceed the program size that Envoy takes.
    const LIMIT: usize = 1024;
    if pattern.is_empty() {
        findings.error(path, "the regular expression must not be empty");
    } else if pattern.len() > LIMIT {
        findings.error(path, format_args!("the regular expression is longer than {LIMIT} bytes"));
    } else if let Err(error) = regex::RegexBuilder::new(pattern).size_limit(4 << 20).build() {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        findings.error(path, format_args!("invalid regular expression {pattern:?}: {reason}"));
    }
}

/// Checks how a text is matched: no empty prefix or expression.
pub(super) fn string_match(path: FieldPath<'_>, text: &StringMatch, findings: &mut Findings<'_>) {
    match text {
        StringMatch::Prefix(prefix) if prefix.is_empty() => {
            findings.error(path.field("prefix"), "the prefix must not be empty");
        }
        StringMatch::Regex(pattern) => regex(path.field("regex"), pattern, findings),
        _ => {}
    }
}

/// Whether a text is the name of an HTTP header (RFC 9110, token).
pub(super) fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether a text is the name of a header or of an HTTP/2 pseudo-header, such as `:authority`.
pub(super) fn is_header_or_pseudo(name: &str) -> bool {
    is_header_name(name.strip_prefix(':').unwrap_or(name))
}

/// A boolean as Go's `strconv.ParseBool` reads it, which is how annotations are read.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Whether a text is a header's name as Istio's own fields take it.
pub(super) fn is_plain_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Checks that no value of a list is empty.
pub(super) fn not_empty(path: FieldPath<'_>, list: &[String], findings: &mut Findings<'_>) {
    for (index, _) in list.iter().enumerate().filter(|(_, value)| value.is_empty()) {
        findings.error(path.index(index), "the value must not be empty");
    }
}

/// Checks the length of a text.
pub(super) fn max_len(path: FieldPath<'_>, text: &str, limit: usize, findings: &mut Findings<'_>) {
    if text.len() > limit {
        findings.error(path, format_args!("the value is longer than {limit} bytes"));
    }
}

/// Checks how many items a list has.
pub(super) fn max_items(path: FieldPath<'_>, count: usize, limit: usize, findings: &mut Findings<'_>) {
    if count > limit {
        findings.error(path, format_args!("{count} items are more than the limit of {limit}"));
    }
}

/// Checks `exportTo`: namespaces, `.`, `*` or `~`, each once; `*` and `~` alone.
pub(super) fn export_to(list: &[String], allow_none: bool, findings: &mut Findings<'_>) {
    let path = FieldPath::spec();
    let path = path.field("exportTo");
    for (index, entry) in list.iter().enumerate() {
        let path = path.index(index);
        match entry.as_str() {
            "." | "*" => {}
            "~" if allow_none => {}
            namespace => label(path, "namespace", namespace, findings),
        }
        let own = findings.object().namespace();
        let twice = match entry.as_str() {
            "." => list[..index].iter().any(|other| other == "." || other == own),
            other if other == own => list[..index].iter().any(|before| before == "." || before == own),
            _ => list[..index].contains(entry),
        };
        if twice {
            findings.error(path, format_args!("{entry:?} stands twice (`.` is the object's own namespace)"));
        } else if list.len() > 1 && (entry == "*" || entry == "~") {
            findings.error(path, format_args!("{entry:?} must stand alone"));
        }
    }
}

/// Checks a protocol.
pub(super) fn protocol(path: FieldPath<'_>, text: &str, findings: &mut Findings<'_>) {
    if !crate::protocol::is_known(text) {
        findings.error(path, format_args!("unknown protocol {text:?}"));
        findings.help("use HTTP, HTTPS, GRPC, HTTP2, MONGO, TCP or TLS");
    }
}

/// Checks the path of a Unix socket, given without `unix://`.
pub(super) fn unix_path(path: FieldPath<'_>, socket: &str, findings: &mut Findings<'_>) {
    if socket.len() < 2 || !socket.starts_with(['/', '@']) {
        findings.error(path, format_args!("the socket {socket:?} must be an absolute path or begin with '@'"));
    } else if socket.ends_with('/') {
        findings.error(path, format_args!("the socket {socket:?} must not be a folder"));
    }
}

/// An address with a port, IPv6 in brackets.
pub(super) fn socket_address(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

/// Checks name and namespace of an object.
pub(super) fn metadata(object: &Object, findings: &mut Findings<'_>) {
    let root = FieldPath::root();
    let metadata = root.field("metadata");
    let name = object.name();
    let fine = name.len() <= 253
        && name.split('.').all(|label| is_label(label) || (label.len() > 63 && is_label(&label[..63])))
        && !name.bytes().any(|byte| byte.is_ascii_uppercase());
    if !fine {
        findings.error(
            metadata.field("name"),
            format_args!(
                "invalid name {name:?}: it must be lower case letters, digits, '-' and '.', at most 253 of them"
            ),
        );
    }
    if let Some(namespace) = object.meta.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
        label(metadata.field("namespace"), "namespace", namespace, findings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_wildcards() {
        for host in ["reviews", "a.example.com", "a.example.com.", "A-1.b"] {
            assert_eq!(host_fault(host), None, "{host}");
        }
        for host in ["", "-", "a..b", "a_b.c", "foo.ba!r", "1.1.1.1", "*", "*.b.c", &"x".repeat(64)] {
            assert!(host_fault(host).is_some(), "{host}");
        }
        for host in ["*", "*.example.com", "*-a.example.com", "reviews"] {
            assert_eq!(wildcard_fault(host), None, "{host}");
        }
        for host in ["foo.*.com", "**", "a.*", "*.1"] {
            assert!(wildcard_fault(host).is_some(), "{host}");
        }
    }
}
