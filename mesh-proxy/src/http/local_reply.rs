//! Answers made by the proxy itself, and how they look to gRPC clients.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};

use crate::filter::LocalReply;

pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The response for `reply`. A gRPC request gets a trailers-only response with status 200
/// (gRPC over HTTP/2, "Responses"); a `HEAD` request gets no body.
pub(super) fn response(reply: LocalReply, grpc: bool, head: bool) -> Response<Option<Bytes>> {
    if grpc {
        return grpc_response(reply, head);
    }
    let mut response = Response::new(None);
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    *headers = reply.headers;
    if !reply.body.is_empty() {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain"));
    }
    if !reply.body.is_empty() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    }
    if !head && !reply.body.is_empty() {
        *response.body_mut() = Some(reply.body);
    }
    response
}

fn grpc_response(reply: LocalReply, head: bool) -> Response<Option<Bytes>> {
    let mut response = Response::new(None);
    let headers = response.headers_mut();
    *headers = reply.headers;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let code = reply.grpc_status.unwrap_or_else(|| grpc_code(reply.status));
    headers.insert(GRPC_STATUS, HeaderValue::from(code));
    if let Some(message) = percent_encoded(reply.body.trim_ascii_end()).filter(|_| !head) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// The gRPC code of an HTTP status (gRPC's `http-grpc-status-mapping.md`).
pub(super) fn grpc_code(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// `grpc-status` of headers or trailers.
pub(super) fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

fn percent_encoded(message: &[u8]) -> Option<HeaderValue> {
    use std::fmt::Write as _;
    if message.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(message.len());
    for &b in message {
        if (b' '..=b'~').contains(&b) && b != b'%' {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
    }
    HeaderValue::try_from(out).ok()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::response;
    use crate::filter::LocalReply;

    #[test]
    fn plain_and_grpc() {
        let reply = LocalReply::new(StatusCode::FORBIDDEN, "x", "RBAC: access denied");
        let plain = response(reply.clone(), false, false);
        assert_eq!(plain.status(), 403);
        assert_eq!(plain.headers()["content-length"], "19");
        assert_eq!(plain.headers()["content-type"], "text/plain");
        let grpc = response(reply.clone(), true, false);
        assert_eq!(grpc.status(), 200);
        assert_eq!(grpc.headers()["grpc-status"], "7");
        assert_eq!(grpc.headers()["grpc-message"], "RBAC: access denied");
        assert!(grpc.body().is_none());
        let head = response(reply, false, true);
        assert_eq!(head.headers()["content-length"], "19");
        assert!(head.body().is_none());
    }
}
