//! Filters of routes: each has the field that its type names and no other.

use super::{cors, external_auth, header, name, reference};
use crate::{
    model::gateway_api::{
        GrpcRouteFilter, GrpcRouteFilterType, HttpRouteFilter, HttpRouteFilterType, PathModifier, PathModifierType,
        RequestMirror, RequestRedirect, UrlRewrite,
    },
    path::FieldPath,
    validate::{Findings, rules},
};

/// The most filters in one list.
const LIMIT: usize = 16;

/// Checks that the field of the type, and no other, is given. Each row names a field, whether it is given, and whether the
/// type is its own.
pub(super) fn union(path: FieldPath<'_>, typed: bool, rows: &[(&str, bool, bool)], findings: &mut Findings<'_>) {
    if !typed {
        findings.error(path.field("type"), "the type is required");
    }
    for (field, given, wanted) in rows {
        match (given, wanted) {
            (true, false) if typed => {
                findings.error(path.field(field), format_args!("{field} does not belong to the type of the filter"));
            }
            (false, true) => findings.error(path, format_args!("{field} is required for the type of the filter")),
            _ => {}
        }
    }
}

/// Checks that types which may stand once do so.
fn once<T: Copy + PartialEq>(
    path: FieldPath<'_>,
    types: &[Option<T>],
    single: &[(T, &str)],
    findings: &mut Findings<'_>,
) {
    for (wanted, word) in single {
        let mut found = types.iter().enumerate().filter(|(_, given)| **given == Some(*wanted)).skip(1);
        if let Some((index, _)) = found.next() {
            findings.error(path.index(index), format_args!("the filter {word} must not be repeated"));
        }
    }
}

/// Checks the filters of an `HTTPRoute`'s rule or backend.
pub(super) fn http(path: FieldPath<'_>, filters: &[HttpRouteFilter], findings: &mut Findings<'_>) {
    use HttpRouteFilterType as Type;
    rules::max_items(path, filters.len(), LIMIT, findings);
    let types: Vec<_> = filters.iter().map(|filter| filter.filter_type).collect();
    let single = [
        (Type::RequestHeaderModifier, "RequestHeaderModifier"),
        (Type::ResponseHeaderModifier, "ResponseHeaderModifier"),
        (Type::RequestRedirect, "RequestRedirect"),
        (Type::UrlRewrite, "URLRewrite"),
        (Type::Cors, "CORS"),
    ];
    once(path, &types, &single, findings);
    if types.contains(&Some(Type::RequestRedirect)) && types.contains(&Some(Type::UrlRewrite)) {
        findings.error(path, "RequestRedirect and URLRewrite exclude each other");
    }
    for (index, filter) in filters.iter().enumerate() {
        http_filter(path.index(index), filter, findings);
    }
}

fn http_filter(path: FieldPath<'_>, filter: &HttpRouteFilter, findings: &mut Findings<'_>) {
    use HttpRouteFilterType as Type;
    let is = |wanted: Type| filter.filter_type == Some(wanted);
    let rows = [
        ("requestHeaderModifier", filter.request_header_modifier.is_some(), is(Type::RequestHeaderModifier)),
        ("responseHeaderModifier", filter.response_header_modifier.is_some(), is(Type::ResponseHeaderModifier)),
        ("requestMirror", filter.request_mirror.is_some(), is(Type::RequestMirror)),
        ("requestRedirect", filter.request_redirect.is_some(), is(Type::RequestRedirect)),
        ("urlRewrite", filter.url_rewrite.is_some(), is(Type::UrlRewrite)),
        ("cors", filter.cors.is_some(), is(Type::Cors)),
        ("externalAuth", filter.external_auth.is_some(), is(Type::ExternalAuth)),
        ("extensionRef", filter.extension_ref.is_some(), is(Type::ExtensionRef)),
    ];
    union(path, filter.filter_type.is_some(), &rows, findings);
    if let Some(changes) = &filter.request_header_modifier {
        header::modifier(path.field("requestHeaderModifier"), changes, findings);
    }
    if let Some(changes) = &filter.response_header_modifier {
        header::modifier(path.field("responseHeaderModifier"), changes, findings);
    }
    if let Some(copies) = &filter.request_mirror {
        mirror(path.field("requestMirror"), copies, findings);
    }
    if let Some(answer) = &filter.request_redirect {
        redirect(path.field("requestRedirect"), answer, findings);
    }
    if let Some(change) = &filter.url_rewrite {
        rewrite(path.field("urlRewrite"), change, findings);
    }
    if let Some(origins) = &filter.cors {
        cors::validate(path.field("cors"), origins, findings);
    }
    if let Some(auth) = &filter.external_auth {
        external_auth::validate(path.field("externalAuth"), auth, findings);
    }
    if let Some(target) = &filter.extension_ref {
        reference::local(path.field("extensionRef"), target, findings);
    }
}

