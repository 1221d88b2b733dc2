//! The rules of `ServiceEntry` and `WorkloadEntry`.

use super::{Findings, rules, selector};
use crate::{
    model::{Object, Resolution, ServiceEntry, WorkloadEntry},
    path::FieldPath,
};

/// Checks a `ServiceEntry`.
pub(super) fn validate(_: &Object, spec: &ServiceEntry, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    rules::export_to(&spec.export_to, true, findings);
    let hosts = root.field("hosts");
    if spec.hosts.is_empty() {
        findings.error(hosts, "at least one host is required");
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        if host == "*" {
            findings.error(hosts.index(index), "the host must not be the wildcard * alone");
        } else {
            rules::wildcard_host(hosts.index(index), host, findings);
        }
    }
    addresses(spec, findings);
    ports(spec, findings);
    if let Some(workloads) = &spec.workload_selector {
        let path = root.field("workloadSelector");
        selector::labels(path.field("labels"), &workloads.labels, findings);
        if !spec.endpoints.is_empty() {
            findings.error(root.field("endpoints"), "workloadSelector and endpoints exclude each other");
        }
    }
    resolution(spec, findings);
    let endpoints = root.field("endpoints");
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        let path = endpoints.index(index);
        let known = |name: &str| spec.ports.iter().any(|port| port.name == name);
        let ports = path.field("ports");
        for name in endpoint.ports.keys().filter(|name| !known(name)) {
            findings.error(ports.field(name), format_args!("the service has no port with the name {name:?}"));
        }
        workload(path, endpoint, spec.resolution, spec.ports.len(), findings);
    }
}

fn addresses(spec: &ServiceEntry, findings: &mut Findings<'_>) {
    let path = FieldPath::spec();
    let path = path.field("addresses");
    for (index, address) in spec.addresses.iter().enumerate() {
        let at = path.index(index);
        rules::subnet(at, address, findings);
        let fits = matches!(spec.resolution, Resolution::None | Resolution::Static);
        if address.contains('/') && !fits {
            findings.error(at, "a range in CIDR form is allowed only with resolution NONE or STATIC");
        }
    }
}

fn ports(spec: &ServiceEntry, findings: &mut Findings<'_>) {
    let path = FieldPath::spec();
    let path = path.field("ports");
    for (index, port) in spec.ports.iter().enumerate() {
        let path = path.index(index);
        rules::port(path.field("number"), port.number, findings);
        rules::label(path.field("name"), "port name", &port.name, findings);
        if let Some(protocol) = port.protocol.as_deref().filter(|protocol| !protocol.is_empty()) {
            rules::protocol(path.field("protocol"), protocol, findings);
        }
        if let Some(target) = port.target_port {
            rules::port(path.field("targetPort"), target, findings);
        }
        if spec.ports[..index].iter().any(|other| other.name == port.name) {
            findings.error(path.field("name"), format_args!("the port name {:?} stands twice", port.name));
        }
        if spec.ports[..index].iter().any(|other| other.number == port.number) {
            findings.error(path.field("number"), format_args!("port {} stands twice", port.number));
        }
    }
}

