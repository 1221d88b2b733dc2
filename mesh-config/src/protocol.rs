//! Application protocols of ports: those that Istio knows, and how a Service's port tells its own.

/// Protocols of a port. Source: Istio's `protocol.Parse`.
const KNOWN: [&str; 14] = [
    "TCP",
    "UDP",
    "GRPC",
    "GRPC-WEB",
    "GRPC-WEB-TLS",
    "HTTP",
    "HTTP_PROXY",
    "HTTP2",
    "HTTPS",
    "TLS",
    "MONGO",
    "REDIS",
    "MYSQL",
    "HBONE",
];

/// Ports that are TCP, whatever their name: SMTP, DNS, MySQL, MongoDB.
const WELL_KNOWN: [u16; 4] = [25, 53, 3306, 27017];

/// Whether a text is a protocol that Istio knows; case does not count.
pub(crate) fn is_known(text: &str) -> bool {
    KNOWN.iter().any(|known| known.eq_ignore_ascii_case(text))
}

/// Whether the protocol carries TLS.
pub(crate) fn is_tls(text: &str) -> bool {
    text.eq_ignore_ascii_case("HTTPS") || text.eq_ignore_ascii_case("TLS")
}

/// Whether a Service's port tells its protocol: by `appProtocol`, by the beginning of its name, or by its number.
pub(crate) fn is_told(number: u16, name: &str, transport: Option<&str>, app_protocol: Option<&str>) -> bool {
    if transport == Some("UDP") {
        return true;
    }
    let told = app_protocol.unwrap_or(name);
    if matches!(told, "kubernetes.io/h2c" | "kubernetes.io/ws" | "kubernetes.io/wss") {
        return true;
    }
    let prefix = told.split('-').next().unwrap_or_default();
    is_known(prefix) || WELL_KNOWN.contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_protocols() {
        for (number, name, transport, app, told) in [
            (80, "http", None, None, true),
            (80, "http-web", Some("TCP"), None, true),
            (80, "grpc-web-x", None, None, true),
            (80, "web", None, None, false),
            (80, "", None, None, false),
            (80, "web", Some("UDP"), None, true),
            (80, "web", None, Some("http2"), true),
            (80, "http", None, Some("thrift"), false),
            (80, "web", None, Some("kubernetes.io/h2c"), true),
            (3306, "db", None, None, true),
        ] {
            assert_eq!(is_told(number, name, transport, app), told, "{number} {name} {app:?}");
        }
    }
}
