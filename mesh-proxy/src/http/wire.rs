//! What a request must be for the protocol that it leaves in.

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE},
};
use hyper::ext::Protocol;

use super::{continue_gate::ContinueGate, manager::Upgrade, stream::Stream, target};
use crate::{
    body::Body,
    model::{HeaderCase, PoolOptions},
};

const CONNECT: &str = "connect";

/// HTTP/1.1: one `cookie` header (RFC 9113, section 8.2.3), where the body ends, and what the cluster's options say.
pub(super) fn for_http1(request: &mut Request<Body>, stream: &Stream, pool: &PoolOptions, scheme: &str) {
    join_cookies(request);
    if request.method() != Method::CONNECT {
        let method = request.method().clone();
        frame(&method, stream.upload.is_some(), request.headers_mut());
    }
    if pool.http1_fully_qualified && request.method() != Method::CONNECT {
        fully_qualify(request, scheme);
    }
    if pool.http1_header_case == HeaderCase::Preserve {
        // The names as they came are in there, for the codec alone to read.
        *request.extensions_mut() = stream.request.extensions.clone();
    }
    let Some(upload) = &stream.upload else { return };
    if !pool.http1_trailers {
        upload.drop_trailers();
    }
    if stream.chain.model.proxy_100_continue && request.headers().contains_key(EXPECT) {
        upload.wait_for(ContinueGate::before(request));
    }
}

/// How an HTTP/1.1 request tells where its body ends: a body of unknown length is chunked whatever the method, and a method
/// that mostly has a body says so if there is none (RFC 9110, section 8.6).
pub(super) fn frame(method: &Method, has_body: bool, headers: &mut HeaderMap) {
    if headers.contains_key(CONTENT_LENGTH) {
        return;
    }
    if has_body {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else if !matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::CONNECT | Method::TRACE) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

fn join_cookies(request: &mut Request<Body>) {
    let crumbs = request.headers().get_all(COOKIE);
    if crumbs.iter().nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = crumbs.iter().map(HeaderValue::as_bytes).collect();
    // Each part is a value already, and so is what separates them.
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        request.headers_mut().insert(COOKIE, joined);
    }
}

fn fully_qualify(request: &mut Request<Body>, scheme: &str) {
    let Some(host) = request.headers().get(HOST).cloned() else { return };
    let mut uri = std::mem::take(request.uri_mut());
    target::into_absolute_form(&mut uri, request.headers_mut(), scheme);
    *request.uri_mut() = uri;
    request.headers_mut().insert(HOST, host);
}

/// HTTP/2: an upgrade is an extended `CONNECT` (RFC 8441).
pub(super) fn for_http2(request: &mut Request<Body>, upgrade: Option<&Upgrade>) {
    let Some(upgrade) = upgrade.filter(|upgrade| upgrade.kind != CONNECT) else { return };
    *request.method_mut() = Method::CONNECT;
    request.headers_mut().remove(UPGRADE);
    request.headers_mut().remove(CONNECTION);
    request.extensions_mut().insert(Protocol::from(upgrade.kind.as_str()));
}

/// A host that accepts an extended `CONNECT` accepts the upgrade that it stands for.
pub(super) fn accept_extended_connect<B>(response: &mut Response<B>, upgrade: &Upgrade) {
    if response.version() != Version::HTTP_2 || upgrade.kind == CONNECT || !response.status().is_success() {
        return;
    }
    let Ok(kind) = HeaderValue::try_from(upgrade.kind.as_str()) else { return };
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(UPGRADE, kind);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
}