/// The rules that come with how endpoints are found.
fn resolution(spec: &ServiceEntry, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    let endpoints = root.field("endpoints");
    match spec.resolution {
        Resolution::None if !spec.endpoints.is_empty() => {
            findings.error(endpoints, "resolution NONE takes no endpoints");
            findings.help("use STATIC for addresses, or DNS for names");
        }
        Resolution::None | Resolution::Static => {}
        Resolution::Dns | Resolution::DnsRoundRobin => {
            let hosts = root.field("hosts");
            let wildcards = spec.hosts.iter().enumerate().filter(|(_, host)| host.starts_with('*'));
            for (index, host) in wildcards.filter(|_| spec.endpoints.is_empty() && spec.workload_selector.is_none()) {
                findings.error(hosts.index(index), format_args!("{host:?} cannot be looked up: give endpoints"));
            }
            if spec.resolution == Resolution::DnsRoundRobin && spec.endpoints.len() > 1 {
                findings.error(endpoints, "resolution DNS_ROUND_ROBIN takes at most one endpoint");
            }
        }
        Resolution::DynamicDns => {
            if !spec.endpoints.is_empty() {
                findings.error(endpoints, "resolution DYNAMIC_DNS takes no endpoints");
            }
            if spec.workload_selector.is_some() {
                findings.error(root.field("workloadSelector"), "resolution DYNAMIC_DNS takes no workloadSelector");
            }
            let ports = root.field("ports");
            for (index, port) in spec.ports.iter().enumerate() {
                let protocol = port.protocol.as_deref().unwrap_or_default().to_ascii_uppercase();
                let named = ["HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS"].contains(&protocol.as_str());
                if !named {
                    let path = ports.index(index);
                    findings.error(
                        path.field("protocol"),
                        "resolution DYNAMIC_DNS needs a protocol that names the host: HTTP, HTTP2, GRPC, HTTPS or TLS",
                    );
                }
            }
        }
    }
}

/// Checks a `WorkloadEntry`.
pub(super) fn validate_workload(_: &Object, spec: &WorkloadEntry, findings: &mut Findings<'_>) {
    workload(FieldPath::spec(), spec, Resolution::Dns, 0, findings);
    if spec.address.as_deref().unwrap_or_default().is_empty() && spec.network.as_deref().unwrap_or_default().is_empty()
    {
        findings.error(FieldPath::spec(), "address is required, unless the workload is reached through its network");
    }
}

/// Checks the template of a `WorkloadGroup`, which needs no address.
pub(super) fn group_template(path: FieldPath<'_>, template: &WorkloadEntry, findings: &mut Findings<'_>) {
    if template.address.as_deref().unwrap_or_default().is_empty() {
        ports_and_labels(path, template, findings);
    } else {
        workload(path, template, Resolution::Dns, 0, findings);
    }
}

/// Checks an endpoint, also as a part of a service with so many ports.
fn workload(
    path: FieldPath<'_>,
    entry: &WorkloadEntry,
    resolution: Resolution,
    ports_of_service: usize,
    findings: &mut Findings<'_>,
) {
    let in_service = path.to_string() != "spec";
    let at = path.field("address");
    match entry.address.as_deref().unwrap_or_default() {
        "" if !in_service => {}
        "" if entry.network.as_deref().unwrap_or_default().is_empty() => findings.error(at, "address is required"),
        "" => findings.warning(at, "without an address the endpoint is reached only through its network's gateway"),
        address => {
            if let Some(socket) = address.strip_prefix("unix://") {
                rules::unix_path(at, socket, findings);
                if !entry.ports.is_empty() {
                    findings.error(path.field("ports"), "an endpoint on a Unix socket has no ports");
                }
                if in_service && ports_of_service > 1 {
                    findings.error(at, "a service with an endpoint on a Unix socket has a single port");
                }
                if in_service && resolution != Resolution::Static {
                    findings.error(at, "an endpoint on a Unix socket needs resolution STATIC");
                }
            } else if in_service && resolution == Resolution::Static {
                if !rules::is_ip(address) {
                    findings.error(at, format_args!("{address:?} must be an IP address with resolution STATIC"));
                }
            } else if !rules::is_ip(address) {
                rules::host(at, address, findings);
            }
        }
    }
    ports_and_labels(path, entry, findings);
}

fn ports_and_labels(path: FieldPath<'_>, entry: &WorkloadEntry, findings: &mut Findings<'_>) {
    let ports = path.field("ports");
    for (name, number) in &entry.ports {
        rules::label(ports.field(name), "port name", name, findings);
        rules::port(ports.field(name), *number, findings);
    }
    selector::labels(path.field("labels"), &entry.labels, findings);
}
