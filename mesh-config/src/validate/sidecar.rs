//! The rules of `Sidecar`.

use std::collections::BTreeSet;

use super::{Findings, rules, selector, server_tls, traffic_policy, virtual_service};
use crate::{
    model::{
        CaptureMode, IstioEgressListener, IstioIngressListener, Object, OutboundTrafficPolicyMode, Port, ServerTlsMode,
        ServerTlsSettings, Sidecar,
    },
    path::FieldPath,
};

/// Checks a `Sidecar`.
pub(super) fn validate(_: &Object, spec: &Sidecar, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    if let Some(workloads) = &spec.workload_selector {
        let path = root.field("workloadSelector");
        selector::labels(path.field("labels"), &workloads.labels, findings);
    }
    let pool = spec.inbound_connection_pool.as_ref();
    if spec.ingress.is_empty() && spec.egress.is_empty() && spec.outbound_traffic_policy.is_none() && pool.is_none() {
        findings.error(
            root,
            "at least one of ingress, egress, outboundTrafficPolicy and inboundConnectionPool is required",
        );
    }
    if let Some(pool) = pool {
        traffic_policy::connection_pool(root.field("inboundConnectionPool"), pool, findings);
    }
    let path = root.field("ingress");
    let mut ports = BTreeSet::new();
    for (index, listener) in spec.ingress.iter().enumerate() {
        ingress(path.index(index), listener, &mut ports, findings);
    }
    let path = root.field("egress");
    let mut ports = BTreeSet::new();
    for (index, listener) in spec.egress.iter().enumerate() {
        let socket = listener.bind.as_deref().filter(|bind| bind.starts_with("unix://"));
        if socket.is_some() && spec.egress[..index].iter().any(|other| other.bind.as_deref() == socket) {
            let path = path.index(index);
            findings.error(path.field("bind"), "another listener is bound to the same socket");
        }
        let last = index + 1 == spec.egress.len();
        egress(path.index(index), listener, last, &mut ports, findings);
    }
    if let Some(policy) = &spec.outbound_traffic_policy
        && policy.egress_proxy.is_some()
    {
        let path = root.field("outboundTrafficPolicy");
        let path = path.field("egressProxy");
        if policy.mode != OutboundTrafficPolicyMode::AllowAny {
            findings.error(path, "egressProxy needs mode ALLOW_ANY");
        }
        virtual_service::destination(path, policy.egress_proxy.as_ref(), findings);
        if policy.egress_proxy.as_ref().is_some_and(|proxy| proxy.port.is_none()) {
            findings.error(path, "the port of the proxy is required");
        }
    }
}

/// Checks a port and that it stands once.
fn port(path: FieldPath<'_>, port: &Port, socket: bool, seen: &mut BTreeSet<u32>, findings: &mut Findings<'_>) {
    // Unlike a gateway's, the port of a sidecar needs neither protocol (it is detected) nor name.
    if !port.protocol.is_empty() {
        rules::protocol(path.field("protocol"), &port.protocol, findings);
    }
    let at = path.field("number");
    if socket {
        if port.number != 0 {
            findings.error(at, "a listener on a Unix socket has port number 0");
        }
    } else {
        rules::port(at, port.number, findings);
        if !seen.insert(port.number) {
            findings.error(at, format_args!("port {} stands twice", port.number));
        }
    }
}

fn ingress(
    path: FieldPath<'_>,
    listener: &IstioIngressListener,
    seen: &mut BTreeSet<u32>,
    findings: &mut Findings<'_>,
) {
    let bind = listener.bind.as_deref().unwrap_or_default();
    if !bind.is_empty() && !rules::is_ip(bind) {
        findings.error(path.field("bind"), format_args!("{bind:?} is no IP address"));
    }
    let endpoint = listener.default_endpoint.as_deref().unwrap_or_default();
    if !endpoint.is_empty() {
        default_endpoint(path.field("defaultEndpoint"), endpoint, findings);
    }
    let Some(own) = &listener.port else {
        findings.error(path.field("port"), "the port is required");
        return;
    };
    port(path.field("port"), own, false, seen, findings);
    if let Some(tls) = &listener.tls {
        ingress_tls(path.field("tls"), tls, own, findings);
    }
    if let Some(pool) = &listener.connection_pool {
        let at = path.field("connectionPool");
        traffic_policy::connection_pool(at, pool, findings);
        let http = ["HTTP", "HTTP2", "GRPC", "GRPC-WEB"].iter().any(|name| name.eq_ignore_ascii_case(&own.protocol));
        if pool.http.is_some() && !http {
            findings.warning(at.field("http"), format_args!("HTTP limits have no effect for {}", own.protocol));
        }
    }
}

