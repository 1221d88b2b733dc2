//! What the connection manager itself does to headers, before routing and on the way back.
//!
//! As Envoy's `ConnectionManagerUtility`, with its default of trusting no address as internal: `x-envoy-*` request
//! headers that steer retries and timeouts are always removed, since every client is external.

use std::net::{IpAddr, SocketAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{CONNECTION, SERVER, TE, TRANSFER_ENCODING, UPGRADE, VIA},
};

use super::xfcc;
use crate::{
    filter::{ConnectionInfo, StreamInfo},
    model::{HttpConnectionManager, ServerHeader},
};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// `x-envoy-*` request headers that only internal clients may set.
const INTERNAL: &[&str] = &[
    "x-envoy-internal",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-ip-tags",
    "x-envoy-original-url",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-original-path",
];

/// `connection: upgrade` with an `upgrade` token, lower case; `None` if it is no upgrade.
pub(super) fn upgrade_type(headers: &HeaderMap) -> Option<String> {
    let upgrade = headers.get(UPGRADE)?;
    let asks = headers.get_all(CONNECTION).iter().any(|v| tokens(v).any(|t| t.eq_ignore_ascii_case("upgrade")));
    if asks { upgrade.to_str().ok().map(str::to_ascii_lowercase) } else { None }
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or("").split(',').map(str::trim).filter(|t| !t.is_empty())
}

