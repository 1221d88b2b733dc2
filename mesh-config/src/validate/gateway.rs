//! The rules of `Gateway`.

use super::{Findings, rules, selector, server_tls};
use crate::{
    model::{Gateway, Object, Port, Server},
    path::FieldPath,
};

/// The annotation of gateways that are made from the Gateway API.
const SEMANTICS: &str = "internal.istio.io/gateway-semantics";

/// Checks a `Gateway`.
pub(super) fn validate(object: &Object, spec: &Gateway, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    let servers = root.field("servers");
    if spec.servers.is_empty() {
        findings.error(servers, "at least one server is required");
    }
    selector::labels(root.field("selector"), &spec.selector, findings);
    for (index, entry) in spec.servers.iter().enumerate() {
        let path = servers.index(index);
        let generated = object.meta.annotations.get(SEMANTICS).is_some_and(|value| value == "gateway");
        server(path, entry, generated, findings);
        let before = &spec.servers[..index];
        let name = entry.name.as_deref().filter(|name| !name.is_empty());
        if name.is_some() && before.iter().any(|other| other.name == entry.name) {
            findings
                .error(path.field("name"), format_args!("the server name {:?} stands twice", name.unwrap_or_default()));
        }
        let named = |port: &Port| entry.port.as_ref().is_some_and(|own| own.name == port.name && !own.name.is_empty());
        if before.iter().filter_map(|other| other.port.as_ref()).any(named) {
            let port = path.field("port");
            findings.error(port.field("name"), "the port name stands twice: names must be unique in a gateway");
        }
    }
}

fn server(path: FieldPath<'_>, server: &Server, generated: bool, findings: &mut Findings<'_>) {
    let hosts = path.field("hosts");
    if server.hosts.is_empty() {
        findings.error(hosts, "at least one host is required");
    }
    for (index, host) in server.hosts.iter().enumerate() {
        server_host(hosts.index(index), host, generated, findings);
    }
    if server.default_endpoint.as_deref().is_some_and(|endpoint| !endpoint.is_empty()) {
        findings.error(path.field("defaultEndpoint"), "defaultEndpoint is not supported for gateways");
    }
    let Some(port) = &server.port else {
        findings.error(path.field("port"), "the port is required");
        return;
    };
    let bind = server.bind.as_deref().unwrap_or_default();
    if let Some(socket) = bind.strip_prefix("unix://") {
        let at = path.field("bind");
        rules::unix_path(at, socket, findings);
        if port.number != 0 {
            findings.error(at, "a server on a Unix socket has port number 0");
        }
    } else {
        if !bind.is_empty() && !rules::is_ip(bind) {
            findings.error(path.field("bind"), format_args!("{bind:?} is no IP address"));
        }
        let at = path.field("port");
        rules::port(at.field("number"), port.number, findings);
    }
    server_port(path.field("port"), port, findings);
    tls(path, server, port, findings);
}

/// Checks name and protocol of a port.
fn server_port(path: FieldPath<'_>, port: &Port, findings: &mut Findings<'_>) {
    rules::protocol(path.field("protocol"), &port.protocol, findings);
    if port.name.is_empty() {
        findings.error(path.field("name"), "the name of the port is required");
    }
    if port.target_port.is_some_and(|target| target != 0) {
        findings.warning(path.field("targetPort"), "targetPort is deprecated and has no effect");
    }
}

fn server_host(path: FieldPath<'_>, entry: &str, generated: bool, findings: &mut Findings<'_>) {
    let (namespace, host) = entry.split_once('/').unwrap_or(("*", entry));
    // `~`, no namespace, stands in gateways that are made from the Gateway API, until a route is bound.
    let known = matches!(namespace, "*" | ".") || (generated && namespace == "~") || rules::is_label(namespace);
    if !known {
        findings.error(path, format_args!("invalid namespace {namespace:?} of the host {entry:?}"));
    }
    if host.is_empty() {
        findings.error(path, format_args!("the host {entry:?} is not complete"));
    } else if !rules::is_ip(host) {
        rules::wildcard_host(path, host, findings);
        if host.starts_with('*') && host != "*" && !host.starts_with("*.") {
            findings.error(path, format_args!("{host:?} has a partial wildcard: write *.domain"));
        }
        if host != "*" && !host.contains('.') {
            findings.error(path, format_args!("the short name {host:?} is not allowed: write the full name"));
        }
    }
}

fn tls(path: FieldPath<'_>, server: &Server, port: &Port, findings: &mut Findings<'_>) {
    let at = path.field("tls");
    let secure = crate::protocol::is_tls(&port.protocol);
    let Some(tls) = &server.tls else {
        if secure {
            findings.error(path, format_args!("tls is required for the protocol {}", port.protocol));
        }
        return;
    };
    if tls.https_redirect && secure {
        findings.warning(at.field("httpsRedirect"), "httpsRedirect has an effect only for HTTP");
    }
    let settings = crate::model::ServerTlsSettings { https_redirect: false, ..tls.clone() };
    if !secure && settings != crate::model::ServerTlsSettings::default() {
        findings.error(at, format_args!("TLS settings are for HTTPS and TLS, not for {}", port.protocol));
        findings.help("change the port's protocol, or leave only httpsRedirect");
        return;
    }
    server_tls::validate(at, tls, findings);
}
