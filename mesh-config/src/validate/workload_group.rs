//! The rules of `WorkloadGroup`.

use super::{Findings, rules, selector, service_entry};
use crate::{
    model::{Object, ReadinessProbe, WorkloadGroup},
    path::FieldPath,
};

/// Checks a `WorkloadGroup`.
pub(super) fn validate(_: &Object, spec: &WorkloadGroup, findings: &mut Findings<'_>) {
    let root = FieldPath::spec();
    match &spec.template {
        Some(template) => service_entry::group_template(root.field("template"), template, findings),
        None => findings.error(root.field("template"), "the template is required"),
    }
    if let Some(metadata) = &spec.metadata {
        let path = root.field("metadata");
        selector::labels(path.field("labels"), &metadata.labels, findings);
    }
    if let Some(probe) = &spec.probe {
        readiness(root.field("probe"), probe, findings);
    }
}

fn readiness(path: FieldPath<'_>, probe: &ReadinessProbe, findings: &mut Findings<'_>) {
    for (field, number) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        rules::not_negative(path.field(field), number, findings);
    }
    let given = [probe.http_get.is_some(), probe.tcp_socket.is_some(), probe.exec.is_some(), probe.grpc.is_some()];
    match given.iter().filter(|given| **given).count() {
        0 => findings.error(path, "one of httpGet, tcpSocket, exec and grpc is required"),
        1 => {}
        _ => findings.error(path, "httpGet, tcpSocket, exec and grpc exclude each other: keep one"),
    }
    if let Some(http) = &probe.http_get {
        let path = path.field("httpGet");
        rules::port(path.field("port"), http.port, findings);
        if let Some(scheme) = http.scheme.as_deref().filter(|scheme| !matches!(*scheme, "" | "HTTP" | "HTTPS")) {
            findings.error(path.field("scheme"), format_args!("unknown scheme {scheme:?}: use HTTP or HTTPS"));
        }
        let headers = path.field("httpHeaders");
        for (index, header) in http.http_headers.iter().enumerate() {
            if !rules::is_plain_header_name(&header.name) {
                let path = headers.index(index);
                findings.error(path.field("name"), format_args!("invalid header name {:?}", header.name));
            }
        }
    }
    if let Some(tcp) = &probe.tcp_socket {
        let path = path.field("tcpSocket");
        rules::port(path.field("port"), tcp.port, findings);
    }
    if let Some(exec) = &probe.exec {
        let path = path.field("exec");
        let path = path.field("command");
        if exec.command.is_empty() {
            findings.error(path, "the command is required");
        }
        rules::not_empty(path, &exec.command, findings);
    }
    if let Some(port) = probe.grpc.as_ref().and_then(|grpc| grpc.port) {
        let path = path.field("grpc");
        rules::port(path.field("port"), port, findings);
    }
}
