use std::fmt;

/// What a port speaks, as Istio names it.
///
/// Source: Istio's "Protocol Selection" page and `pkg/config/protocol`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS.
    Http2,
    /// gRPC: HTTP/2 without TLS.
    Grpc,
    /// gRPC-Web: HTTP/1.1.
    GrpcWeb,
    /// TLS by the application, HTTP inside: routed by SNI only.
    Https,
    /// TLS by the application.
    Tls,
    /// Opaque bytes.
    Tcp,
    /// MongoDB: carried as opaque bytes.
    Mongo,
    /// MySQL: carried as opaque bytes.
    Mysql,
    /// Redis: carried as opaque bytes.
    Redis,
    /// Datagrams: not carried by the mesh.
    Udp,
    /// Nothing was declared. Carried as opaque bytes: this translation does not sniff.
    #[default]
    Unsupported,
}

impl Protocol {
    /// Reads Istio's name of a protocol, in any case: `HTTP`, `grpc-web`, `TLS`, ... Unknown names give
    /// [`Protocol::Unsupported`].
    #[must_use]
    pub fn parse(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "http" => Self::Http,
            "http2" => Self::Http2,
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "https" => Self::Https,
            "tls" => Self::Tls,
            "tcp" => Self::Tcp,
            "mongo" => Self::Mongo,
            "mysql" => Self::Mysql,
            "redis" => Self::Redis,
            "udp" => Self::Udp,
            _ => Self::Unsupported,
        }
    }

    /// Selects the protocol of a Kubernetes port.
    ///
    /// In this order: `UDP` as transport; `appProtocol` (Istio's names, and `kubernetes.io/h2c`, `kubernetes.io/ws`,
    /// `kubernetes.io/wss`); the well-known MySQL port 3306 when nothing else is said; the part of the port's name
    /// before its first `-`, where `grpc-web` is one name.
    #[must_use]
    pub fn select(port: u16, name: &str, app_protocol: Option<&str>, transport: Option<&str>) -> Self {
        if transport.is_some_and(|t| t.eq_ignore_ascii_case("udp")) {
            return Self::Udp;
        }
        match app_protocol {
            Some("kubernetes.io/h2c") => return Self::Http2,
            Some("kubernetes.io/ws") => return Self::Http,
            Some("kubernetes.io/wss") => return Self::Https,
            Some(other) if Self::parse(other) != Self::Unsupported => return Self::parse(other),
            _ => {}
        }
        let lower = name.to_ascii_lowercase();
        if lower == "grpc-web" || lower.starts_with("grpc-web-") {
            return Self::GrpcWeb;
        }
        match Self::parse(lower.split('-').next().unwrap_or_default()) {
            Self::Unsupported if port == 3306 => Self::Mysql,
            // A name cannot make a TCP port carry datagrams.
            Self::Udp => Self::Unsupported,
            found => found,
        }
    }

    /// Whether requests on the port are routed one by one.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Whether the port must be spoken to in HTTP/2.
    #[must_use]
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc)
    }

    /// Whether the application itself speaks TLS on the port.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
            Self::GrpcWeb => "GRPC-Web",
            Self::Https => "HTTPS",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Mongo => "Mongo",
            Self::Mysql => "MySQL",
            Self::Redis => "Redis",
            Self::Udp => "UDP",
            Self::Unsupported => "UnsupportedProtocol",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Protocol;

    #[test]
    fn selection() {
        let cases = [
            ((80, "http", None, None), Protocol::Http),
            ((80, "http-web", None, None), Protocol::Http),
            ((80, "HTTP2-x", None, None), Protocol::Http2),
            ((80, "grpc-web-x", None, None), Protocol::GrpcWeb),
            ((80, "grpc-webby", None, None), Protocol::Grpc),
            ((80, "web", None, None), Protocol::Unsupported),
            ((80, "", None, None), Protocol::Unsupported),
            ((80, "httpx", None, None), Protocol::Unsupported),
            ((3306, "db", None, None), Protocol::Mysql),
            ((80, "tcp", Some("http"), None), Protocol::Http),
            ((80, "http", Some("acme.io/x"), None), Protocol::Http),
            ((80, "tcp", Some("kubernetes.io/h2c"), None), Protocol::Http2),
            ((53, "http", Some("http"), Some("UDP")), Protocol::Udp),
            ((80, "http", None, Some("TCP")), Protocol::Http),
            ((80, "udp-x", None, Some("TCP")), Protocol::Unsupported),
        ];
        for ((port, name, app, transport), want) in cases {
            assert_eq!(Protocol::select(port, name, app, transport), want, "{name} {app:?} {transport:?}");
        }
    }
}
