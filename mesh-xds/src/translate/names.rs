//! Names as Istio gives them, so that tools and dashboards made for Istio find what they look for.

use std::fmt::Display;

/// Cluster that connects to where the caller was going.
pub const PASSTHROUGH_CLUSTER: &str = "PassthroughCluster";
/// Cluster without endpoints.
pub const BLACK_HOLE_CLUSTER: &str = "BlackHoleCluster";
/// Cluster that passes inbound connections of undeclared ports on to the application.
pub const INBOUND_PASSTHROUGH_CLUSTER: &str = "InboundPassthroughCluster";
/// Listener that takes all redirected outbound connections.
pub const VIRTUAL_OUTBOUND: &str = "virtualOutbound";
/// Listener that takes all redirected inbound connections.
pub const VIRTUAL_INBOUND: &str = "virtualInbound";
/// Port of [`VIRTUAL_OUTBOUND`].
pub const VIRTUAL_OUTBOUND_PORT: u16 = 15001;
/// Port of [`VIRTUAL_INBOUND`].
pub const VIRTUAL_INBOUND_PORT: u16 = 15006;

/// `outbound|9080|v1|reviews.default.svc.cluster.local`; `subset` is empty for all endpoints.
#[must_use]
pub fn outbound_cluster(port: u16, subset: &str, hostname: &str) -> String {
    format!("outbound|{port}|{subset}|{hostname}")
}

/// `inbound|9080||`: the application's own port.
#[must_use]
pub fn inbound_cluster(port: u16) -> String {
    format!("inbound|{port}||")
}

/// SNI of mutual TLS to a cluster: `outbound_.9080_.v1_.reviews.default.svc.cluster.local`.
#[must_use]
pub fn mesh_sni(port: u16, subset: &str, hostname: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{hostname}")
}

/// Listener of one address and port: `0.0.0.0_9080`.
#[must_use]
pub fn listener(address: impl Display, port: u16) -> String {
    format!("{address}_{port}")
}

/// Routes of an HTTP port of a gateway: `http.8080`.
#[must_use]
pub fn gateway_http_route(port: u16) -> String {
    format!("http.{port}")
}

/// Routes of one HTTPS server of a gateway: `https.443.https.bookinfo-gateway.default`.
#[must_use]
pub fn gateway_https_route(port: u16, port_name: &str, gateway: &str, namespace: &str) -> String {
    format!("https.{port}.{port_name}.{gateway}.{namespace}")
}

/// SPIFFE id of a service account.
#[must_use]
pub fn spiffe_id(trust_domain: &str, namespace: &str, service_account: &str) -> String {
    format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}")
}

/// Host name of a Kubernetes service.
#[must_use]
pub fn service_host(name: &str, namespace: &str, cluster_domain: &str) -> String {
    format!("{name}.{namespace}.svc.{cluster_domain}")
}

/// A host as written in an object of `namespace`, fully qualified: a name without dots is a service of that namespace.
///
/// Source: Istio's "short names" rule of VirtualService hosts and destinations.
#[must_use]
pub fn resolve_host(host: &str, namespace: &str, cluster_domain: &str) -> String {
    let is_short = !host.contains('.') && !host.contains('*') && host.parse::<std::net::IpAddr>().is_err();
    if is_short { service_host(host, namespace, cluster_domain) } else { host.to_ascii_lowercase() }
}

/// Whether `pattern` (exact, `*`, or with a leading `*.` label) covers `host`, which may be a pattern itself.
#[must_use]
pub fn host_covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        None => pattern == host,
        Some(suffix) => host.strip_prefix('*').unwrap_or(host).ends_with(suffix),
    }
}

/// Orders patterns from the most to the least specific: exact before wildcards, longer wildcards first.
#[must_use]
pub fn specificity(pattern: &str) -> (bool, std::cmp::Reverse<usize>) {
    (pattern.starts_with('*'), std::cmp::Reverse(pattern.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(resolve_host("reviews", "a", "cluster.local"), "reviews.a.svc.cluster.local");
        assert_eq!(resolve_host("reviews.b", "a", "cluster.local"), "reviews.b");
        assert_eq!(resolve_host("*", "a", "cluster.local"), "*");
        assert_eq!(resolve_host("Example.COM", "a", "cluster.local"), "example.com");
        assert_eq!(resolve_host("::1", "a", "cluster.local"), "::1");
    }

    #[test]
    fn covering() {
        assert!(host_covers("*", "a.b"));
        assert!(host_covers("*.b", "a.b"));
        assert!(host_covers("*.b", "*.a.b"));
        assert!(!host_covers("*.b", "b"));
        assert!(!host_covers("*.a.b", "*.b"));
        assert!(host_covers("a.b", "a.b"));
        let mut patterns = ["*", "a.b", "*.b", "*.a.b", "x.a.b"];
        patterns.sort_by_key(|p| specificity(p));
        assert_eq!(patterns, ["x.a.b", "a.b", "*.a.b", "*.b", "*"]);
    }
}
