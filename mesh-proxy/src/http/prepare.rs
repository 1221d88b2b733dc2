//! What is done to a request before anything is decided about it: checks, normal forms, headers of the proxy.
//!
//! In Envoy's order: framing, version, host, path, names of headers, upgrade, client's address. What cannot be carried safely
//! is answered here.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, LOCATION, TRANSFER_ENCODING, UPGRADE},
    request,
};
use hyper::{ext::Protocol, upgrade::OnUpgrade};

use super::{client, edits, guard::http1::Violation, headers, manager::Upgrade, path, rewrite, stream::Stream, target};
use crate::{
    filter::{LocalReply, ResponseFlags},
    model::{EscapedSlashes, HttpConnectionManager, StripPort, Underscores},
    route::is_grpc,
};

/// Checks and cleans the request of `stream`.
///
/// # Errors
/// The answer, if the request is not to be carried.
pub(super) fn prepare(stream: &mut Stream, on_upgrade: Option<OnUpgrade>) -> Result<Option<Upgrade>, LocalReply> {
    let chain = stream.chain.clone();
    let model = &*chain.model;
    framing(stream)?;
    if stream.request.version == Version::HTTP_2 {
        return clean(stream, model, on_upgrade);
    }
    let connection = stream.connection.clone();
    // A client of HTTP/1 whose request is refused here is not asked for another one.
    clean(stream, model, on_upgrade).inspect_err(|reply| {
        if !reply.status.is_redirection() {
            connection.ending.set(true);
        }
    })
}

fn clean(
    stream: &mut Stream,
    model: &HttpConnectionManager,
    on_upgrade: Option<OnUpgrade>,
) -> Result<Option<Upgrade>, LocalReply> {
    let request = &mut stream.request;
    line(model, request)?;
    authority(model, request)?;
    normalize_path(model, request)?;
    normalize_host(model, request, stream.connection.info.local.port());
    underscores(model, request)?;
    stream.grpc = is_grpc(&request.headers);
    let has_body = http_body_framing(&request.headers);
    let kind = upgrade_kind(model, request);
    if kind.is_some() && has_body {
        return Err(bad_request("http1.body_disallowed"));
    }
    let upgrade = kind.zip(on_upgrade).map(|(kind, client)| Upgrade { kind, client });
    headers::remove_hop_by_hop(&mut request.headers, upgrade.is_some() && request.method != Method::CONNECT);
    if !model.proxy_100_continue {
        // Answered here, as soon as the body is wanted.
        request.headers.remove(EXPECT);
    }
    let worker = stream.chain.worker.clone();
    let random = || u128::from(worker.random()) << 64 | u128::from(worker.random());
    let connection = &stream.connection.info;
    stream.internal = client::sanitize(model, connection, &mut request.headers, &mut stream.info, random)?;
    if !stream.internal
        && let Some(routes) = stream.chain.routes()
    {
        edits::remove(&mut request.headers, &routes.table().internal_only_headers);
    }
    Ok(upgrade)
}

/// Methods that HTTP/1 clients may use without `allow_custom_methods`, as in Envoy.
const METHODS: &[&str] = &[
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "ACL",
    "BIND",
    "CHECKOUT",
    "COPY",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "M-SEARCH",
    "NOTIFY",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

fn bad_request(details: &'static str) -> LocalReply {
    LocalReply::new(StatusCode::BAD_REQUEST, details, "")
}

/// A refusal that Envoy leaves to its codec, with the text of its status.
fn codec_error(status: StatusCode, details: &'static str) -> LocalReply {
    let text = status.canonical_reason().unwrap_or_default();
    LocalReply::new(status, details, text).with_flags(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR)
}

/// A request that another hop could take for another one ends its connection.
fn framing(stream: &mut Stream) -> Result<(), LocalReply> {
    let headers = &stream.request.headers;
    if stream.request.version == Version::HTTP_2 {
        // The codec compares the body with the first length only.
        return if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
            Err(codec_error(StatusCode::BAD_REQUEST, "http2.violation.of.messaging.rule"))
        } else {
            Ok(())
        };
    }
    if let Some(violation) = stream.connection.next_head() {
        stream.connection.ending.set(true);
        return Err(match violation {
            Violation::Fragment => bad_request(violation.details()),
            _ => codec_error(violation.status(), violation.details()),
        });
    }
    // Seen by the codec alone: a transfer coding in HTTP/1.0 was refused there.
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        stream.request.headers.remove(CONTENT_LENGTH);
    }
    Ok(())
}

/// Method and target as HTTP has them.
fn line(model: &HttpConnectionManager, request: &request::Parts) -> Result<(), LocalReply> {
    let http1 = request.version != Version::HTTP_2;
    if http1 && !model.http1.allow_custom_methods && !METHODS.contains(&request.method.as_str()) {
        return Err(codec_error(StatusCode::BAD_REQUEST, "http1.codec_error"));
    }
    if http1 && request.uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(codec_error(StatusCode::BAD_REQUEST, "http1.codec_error"));
    }
    let path = target::path(request);
    // Envoy's parser of HTTP/1 refuses bytes that no URI has; its HTTP/2 codec lets them pass.
    if (path == "*" && request.method != Method::OPTIONS) || (http1 && !path.is_ascii()) {
        return Err(bad_request("http.invalid_path"));
    }
    headers::check_connection(&request.headers).map_err(|()| bad_request("http1.connection_header_rejected"))
}

