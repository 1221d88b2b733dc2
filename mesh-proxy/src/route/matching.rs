use std::borrow::Cow;

use ::http::{HeaderMap, header::CONTENT_TYPE};

use super::RouteInput;
use crate::{
    filter::TlsInfo,
    model::{PathMatch, RouteMatch, RuntimeFraction},
};

/// Whether `request`, whose path without query is `path`, satisfies `condition`.
pub(super) fn matches(condition: &RouteMatch, request: &RouteInput<'_>, path: &str) -> bool {
    path_matches(condition, request, path)
        && condition.fraction.is_none_or(|fraction| in_fraction(fraction, request.random))
        && (!condition.grpc || is_grpc(request.headers))
        && headers_match(condition, request)
        && query_matches(condition, request.path)
        && condition.cookies.iter().all(|cookie| cookie.matches(request.headers))
        && tls_matches(condition, request.tls)
}

fn path_matches(condition: &RouteMatch, request: &RouteInput<'_>, path: &str) -> bool {
    if let PathMatch::Connect = condition.path {
        return request.method == "CONNECT";
    }
    // A plain CONNECT has no path; only a connect matcher takes it.
    if path.is_empty() && request.method == "CONNECT" {
        return false;
    }
    let fold = condition.ignore_case;
    match &condition.path {
        PathMatch::Prefix(prefix) => starts_with(path, prefix, fold),
        PathMatch::Exact(exact) if fold => path.eq_ignore_ascii_case(exact),
        PathMatch::Exact(exact) => path == exact,
        PathMatch::SeparatedPrefix(prefix) => {
            starts_with(path, prefix, fold) && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
        }
        PathMatch::Regex(regex) => regex.is_match(path),
        PathMatch::Template(template) => template.matches(path),
        PathMatch::Connect => false,
    }
}

fn starts_with(path: &str, prefix: &str, ignore_case: bool) -> bool {
    if !ignore_case {
        return path.starts_with(prefix);
    }
    path.as_bytes().get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Envoy's rule: the remainder of the random number by the denominator is below the numerator.
fn in_fraction(fraction: RuntimeFraction, random: u64) -> bool {
    random.checked_rem(u64::from(fraction.denominator)).is_some_and(|rest| rest < u64::from(fraction.numerator))
}

/// `application/grpc`, alone or followed by `+` and a codec. Of several content types the list is looked at, and that is not
/// gRPC unless its first element names a codec.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let rest = values.next().and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| match rest.first() {
        None => values.next().is_none(),
        Some(first) => *first == b'+',
    })
}

fn headers_match(condition: &RouteMatch, request: &RouteInput<'_>) -> bool {
    if condition.headers.is_empty() {
        return true;
    }
    let view = request.view();
    condition.headers.iter().all(|header| header.matches(&view))
}

fn query_matches(condition: &RouteMatch, path_and_query: &str) -> bool {
    if condition.query.is_empty() {
        return true;
    }
    let query = path_and_query.split_once('?').map_or("", |(_, query)| query);
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    condition.query.iter().all(|parameter| parameter.matches(query))
}

fn tls_matches(condition: &RouteMatch, tls: Option<&TlsInfo>) -> bool {
    let presented = tls.is_some_and(|tls| !tls.peer_chain.is_empty());
    let validated = tls.is_some_and(|tls| tls.peer_verified);
    condition.tls_presented.is_none_or(|wanted| wanted == presented)
        && condition.tls_validated.is_none_or(|wanted| wanted == validated)
}

/// The path without query and fragment.
pub(super) fn without_query(path: &str) -> &str {
    path.find(['?', '#']).map_or(path, |end| &path[..end])
}

/// The path without the parameters of its segments: without each semicolon and what follows it up to the next slash.
pub(super) fn without_parameters(path: &str) -> Cow<'_, str> {
    if !path.contains(';') {
        return Cow::Borrowed(path);
    }
    let segments = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    Cow::Owned(segments.collect::<Vec<_>>().join("/"))
}