/// Checks the filters of a `GRPCRoute`'s rule or backend.
pub(super) fn grpc(path: FieldPath<'_>, filters: &[GrpcRouteFilter], findings: &mut Findings<'_>) {
    use GrpcRouteFilterType as Type;
    rules::max_items(path, filters.len(), LIMIT, findings);
    let types: Vec<_> = filters.iter().map(|filter| filter.filter_type).collect();
    let single = [
        (Type::RequestHeaderModifier, "RequestHeaderModifier"),
        (Type::ResponseHeaderModifier, "ResponseHeaderModifier"),
    ];
    once(path, &types, &single, findings);
    for (index, filter) in filters.iter().enumerate() {
        let path = path.index(index);
        let is = |wanted: Type| filter.filter_type == Some(wanted);
        let rows = [
            ("requestHeaderModifier", filter.request_header_modifier.is_some(), is(Type::RequestHeaderModifier)),
            ("responseHeaderModifier", filter.response_header_modifier.is_some(), is(Type::ResponseHeaderModifier)),
            ("requestMirror", filter.request_mirror.is_some(), is(Type::RequestMirror)),
            ("extensionRef", filter.extension_ref.is_some(), is(Type::ExtensionRef)),
        ];
        union(path, filter.filter_type.is_some(), &rows, findings);
        if let Some(changes) = &filter.request_header_modifier {
            header::modifier(path.field("requestHeaderModifier"), changes, findings);
        }
        if let Some(changes) = &filter.response_header_modifier {
            header::modifier(path.field("responseHeaderModifier"), changes, findings);
        }
        if let Some(copies) = &filter.request_mirror {
            mirror(path.field("requestMirror"), copies, findings);
        }
        if let Some(target) = &filter.extension_ref {
            reference::local(path.field("extensionRef"), target, findings);
        }
    }
}

fn mirror(path: FieldPath<'_>, mirror: &RequestMirror, findings: &mut Findings<'_>) {
    reference::required_backend(path, mirror.backend_ref.as_ref(), findings);
    if mirror.percent.is_some() && mirror.fraction.is_some() {
        findings.error(path, "percent and fraction exclude each other: keep one");
    }
    if let Some(percent) = mirror.percent.filter(|percent| !(0..=100).contains(percent)) {
        findings.error(path.field("percent"), format_args!("{percent} must be between 0 and 100 percent"));
    }
    let Some(fraction) = mirror.fraction else { return };
    let path = path.field("fraction");
    let whole = fraction.denominator.unwrap_or(100);
    if whole < 1 {
        findings.error(path.field("denominator"), format_args!("{whole} must be at least 1"));
    }
    match fraction.numerator {
        None => findings.error(path.field("numerator"), "the numerator is required"),
        Some(part) if part < 0 => findings.error(path.field("numerator"), format_args!("{part} must not be negative")),
        Some(part) if part > whole => {
            findings.error(path, format_args!("the numerator {part} is larger than the denominator {whole}"));
        }
        Some(_) => {}
    }
}

fn redirect(path: FieldPath<'_>, redirect: &RequestRedirect, findings: &mut Findings<'_>) {
    name::word(path.field("scheme"), redirect.scheme.as_deref(), &["http", "https"], findings);
    if let Some(host) = &redirect.hostname {
        name::precise_host(path.field("hostname"), host, findings);
    }
    if let Some(change) = &redirect.path {
        path_modifier(path.field("path"), change, findings);
    }
    if let Some(port) = redirect.port {
        rules::port(path.field("port"), port, findings);
    }
    if let Some(code) = redirect.status_code.filter(|code| ![301, 302, 303, 307, 308].contains(code)) {
        findings.error(
            path.field("statusCode"),
            format_args!("status {code} is no redirect: use 301, 302, 303, 307 or 308"),
        );
    }
}

fn rewrite(path: FieldPath<'_>, rewrite: &UrlRewrite, findings: &mut Findings<'_>) {
    if let Some(host) = &rewrite.hostname {
        name::precise_host(path.field("hostname"), host, findings);
    }
    if let Some(change) = &rewrite.path {
        path_modifier(path.field("path"), change, findings);
    }
}

fn path_modifier(path: FieldPath<'_>, change: &PathModifier, findings: &mut Findings<'_>) {
    use PathModifierType as Type;
    let is = |wanted: Type| change.modifier_type == Some(wanted);
    let rows = [
        ("replaceFullPath", change.replace_full_path.is_some(), is(Type::ReplaceFullPath)),
        ("replacePrefixMatch", change.replace_prefix_match.is_some(), is(Type::ReplacePrefixMatch)),
    ];
    union(path, change.modifier_type.is_some(), &rows, findings);
    for (field, text) in
        [("replaceFullPath", &change.replace_full_path), ("replacePrefixMatch", &change.replace_prefix_match)]
    {
        rules::max_len(path.field(field), text.as_deref().unwrap_or_default(), 1024, findings);
    }
}