/// One host in one place. The target's own, if it has one, replaces the header (RFC 9112, section 3.2.2).
fn authority(model: &HttpConnectionManager, request: &mut request::Parts) -> Result<(), LocalReply> {
    let http1 = request.version != Version::HTTP_2;
    if request.headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(bad_request("missing_host_header"));
    }
    if http1 && request.method != Method::CONNECT && request.uri.authority().is_some() {
        target::into_origin_form(&mut request.uri, &mut request.headers);
    } else if !http1 && request.uri.authority().is_some() {
        request.headers.remove(HOST);
    }
    if request.version < Version::HTTP_11 {
        if !model.http1.accept_http_10 {
            return Err(LocalReply::new(StatusCode::UPGRADE_REQUIRED, "low_version", "Upgrade Required"));
        }
        if target::authority(request).is_empty() {
            target::set_authority(request, &model.http1.default_host_for_http_10);
        }
    }
    let authority = target::authority(request);
    if authority.is_empty() {
        return Err(bad_request("missing_host_header"));
    }
    // User information, a path or a second host in it would be read otherwise elsewhere (RFC 9113, section 8.3.1).
    if authority.bytes().any(|b| matches!(b, b'@' | b'/' | b'\\' | b'?' | b'#' | b',') || b <= b' ' || b >= 0x7f) {
        return Err(bad_request("http.invalid_authority"));
    }
    Ok(())
}

fn normalize_path(model: &HttpConnectionManager, request: &mut request::Parts) -> Result<(), LocalReply> {
    let slashes = model.escaped_slashes;
    if request.method == Method::CONNECT
        || !(model.normalize_path || model.merge_slashes || slashes != EscapedSlashes::Keep)
    {
        return Ok(());
    }
    let mut redirect = false;
    let given = target::path(request);
    let mut normal = Cow::Borrowed(given);
    if slashes != EscapedSlashes::Keep
        && let Cow::Owned(unescaped) = path::unescape_slashes(given)
    {
        if slashes == EscapedSlashes::Reject {
            return Err(bad_request("path_normalization_failed"));
        }
        redirect = slashes == EscapedSlashes::UnescapeAndRedirect;
        normal = Cow::Owned(unescaped);
    }
    if model.normalize_path {
        let next = path::normalize(&normal, model.merge_slashes);
        let next = next.map_err(|_| bad_request("path_normalization_failed"))?.into_owned();
        normal = Cow::Owned(next);
    } else if model.merge_slashes {
        normal = Cow::Owned(path::merge_only(&normal).into_owned());
    }
    if redirect {
        let mut reply = LocalReply::new(StatusCode::TEMPORARY_REDIRECT, "path_normalization_failed", "");
        if let Ok(location) = HeaderValue::try_from(&*normal) {
            reply.headers.insert(LOCATION, location);
        }
        return Err(reply);
    }
    if *normal != *given {
        let normal = normal.into_owned();
        target::set_path(request, normal);
    }
    Ok(())
}

/// The host without what the settings remove. `listener`: port of the listener.
fn normalize_host(model: &HttpConnectionManager, request: &mut request::Parts, listener: u16) {
    if model.strip_port == StripPort::None && !model.strip_trailing_host_dot {
        return;
    }
    let given = target::authority(request);
    let (host, port) = rewrite::host_and_port(given);
    let strip = match model.strip_port {
        StripPort::None => false,
        StripPort::Matching => port.and_then(|port| port.parse::<u16>().ok()) == Some(listener),
        StripPort::Any => port.is_some(),
    };
    let bare = if model.strip_trailing_host_dot { host.strip_suffix('.').unwrap_or(host) } else { host };
    let normal = match port.filter(|_| !strip) {
        Some(port) => format!("{bare}:{port}"),
        None => bare.to_owned(),
    };
    if normal != given {
        target::set_authority(request, &normal);
    }
}

fn underscores(model: &HttpConnectionManager, request: &mut request::Parts) -> Result<(), LocalReply> {
    if model.underscores == Underscores::Allow || !request.headers.keys().any(|name| name.as_str().contains('_')) {
        return Ok(());
    }
    if model.underscores == Underscores::Reject {
        return Err(codec_error(StatusCode::BAD_REQUEST, "http.unexpected_underscore"));
    }
    let named: Vec<_> = request.headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
    for name in named {
        request.headers.remove(name);
    }
    Ok(())
}

/// The head says that a body follows.
fn http_body_framing(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes().iter().any(|b| *b != b'0'));
    length || headers.contains_key(TRANSFER_ENCODING)
}

/// The protocol asked for, lower case. An extended `CONNECT` (RFC 8441) becomes the upgrade that it stands for.
fn upgrade_kind(model: &HttpConnectionManager, request: &mut request::Parts) -> Option<String> {
    if request.method == Method::CONNECT {
        let Some(protocol) = request.extensions.remove::<Protocol>() else { return Some("connect".to_owned()) };
        let kind = protocol.as_str().to_ascii_lowercase();
        request.method = Method::GET;
        request.headers.insert(UPGRADE, HeaderValue::try_from(&kind).ok()?);
        request.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        return Some(kind);
    }
    if request.version == Version::HTTP_2 {
        return None;
    }
    headers::upgrade_type(&request.headers).filter(|kind| !is_ignored(model, &request.headers, kind))
}

/// Upgrades to HTTP/2 are never taken up (RFC 9113 has no such upgrade any more), others as configured.
fn is_ignored(model: &HttpConnectionManager, headers: &HeaderMap, kind: &str) -> bool {
    let written = headers.get(UPGRADE).and_then(|v| v.to_str().ok()).unwrap_or("");
    kind == "h2c" || model.http1.ignored_upgrades.iter().any(|ignored| ignored.matches(written))
}