/// Removes headers that belong to one hop (RFC 9110, section 7.6.1). `te: trailers` stays, gRPC needs it.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap, keep_upgrade: bool) {
    if let Some(connection) = headers.remove(CONNECTION) {
        for token in tokens(&connection) {
            let kept = ["close", "keep-alive", "te", "upgrade"].iter().any(|k| token.eq_ignore_ascii_case(k));
            if !kept && let Ok(name) = HeaderName::try_from(token) {
                headers.remove(name);
            }
        }
        if keep_upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        }
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    if !keep_upgrade {
        headers.remove(UPGRADE);
    }
    if let Some(te) = headers.remove(TE)
        && tokens(&te).any(|t| t.eq_ignore_ascii_case("trailers"))
    {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Whether `name` belongs to the set that [`sanitize_request`] removes.
fn is_internal(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-envoy-") && INTERNAL.contains(&name.as_str())
}

/// Request headers on arrival: client address, forwarding headers, request id, certificate. Returns nothing; the
/// client's address goes to `info`.
pub(super) fn sanitize_request(
    config: &HttpConnectionManager,
    connection: &ConnectionInfo,
    headers: &mut HeaderMap,
    info: &mut StreamInfo,
    random: impl FnOnce() -> u128,
) {
    if headers.keys().any(is_internal) {
        for name in INTERNAL {
            headers.remove(*name);
        }
    }
    info.client = client_address(config, connection, headers);
    if config.use_remote_address && !config.skip_xff_append {
        append(headers, X_FORWARDED_FOR, &connection.remote.ip().to_canonical().to_string(), ",");
    }
    let trusted = config.use_remote_address && config.xff_trusted_hops == 0;
    if trusted || !headers.contains_key(X_FORWARDED_PROTO) {
        let proto = if connection.tls.is_some() { "https" } else { "http" };
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    }
    if config.generate_request_id {
        let fresh = config.use_remote_address && !config.preserve_external_request_id;
        if fresh || !headers.contains_key(X_REQUEST_ID) {
            headers.insert(X_REQUEST_ID, request_id(random()));
        }
    }
    if !config.via.is_empty() {
        append(headers, VIA, &config.via, ", ");
    }
    xfcc::apply(config, connection.tls.as_deref(), headers);
}

/// The client: the connection's peer, or the XFF entry before the trusted hops.
fn client_address(config: &HttpConnectionManager, connection: &ConnectionInfo, headers: &HeaderMap) -> SocketAddr {
    let hops = config.xff_trusted_hops as usize;
    if config.use_remote_address && hops == 0 {
        return connection.remote;
    }
    // With use_remote_address the connection itself is the first trusted hop.
    let skip = if config.use_remote_address { hops - 1 } else { hops };
    forwarded_for(headers, skip).map_or(connection.remote, |ip| SocketAddr::new(ip, 0))
}

/// Entry number `skip` of `x-forwarded-for`, counted from its end.
fn forwarded_for(headers: &HeaderMap, skip: usize) -> Option<IpAddr> {
    let values: Vec<&str> = headers.get_all(X_FORWARDED_FOR).iter().flat_map(tokens).collect();
    values.iter().rev().nth(skip)?.parse().ok()
}

fn append(headers: &mut HeaderMap, name: HeaderName, text: &str, separator: &str) {
    let mut joined = String::new();
    for value in headers.get_all(&name) {
        if let Ok(value) = value.to_str() {
            joined.push_str(value);
            joined.push_str(separator);
        }
    }
    joined.push_str(text);
    if let Ok(value) = HeaderValue::try_from(joined) {
        headers.insert(name, value);
    }
}

/// A UUID, version 4 (RFC 9562).
fn request_id(random: u128) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bits = random & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62;
    let mut text = [b'-'; 36];
    let mut shift = 128;
    for (i, c) in text.iter_mut().enumerate() {
        if !matches!(i, 8 | 13 | 18 | 23) {
            shift -= 4;
            *c = HEX[(bits >> shift) as usize & 15];
        }
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
}

/// Response headers before they are sent.
pub(super) fn finish_response(config: &HttpConnectionManager, request: &HeaderMap, headers: &mut HeaderMap) {
    match config.server_header {
        ServerHeader::Overwrite => set_server(config, headers),
        ServerHeader::AppendIfAbsent if !headers.contains_key(SERVER) => set_server(config, headers),
        ServerHeader::AppendIfAbsent | ServerHeader::PassThrough => {}
    }
    if !config.via.is_empty() {
        append(headers, VIA, &config.via, ", ");
    }
    if config.always_set_request_id_in_response
        && let Some(id) = request.get(X_REQUEST_ID)
    {
        headers.insert(X_REQUEST_ID, id.clone());
    }
}

fn set_server(config: &HttpConnectionManager, headers: &mut HeaderMap) {
    let name = if config.server_name == "envoy" {
        HeaderValue::from_static("envoy")
    } else {
        HeaderValue::try_from(config.server_name.as_str()).unwrap_or(HeaderValue::from_static("envoy"))
    };
    headers.insert(SERVER, name);
}

/// `%PROTOCOL%` of a version.
pub(super) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 | Version::HTTP_09 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{forwarded_for, remove_hop_by_hop, request_id, upgrade_type};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn a_request_id_is_a_uuid() {
        assert_eq!(request_id(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(request_id(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn hop_by_hop_headers_go() {
        let mut h = headers(&[
            ("connection", "close, x-mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("te", "trailers, gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-kept", "1"),
        ]);
        remove_hop_by_hop(&mut h, false);
        assert_eq!(h, headers(&[("te", "trailers"), ("x-kept", "1")]));
        let mut h = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")]);
        assert_eq!(upgrade_type(&h).as_deref(), Some("websocket"));
        remove_hop_by_hop(&mut h, true);
        assert_eq!(h, headers(&[("connection", "upgrade"), ("upgrade", "WebSocket")]));
    }

    #[test]
    fn the_client_stands_before_the_trusted_hops() {
        let h = headers(&[("x-forwarded-for", "10.0.0.1, 10.0.0.2"), ("x-forwarded-for", "10.0.0.3")]);
        assert_eq!(forwarded_for(&h, 0), "10.0.0.3".parse().ok());
        assert_eq!(forwarded_for(&h, 2), "10.0.0.1".parse().ok());
        assert_eq!(forwarded_for(&h, 3), None);
    }
}
