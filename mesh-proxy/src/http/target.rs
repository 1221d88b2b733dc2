//! Where a request is going: authority, path and scheme, the same for HTTP/1.1 and HTTP/2.
//!
//! A request with a `host` header and a path is HTTP/1.1's form; one whose URI is absolute is HTTP/2's. Both are kept as
//! they came, since most requests leave in the form they came in.

use http::{
    HeaderMap, HeaderValue, Uri,
    header::HOST,
    request,
    uri::{Authority, PathAndQuery, Scheme},
};

use super::headers::X_FORWARDED_PROTO;
use crate::model::HeaderView;

/// `:authority`, or `host`; empty if there is none.
pub(super) fn authority(request: &request::Parts) -> &str {
    match request.uri.authority() {
        Some(authority) => authority.as_str(),
        None => request.headers.get(HOST).and_then(|v| v.to_str().ok()).unwrap_or(""),
    }
}

/// Path and query; empty for `CONNECT`.
pub(super) fn path(request: &request::Parts) -> &str {
    request.uri.path_and_query().map_or("", PathAndQuery::as_str)
}

/// `:scheme`: `http` or `https`. HTTP/2's own; HTTP/1.1 has none, so there it is what `x-forwarded-proto` says.
pub(super) fn scheme(request: &request::Parts) -> &'static str {
    if let Some(Followed(scheme)) = request.extensions.get() {
        return scheme;
    }
    let secure = match request.uri.scheme_str() {
        Some(scheme) => scheme == "https",
        None => is_secure(request),
    };
    if secure { "https" } else { "http" }
}

/// Whether the client's own connection is TLS, as `x-forwarded-proto` tells.
pub(super) fn is_secure(request: &request::Parts) -> bool {
    // Several values say nothing.
    let mut forwarded = request.headers.get_all(X_FORWARDED_PROTO).iter();
    forwarded.next().is_some_and(|value| value == "https") && forwarded.next().is_none()
}

/// What conditions and logs look at.
pub(super) fn view(request: &request::Parts) -> HeaderView<'_> {
    HeaderView {
        method: request.method.as_str(),
        path: path(request),
        authority: authority(request),
        scheme: scheme(request),
        headers: &request.headers,
    }
}

/// Replaces the path and query. An impossible one leaves the request as it is.
pub(super) fn set_path(request: &mut request::Parts, path: String) {
    let Ok(path) = PathAndQuery::try_from(path) else { return };
    let mut parts = std::mem::take(&mut request.uri).into_parts();
    parts.path_and_query = Some(path);
    request.uri = Uri::from_parts(parts).unwrap_or_default();
}

/// Replaces the authority, in the form the request has it. An impossible one leaves the request as it is.
pub(super) fn set_authority(request: &mut request::Parts, authority: &str) {
    if request.uri.authority().is_none() {
        if let Ok(value) = HeaderValue::try_from(authority) {
            request.headers.insert(HOST, value);
        }
        return;
    }
    let Ok(authority) = Authority::try_from(authority) else { return };
    let mut parts = request.uri.clone().into_parts();
    parts.authority = Some(authority);
    if let Ok(uri) = Uri::from_parts(parts) {
        request.uri = uri;
    }
}

/// The scheme of a redirect that was followed. What the client's proxies said of theirs stays in its header.
#[derive(Clone, Copy, Debug)]
struct Followed(&'static str);

/// Replaces the scheme, which conditions and logs look at.
pub(super) fn set_scheme(request: &mut request::Parts, scheme: &'static str) {
    request.extensions.insert(Followed(scheme));
}

/// HTTP/1.1's form: path only and `host`.
pub(super) fn into_origin_form(uri: &mut Uri, headers: &mut HeaderMap) {
    let Some(authority) = uri.authority() else { return };
    if let Ok(host) = HeaderValue::try_from(authority.as_str()) {
        headers.insert(HOST, host);
    }
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

/// HTTP/2's form: scheme and authority in the URI, no `host`.
pub(super) fn into_absolute_form(uri: &mut Uri, headers: &mut HeaderMap, scheme: &str) {
    let host = headers.remove(HOST);
    if uri.authority().is_some() {
        return;
    }
    let Some(authority) = host.and_then(|h| Authority::try_from(h.as_bytes()).ok()) else { return };
    let mut parts = std::mem::take(uri).into_parts();
    parts.authority = Some(authority);
    parts.scheme = Some(if scheme == "https" { Scheme::HTTPS } else { Scheme::HTTP });
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
    }
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Request, Uri};

    use super::{authority, into_absolute_form, into_origin_form, path, set_authority, set_path};

    #[test]
    fn both_forms() {
        let (mut h1, ()) = Request::builder().uri("/a?b").header("host", "x:1").body(()).unwrap().into_parts();
        assert_eq!((authority(&h1), path(&h1)), ("x:1", "/a?b"));
        set_authority(&mut h1, "y");
        set_path(&mut h1, "/c".into());
        assert_eq!((authority(&h1), path(&h1)), ("y", "/c"));
        let (mut h2, ()) = Request::builder().uri("https://x:1/a").body(()).unwrap().into_parts();
        set_authority(&mut h2, "y");
        set_path(&mut h2, "/c".into());
        assert_eq!((authority(&h2), path(&h2)), ("y", "/c"));
        assert_eq!(h2.uri, "https://y/c");
    }

    #[test]
    fn from_one_to_the_other() {
        let mut uri = Uri::from_static("http://x/a?b");
        let mut headers = HeaderMap::new();
        into_origin_form(&mut uri, &mut headers);
        assert_eq!(uri, "/a?b");
        assert_eq!(headers["host"], "x");
        into_absolute_form(&mut uri, &mut headers, "https");
        assert_eq!(uri, "https://x/a?b");
        assert!(headers.is_empty());
    }
}
