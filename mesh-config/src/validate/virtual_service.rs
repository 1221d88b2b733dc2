//! The rules of `VirtualService`.

use super::{Findings, http_match, http_route, l4_route, rules, unreachable};
use crate::{
    hosts::host_covers,
    model::{Destination, Object, VirtualService},
    path::FieldPath,
};

/// Checks a `VirtualService`.
pub(super) fn validate(_: &Object, spec: &VirtualService, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    let delegate = spec.hosts.is_empty();
    gateways(root.field("gateways"), &spec.gateways, findings);
    rules::export_to(&spec.export_to, false, findings);
    if delegate {
        if !spec.gateways.is_empty() {
            findings.error(root.field("gateways"), "a VirtualService without hosts is a delegate: it has no gateways");
        }
        for (name, given) in [("tcp", !spec.tcp.is_empty()), ("tls", !spec.tls.is_empty())] {
            if given {
                findings
                    .error(root.field(name), "a VirtualService without hosts is a delegate: it has HTTP routes only");
            }
        }
    } else {
        hosts(spec, findings);
    }
    if spec.http.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty() {
        findings.error(root, "at least one of http, tls and tcp is required");
    }
    claims(spec, findings);
    let http = root.field("http");
    for (index, route) in spec.http.iter().enumerate() {
        http_route::validate(http.index(index), route, delegate, findings);
    }
    for (index, route) in spec.tls.iter().enumerate() {
        let path = root.field("tls");
        l4_route::tls(path.index(index), route, &spec.hosts, findings);
    }
    for (index, route) in spec.tcp.iter().enumerate() {
        let path = root.field("tcp");
        l4_route::tcp(path.index(index), route, findings);
    }
    unreachable::validate(spec, findings);
}

/// Checks that routes by the claims of tokens are bound to a gateway: sidecars do not have the claims.
fn claims(spec: &VirtualService, findings: &mut Findings<'_>) {
    if spec.gateways.iter().any(|gateway| gateway != "mesh") {
        return;
    }
    let root = FieldPath::spec();
    let http = root.field("http");
    for (index, route) in spec.http.iter().enumerate() {
        let path = http.index(index);
        let path = path.field("match");
        for (index, condition) in route.matches.iter().enumerate() {
            let path = path.index(index);
            for (field, headers) in [("headers", &condition.headers), ("withoutHeaders", &condition.without_headers)] {
                for name in headers.keys().filter(|name| http_match::is_claim(name)) {
                    let path = path.field(field);
                    findings.error(path.field(name), "routing by the claims of a token works only at gateways");
                    findings.help("name a gateway in gateways");
                }
            }
        }
    }
}

fn hosts(spec: &VirtualService, findings: &mut Findings<'_>) {
    let path = FieldPath::spec();
    let path = path.field("hosts");
    let for_sidecars = spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == "mesh");
    for (index, host) in spec.hosts.iter().enumerate() {
        let at = path.index(index);
        let by_name = !for_sidecars && host.starts_with("outbound_.");
        if !rules::is_ip(host) && !by_name {
            rules::wildcard_host(at, host, findings);
        }
        if for_sidecars && host == "*" {
            findings.error(at, "the host * is not allowed for sidecars (gateway mesh)");
            findings.help("name the hosts, or bind the VirtualService to a gateway");
        }
        if let Some(other) =
            spec.hosts[..index].iter().find(|other| host_covers(other, host) || host_covers(host, other))
        {
            findings.error(at, format_args!("the host {host:?} is already covered by {other:?}"));
        }
    }
}

/// Checks names of gateways: `mesh`, `name` or `namespace/name`.
pub(super) fn gateways(path: FieldPath<'_>, gateways: &[String], findings: &mut Findings<'_>) {
    for (index, gateway) in gateways.iter().enumerate() {
        let (namespace, name) = gateway.split_once('/').unwrap_or((".", gateway));
        let fine = (namespace == "." || rules::is_label(namespace)) && rules::host_fault(name).is_none();
        if !fine {
            findings
                .error(path.index(index), format_args!("invalid gateway {gateway:?}: write name or namespace/name"));
        }
    }
}

/// Checks where traffic goes.
pub(super) fn destination(path: FieldPath<'_>, destination: Option<&Destination>, findings: &mut Findings<'_>) {
    let Some(destination) = destination else {
        findings.error(path, "the destination is required");
        return;
    };
    let at = path.field("host");
    match destination.host.as_str() {
        "" => findings.error(at, "the destination's host is required"),
        "*" => findings.error(at, "the host * is not a destination: name one service"),
        host if rules::is_ip(host) => {}
        host => rules::wildcard_host(at, host, findings),
    }
    if let Some(subset) = destination.subset.as_deref().filter(|subset| !subset.is_empty()) {
        rules::label(path.field("subset"), "subset", subset, findings);
    }
    if let Some(port) = &destination.port {
        let path = path.field("port");
        rules::port(path.field("number"), port.number, findings);
    }
}

/// Checks weights: not negative, and not all zero when there are several.
pub(super) fn weights(path: FieldPath<'_>, weights: &[Option<i32>], findings: &mut Findings<'_>) {
    for (index, weight) in weights.iter().enumerate() {
        let at = path.index(index);
        rules::not_negative(at.field("weight"), *weight, findings);
    }
    if weights.len() > 1 && weights.iter().all(|weight| weight.unwrap_or(0) == 0) {
        findings.error(path, "the weights add up to 0");
        findings.help("give every destination a weight; together 100");
    }
}
