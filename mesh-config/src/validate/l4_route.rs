//! The rules of TLS and TCP routes of a `VirtualService`.

use std::collections::BTreeMap;

use super::{
    Findings, rules, selector,
    virtual_service::{destination, gateways, weights},
};
use crate::{
    hosts::host_covers,
    model::{L4MatchAttributes, RouteDestination, TcpRoute, TlsMatchAttributes, TlsRoute},
    path::FieldPath,
};

/// Checks a route for TLS.
pub(super) fn tls(path: FieldPath<'_>, route: &TlsRoute, hosts: &[String], findings: &mut Findings<'_>) {
    if route.matches.is_empty() {
        findings.error(path, "a TLS route needs at least one match with sniHosts");
    }
    let matches = path.field("match");
    for (index, condition) in route.matches.iter().enumerate() {
        tls_match(matches.index(index), condition, hosts, findings);
    }
    destinations(path, &route.route, findings);
}

fn tls_match(path: FieldPath<'_>, condition: &TlsMatchAttributes, hosts: &[String], findings: &mut Findings<'_>) {
    let names = path.field("sniHosts");
    if condition.sni_hosts.is_empty() {
        findings.error(names, "at least one server name is required");
    }
    for (index, name) in condition.sni_hosts.iter().enumerate() {
        let at = names.index(index);
        if rules::is_ip(name) {
            findings.warning(at, format_args!("the address {name} is no server name: most clients send none"));
            continue;
        }
        let known = hosts.iter().any(|host| host_covers(host, name));
        if !name.starts_with("outbound_.") || !known {
            rules::wildcard_host(at, name, findings);
        }
        if !known {
            findings.error(at, format_args!("the server name {name:?} is not covered by the object's hosts"));
        }
    }
    let common = Common {
        subnets: &condition.destination_subnets,
        port: condition.port,
        labels: &condition.source_labels,
        gateways: &condition.gateways,
        namespace: condition.source_namespace.as_deref(),
    };
    common.validate(path, findings);
}

/// Checks a route for TCP.
pub(super) fn tcp(path: FieldPath<'_>, route: &TcpRoute, findings: &mut Findings<'_>) {
    let matches = path.field("match");
    for (index, condition) in route.matches.iter().enumerate() {
        tcp_match(matches.index(index), condition, findings);
    }
    destinations(path, &route.route, findings);
}

fn tcp_match(path: FieldPath<'_>, condition: &L4MatchAttributes, findings: &mut Findings<'_>) {
    if let Some(subnet) = condition.source_subnet.as_deref().filter(|subnet| !subnet.is_empty()) {
        rules::subnet(path.field("sourceSubnet"), subnet, findings);
    }
    let common = Common {
        subnets: &condition.destination_subnets,
        port: condition.port,
        labels: &condition.source_labels,
        gateways: &condition.gateways,
        namespace: condition.source_namespace.as_deref(),
    };
    common.validate(path, findings);
}

fn destinations(path: FieldPath<'_>, routes: &[RouteDestination], findings: &mut Findings<'_>) {
    let path = path.field("route");
    if routes.is_empty() {
        findings.error(path, "at least one destination is required");
    }
    for (index, target) in routes.iter().enumerate() {
        let path = path.index(index);
        destination(path.field("destination"), target.destination.as_ref(), findings);
    }
    let all: Vec<_> = routes.iter().map(|target| target.weight).collect();
    weights(path, &all, findings);
}

/// The conditions that TLS and TCP share.
struct Common<'a> {
    subnets: &'a [String],
    port: Option<u32>,
    labels: &'a BTreeMap<String, String>,
    gateways: &'a [String],
    namespace: Option<&'a str>,
}

impl Common<'_> {
    fn validate(&self, path: FieldPath<'_>, findings: &mut Findings<'_>) {
        let subnets = path.field("destinationSubnets");
        for (index, subnet) in self.subnets.iter().enumerate() {
            rules::subnet(subnets.index(index), subnet, findings);
        }
        if let Some(port) = self.port.filter(|port| *port != 0) {
            rules::port(path.field("port"), port, findings);
        }
        selector::labels(path.field("sourceLabels"), self.labels, findings);
        gateways(path.field("gateways"), self.gateways, findings);
        if let Some(namespace) = self.namespace.filter(|namespace| !namespace.is_empty()) {
            rules::label(path.field("sourceNamespace"), "namespace", namespace, findings);
        }
    }
}
