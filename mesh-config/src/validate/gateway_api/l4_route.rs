//! The rules of `TLSRoute`, `TCPRoute` and `UDPRoute`.

use super::{name, parent, reference};
use crate::{
    model::{
        Object,
        gateway_api::{L4RouteRule, TcpRoute, TlsRoute, UdpRoute},
    },
    path::FieldPath,
    validate::{Findings, rules},
};

/// Checks a `TLSRoute`.
pub(in crate::validate) fn validate_tls(object: &Object, spec: &TlsRoute, findings: &mut Findings<'_>) {
    parent::validate(&spec.parent_refs, spec.use_default_gateways.as_deref(), findings);
    let root = FieldPath::spec();
    let path = root.field("hostnames");
    if spec.hostnames.is_empty() && !is_old(object) {
        findings.error(path, "at least one host is required");
    }
    rules::max_items(path, spec.hostnames.len(), 1024, findings);
    for (index, host) in spec.hostnames.iter().enumerate() {
        if rules::is_ip(host) {
            findings.error(path.index(index), format_args!("the host {host:?} must not be an IP address"));
        } else {
            name::host(path.index(index), host, findings);
        }
    }
    routes(&spec.rules, is_old(object), findings);
}

/// Checks a `TCPRoute`.
pub(in crate::validate) fn validate_tcp(object: &Object, spec: &TcpRoute, findings: &mut Findings<'_>) {
    parent::validate(&spec.parent_refs, spec.use_default_gateways.as_deref(), findings);
    routes(&spec.rules, is_old(object), findings);
}

/// Checks a `UDPRoute`.
pub(in crate::validate) fn validate_udp(object: &Object, spec: &UdpRoute, findings: &mut Findings<'_>) {
    parent::validate(&spec.parent_refs, spec.use_default_gateways.as_deref(), findings);
    routes(&spec.rules, is_old(object), findings);
}

/// Whether an object is of the first version, in which routes have up to 16 rules, and TLS routes need no host.
fn is_old(object: &Object) -> bool {
    object.api_version.ends_with("/v1alpha2")
}

fn routes(list: &[L4RouteRule], old: bool, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    let path = root.field("rules");
    let limit = if old { 16 } else { 1 };
    if list.is_empty() {
        findings.error(path, "at least one rule is required");
    }
    rules::max_items(path, list.len(), limit, findings);
    for (index, rule) in list.iter().enumerate() {
        let path = path.index(index);
        name::section(path.field("name"), rule.name.as_deref(), findings);
        let path = path.field("backendRefs");
        if rule.backend_refs.is_empty() {
            findings.error(path, "at least one backend is required");
        }
        reference::backends(path, &rule.backend_refs, findings);
    }
}
