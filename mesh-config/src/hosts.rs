//! Names of hosts: short names, wildcards, visibility.

/// The domain of a cluster's services, unless set otherwise.
pub const DEFAULT_CLUSTER_DOMAIN: &str = "cluster.local";

/// Completes the short name of a service as Istio does: a name without dots is in `namespace`.
///
/// ```
/// use mesh_config::{DEFAULT_CLUSTER_DOMAIN, full_host};
///
/// assert_eq!(full_host("reviews", "prod", DEFAULT_CLUSTER_DOMAIN), "reviews.prod.svc.cluster.local");
/// assert_eq!(full_host("example.com", "prod", DEFAULT_CLUSTER_DOMAIN), "example.com");
/// assert_eq!(full_host("*", "prod", DEFAULT_CLUSTER_DOMAIN), "*");
/// ```
#[must_use]
pub fn full_host(host: &str, namespace: &str, domain: &str) -> String {
    if host.is_empty() || host.contains(['.', '*', ':']) {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.{domain}")
    }
}

/// Whether a name is covered by a pattern: the same name, `*`, or `*.` and a suffix. Case does not count.
#[must_use]
pub fn host_covers(pattern: &str, host: &str) -> bool {
    if let Some(suffix) = pattern.strip_prefix('*') {
        let body = host.strip_prefix('*').unwrap_or(host);
        body.len() >= suffix.len()
            && body.is_char_boundary(body.len() - suffix.len())
            && body[body.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
    } else {
        pattern.eq_ignore_ascii_case(host)
    }
}

/// Whether an object of the namespace `owner` with this `exportTo` is seen from the namespace `viewer`.
///
/// An empty list means everywhere; `.` the owner's own namespace, `*` everywhere, `~` nowhere.
#[must_use]
pub fn is_visible(export_to: &[String], owner: &str, viewer: &str) -> bool {
    export_to.is_empty()
        || export_to.iter().any(|entry| match entry.as_str() {
            "*" => true,
            "." => owner == viewer,
            "~" => false,
            namespace => namespace == viewer,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_cover_suffixes() {
        for (pattern, host, covers) in [
            ("*", "a.b", true),
            ("*.b", "a.b", true),
            ("*.b", "x.a.b", true),
            ("*.b", "b", false),
            ("*.b", "*.a.b", true),
            ("*.a.b", "*.b", false),
            ("a.b", "A.B", true),
            ("a.b", "*.b", false),
        ] {
            assert_eq!(host_covers(pattern, host), covers, "{pattern} {host}");
        }
    }

    #[test]
    fn visibility_follows_export_to() {
        let list = |entries: &[&str]| entries.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(is_visible(&[], "a", "b"));
        assert!(!is_visible(&list(&["."]), "a", "b"));
        assert!(is_visible(&list(&[".", "b"]), "a", "b"));
        assert!(!is_visible(&list(&["~"]), "a", "a"));
    }
}
