//! Asking a service whether a request may go on.

use super::{http_match, name, reference};
use crate::{
    model::gateway_api::{ExternalAuthFilter, ExternalAuthProtocol},
    path::FieldPath,
    validate::{Findings, rules},
};

/// Checks how a service is asked.
pub(super) fn validate(path: FieldPath<'_>, auth: &ExternalAuthFilter, findings: &mut Findings<'_>) {
    reference::required_backend(path, auth.backend_ref.as_ref(), findings);
    if auth.protocol.is_none() {
        findings.error(path.field("protocol"), "the protocol is required: HTTP or GRPC");
    }
    for (field, given, protocol, word) in [
        ("grpc", auth.grpc.is_some(), ExternalAuthProtocol::Grpc, "GRPC"),
        ("http", auth.http.is_some(), ExternalAuthProtocol::Http, "HTTP"),
    ] {
        match (given, auth.protocol == Some(protocol)) {
            (true, false) => findings.error(path.field(field), format_args!("{field} needs protocol {word}")),
            (false, true) => findings.error(path, format_args!("{field} is required for protocol {word}")),
            _ => {}
        }
    }
    let headers = |path: FieldPath<'_>, list: &[String], findings: &mut Findings<'_>| {
        rules::max_items(path, list.len(), 64, findings);
        name::unique(path, "header", list, findings);
    };
    if let Some(grpc) = &auth.grpc {
        let path = path.field("grpc");
        headers(path.field("allowedHeaders"), &grpc.allowed_headers, findings);
    }
    if let Some(http) = &auth.http {
        let path = path.field("http");
        headers(path.field("allowedHeaders"), &http.allowed_headers, findings);
        headers(path.field("allowedResponseHeaders"), &http.allowed_response_headers, findings);
        if let Some(prefix) = http.path.as_deref().filter(|prefix| !http_match::is_path_text(prefix)) {
            findings.error(path.field("path"), format_args!("invalid path {prefix:?}"));
        }
    }
}