fn default_endpoint(path: FieldPath<'_>, endpoint: &str, findings: &mut Findings<'_>) {
    if let Some(socket) = endpoint.strip_prefix("unix://") {
        rules::unix_path(path, socket, findings);
        return;
    }
    let fine = rules::socket_address(endpoint)
        .is_some_and(|address| (address.ip().is_loopback() || address.ip().is_unspecified()) && address.port() > 0);
    if !fine {
        findings.error(path, format_args!("invalid endpoint {endpoint:?}"));
        findings.help("write 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///path");
    }
}

fn ingress_tls(path: FieldPath<'_>, tls: &ServerTlsSettings, port: &Port, findings: &mut Findings<'_>) {
    if !matches!(tls.mode, ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual) {
        findings.error(path.field("mode"), "only SIMPLE, MUTUAL and OPTIONAL_MUTUAL are supported here");
    }
    if !crate::protocol::is_tls(&port.protocol) {
        findings.error(path, format_args!("TLS settings are for HTTPS and TLS, not for {}", port.protocol));
    }
    for (field, given) in [
        ("httpsRedirect", tls.https_redirect),
        ("subjectAltNames", !tls.subject_alt_names.is_empty()),
        ("credentialName", tls.credential_name.as_ref().is_some_and(|name| !name.is_empty())),
        ("credentialNames", !tls.credential_names.is_empty()),
        ("tlsCertificates", !tls.tls_certificates.is_empty()),
    ] {
        if given {
            findings.error(path.field(field), format_args!("{field} is not supported for sidecars"));
        }
    }
    server_tls::validate(path, tls, findings);
}

fn egress(
    path: FieldPath<'_>,
    listener: &IstioEgressListener,
    last: bool,
    seen: &mut BTreeSet<u32>,
    findings: &mut Findings<'_>,
) {
    let bind = listener.bind.as_deref().unwrap_or_default();
    let socket = bind.strip_prefix("unix://");
    if let Some(socket) = socket {
        rules::unix_path(path.field("bind"), socket, findings);
        if listener.capture_mode == CaptureMode::Iptables {
            findings.error(path.field("captureMode"), "traffic cannot be redirected to a Unix socket");
        }
    } else if !bind.is_empty() && !rules::is_ip(bind) {
        findings.error(path.field("bind"), format_args!("{bind:?} is no IP address"));
    }
    match &listener.port {
        Some(own) => port(path.field("port"), own, socket.is_some(), seen, findings),
        None if !bind.is_empty() => findings.error(path.field("port"), "the port is required with bind"),
        None if !last => {
            findings.error(path, "a listener without port takes all ports, so it must be the last one");
        }
        None => {}
    }
    let hosts = path.field("hosts");
    if listener.hosts.is_empty() {
        findings.error(hosts, "at least one host is required");
    }
    for (index, host) in listener.hosts.iter().enumerate() {
        egress_host(hosts.index(index), host, findings);
    }
}

/// Checks `namespace/host`; a `~` before the namespace takes services out.
fn egress_host(path: FieldPath<'_>, entry: &str, findings: &mut Findings<'_>) {
    let Some((namespace, host)) = entry.split_once('/') else {
        findings.error(path, format_args!("invalid host {entry:?}: write namespace/host, with * for all"));
        return;
    };
    let inner = namespace.strip_prefix('~').filter(|inner| !inner.is_empty()).unwrap_or(namespace);
    if !matches!(inner, "*" | "." | "~") && !is_namespace(inner) {
        findings.error(path, format_args!("invalid namespace {namespace:?} of the host {entry:?}"));
    }
    if host.starts_with('*') && host != "*" && !host.starts_with("*.") {
        findings.error(path, format_args!("{host:?} has a partial wildcard: write *.domain"));
    } else if host != "*" {
        rules::wildcard_host(path, host, findings);
    }
}

fn is_namespace(text: &str) -> bool {
    rules::is_label(text) && !text.bytes().any(|byte| byte.is_ascii_uppercase())
}
