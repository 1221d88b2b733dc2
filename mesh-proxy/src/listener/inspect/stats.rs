//! What the listener filters count, under Envoy's names: over all listeners.

use super::tls::ClientHello;
use crate::{
    model::{Listener, ListenerFilterKind, ProxyProtocolVersion},
    stats::{Counter, Stats},
};

/// Counters of the listener filters.
pub(crate) struct InspectorStats {
    /// Headers of PROXY protocol that could not be read or were missing.
    pub(super) proxy_error: Counter,
    pub(super) proxy_not_found_allowed: Counter,
    pub(super) proxy_not_found_disallowed: Counter,
    proxy_versions: [VersionStats; 2],
    tls_found: Counter,
    pub(super) tls_not_found: Counter,
    pub(super) tls_too_large: Counter,
    sni_found: Counter,
    sni_not_found: Counter,
    alpn_found: Counter,
    alpn_not_found: Counter,
}

/// `proxy_proto.[PREFIX.]versions.vN.*`.
pub(super) struct VersionStats {
    pub(super) found: Counter,
    pub(super) disallowed: Counter,
    pub(super) error: Counter,
}

impl InspectorStats {
    /// For the filters of `listener`.
    pub(crate) fn new(stats: &Stats, listener: &Listener) -> Self {
        let prefix = listener.listener_filters.iter().find_map(|filter| match &filter.kind {
            ListenerFilterKind::ProxyProtocol(config) if !config.stat_prefix.is_empty() => {
                Some(format!("{}.", config.stat_prefix))
            }
            _ => None,
        });
        let prefix = format!("proxy_proto.{}", prefix.unwrap_or_default());
        let tls = |name: &str| stats.counter(&format!("tls_inspector.{name}"));
        let version = |name: &str| {
            let counter = |what: &str| stats.counter(&format!("{prefix}versions.{name}.{what}"));
            VersionStats { found: counter("found"), disallowed: counter("disallowed"), error: counter("error") }
        };
        Self {
            proxy_error: stats.counter("downstream_cx_proxy_proto_error"),
            proxy_not_found_allowed: stats.counter(&format!("{prefix}not_found_allowed")),
            proxy_not_found_disallowed: stats.counter(&format!("{prefix}not_found_disallowed")),
            proxy_versions: [version("v1"), version("v2")],
            tls_found: tls("tls_found"),
            tls_not_found: tls("tls_not_found"),
            tls_too_large: tls("client_hello_too_large"),
            sni_found: tls("sni_found"),
            sni_not_found: tls("sni_not_found"),
            alpn_found: tls("alpn_found"),
            alpn_not_found: tls("alpn_not_found"),
        }
    }

    pub(super) fn version(&self, version: ProxyProtocolVersion) -> &VersionStats {
        &self.proxy_versions[usize::from(version == ProxyProtocolVersion::V2)]
    }

    pub(super) fn hello(&self, hello: &ClientHello) {
        self.tls_found.inc();
        if hello.server_name.is_some() { &self.sni_found } else { &self.sni_not_found }.inc();
        if hello.alpn.is_empty() { &self.alpn_not_found } else { &self.alpn_found }.inc();
    }
}
