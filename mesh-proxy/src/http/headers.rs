//! What the connection manager itself does to headers, before routing and on the way back.
//!
//! What concerns the client stands in `client`.

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{CONNECTION, SERVER, TE, TRANSFER_ENCODING, UPGRADE, VIA},
};

use time::OffsetDateTime;

use crate::model::{HttpConnectionManager, ServerHeader};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What `connection` may name without that the header of this name goes.
const KEPT_TOKENS: &[&str] = &["close", "keep-alive", "te", "upgrade"];

/// What `connection` must not name: requests would be read otherwise without it, or hide where they come from.
const NEVER_NAMED: &[&str] = &["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

/// `x-envoy-*` request headers that only internal clients may set: they steer retries and timeouts, for one thing.
const INTERNAL: &[&str] = &[
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-ip-tags",
    "x-envoy-original-url",
];

/// `x-envoy-*` request headers that come from no client of the edge.
const EDGE: &[&str] = &["x-envoy-decorator-operation", "x-envoy-original-path"];

/// `connection: upgrade` with an `upgrade` token, lower case; `None` if it is no upgrade.
pub(super) fn upgrade_type(headers: &HeaderMap) -> Option<String> {
    let upgrade = headers.get(UPGRADE)?;
    let asks = headers.get_all(CONNECTION).iter().any(|v| tokens(v).any(|t| t.eq_ignore_ascii_case("upgrade")));
    if asks { upgrade.to_str().ok().map(str::to_ascii_lowercase) } else { None }
}

/// The elements of a list.
pub(super) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or("").split(',').map(str::trim).filter(|t| !t.is_empty())
}

/// Refuses a `connection` header that names what only the proxy may take away.
pub(super) fn check_connection(headers: &HeaderMap) -> Result<(), ()> {
    let named = headers.get_all(CONNECTION).iter().flat_map(tokens);
    let mut kept = named.filter(|token| NEVER_NAMED.iter().any(|never| token.eq_ignore_ascii_case(never)));
    if kept.next().is_some() { Err(()) } else { Ok(()) }
}

/// Removes headers that belong to one hop (RFC 9110, section 7.6.1). `te: trailers` stays, gRPC needs it.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap, keep_upgrade: bool) {
    // Most messages have none, which one walk over the names tells.
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(tokens)
            .filter(|token| !KEPT_TOKENS.iter().any(|kept| token.eq_ignore_ascii_case(kept)))
            .filter_map(|token| HeaderName::try_from(token).ok())
            .collect();
        headers.remove(CONNECTION);
        for name in named {
            headers.remove(name);
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

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(name.as_str(), "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" | "te")
}

/// Whether external clients must not set `name`.
pub(super) fn is_internal_only(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-envoy-") && (name == "x-envoy-internal" || INTERNAL.contains(&name) || EDGE.contains(&name))
}

/// Removes what the client must not set. `edge`: this proxy is the first that an external client meets.
pub(super) fn remove_internal(headers: &mut HeaderMap, internal: bool, edge: bool) {
    headers.remove("x-envoy-internal");
    for name in if internal { &[] } else { INTERNAL } {
        headers.remove(*name);
    }
    for name in if edge { EDGE } else { &[] } {
        headers.remove(*name);
    }
}

/// `bytes` without spaces and tabs around them.
pub(super) fn trim_ows(bytes: &[u8]) -> &[u8] {
    let is_ows = |b: &u8| matches!(b, b' ' | b'\t');
    let start = bytes.iter().position(|b| !is_ows(b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|b| !is_ows(b)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// Puts `text` behind what the header says.
pub(super) fn append(headers: &mut HeaderMap, name: HeaderName, text: &str, separator: &str) {
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
pub(super) fn request_id(random: u128) -> HeaderValue {
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

/// A time as `date` has it (RFC 9110, section 5.6.7).
pub(super) fn date(now: SystemTime) -> String {
    let t = OffsetDateTime::from(now);
    let (day, month) = (t.weekday().to_string(), t.month().to_string());
    let (hour, minute, second) = t.to_hms();
    let (day, month) = (day.get(..3).unwrap_or_default(), month.get(..3).unwrap_or_default());
    format!("{day}, {:02} {month} {} {hour:02}:{minute:02}:{second:02} GMT", t.day(), t.year())
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

    use super::{date, remove_hop_by_hop, request_id, trim_ows, upgrade_type};

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
    fn the_date_of_rfc_9110() {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(784_111_777);
        assert_eq!(date(at), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn white_space_around_a_value() {
        for (given, trimmed) in [("", ""), (" \t ", ""), (" a b\t", "a b"), ("\x0ba", "\x0ba")] {
            assert_eq!(trim_ows(given.as_bytes()), trimmed.as_bytes());
        }
    }
}
