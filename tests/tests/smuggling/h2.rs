//! HTTP/2 cases, written frame by frame: what HTTP/2 can carry and HTTP/1 behind it cannot.

use crate::run::Case;

const HEADERS: u8 = 1;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).expect("short").to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Fields as literals without indexing and without Huffman (RFC 7541, section 6.2.2). All are shorter than 127 bytes.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).ok().filter(|n| *n < 127).expect("short"));
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// A connection with one request. `%` stands for the name of the case in all values.
fn request(name: &'static str, at_most: usize, fields: &[(&str, &str)], body: &[&str]) -> Case {
    let named: Vec<(&str, String)> = fields.iter().map(|(n, v)| (*n, v.replace('%', name))).collect();
    let fields: Vec<(&str, &str)> = named.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    let end = if body.is_empty() { END_STREAM } else { 0 };
    bytes.extend(frame(HEADERS, END_HEADERS | end, 1, &block(&fields)));
    for (i, part) in body.iter().enumerate() {
        let end = if i + 1 == body.len() { END_STREAM } else { 0 };
        bytes.extend(frame(DATA, end, 1, part.as_bytes()));
    }
    Case { name, bytes, at_most, http2: true }
}

const PSEUDO: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/%/")];

/// A proper request with more fields.
fn with(name: &'static str, at_most: usize, fields: &[(&str, &str)], body: &[&str]) -> Case {
    request(name, at_most, &[&PSEUDO, fields].concat(), body)
}

/// A request with other pseudo-header fields.
fn pseudo(name: &'static str, at_most: usize, fields: &[(&str, &str)]) -> Case {
    request(name, at_most, fields, &[])
}

const SMUGGLED: &str = "GET /%/smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        with("h2-plain", 1, &[("x", "y")], &["abc"]),
        with("h2-crlf-in-value", 0, &[("x", "y\r\ncontent-length: 0\r\n\r\nGET /%/smuggled HTTP/1.1")], &["abc"]),
        with("h2-lf-in-value", 0, &[("x", "y\ntransfer-encoding: chunked")], &["abc"]),
        with("h2-cr-in-value", 0, &[("x", "y\rz")], &[]),
        with("h2-nul-in-value", 0, &[("x", "y\0z")], &[]),
        with("h2-leading-space-value", 1, &[("x", " y")], &[]),
        with("h2-crlf-in-name", 0, &[("x: y\r\nz", "w")], &[]),
        with("h2-colon-in-name", 0, &[("x:y", "w")], &[]),
        with("h2-space-in-name", 0, &[("x y", "w")], &[]),
        with("h2-upper-name", 0, &[("X-Upper", "w")], &[]),
        with("h2-empty-name", 0, &[("", "w")], &[]),
        with("h2-transfer-encoding", 0, &[("transfer-encoding", "chunked")], &["0\r\n\r\n", SMUGGLED]),
        with("h2-connection", 0, &[("connection", "close")], &[]),
        with("h2-keep-alive", 0, &[("keep-alive", "1")], &[]),
        with("h2-proxy-connection", 0, &[("proxy-connection", "close")], &[]),
        with("h2-upgrade", 0, &[("upgrade", "websocket")], &[]),
        with("h2-te-gzip", 0, &[("te", "gzip")], &[]),
        with("h2-te-trailers", 1, &[("te", "trailers")], &[]),
        with("h2-length-short", 1, &[("content-length", "1")], &["abc"]),
        with("h2-length-long", 1, &[("content-length", "9")], &["abc"]),
        with("h2-length-zero-body", 1, &[("content-length", "0")], &[SMUGGLED]),
        with("h2-length-without-body", 1, &[("content-length", "9")], &[]),
        with("h2-length-twice", 0, &[("content-length", "3"), ("content-length", "3")], &["abc"]),
        with("h2-length-twice-differs", 0, &[("content-length", "3"), ("content-length", "4")], &["abc"]),
        with("h2-length-bad", 0, &[("content-length", "x")], &["abc"]),
        with("h2-length-plus", 0, &[("content-length", "+3")], &["abc"]),
        with("h2-length-list", 0, &[("content-length", "3, 3")], &["abc"]),
        with("h2-host-differs", 1, &[("host", "b")], &[]),
        with("h2-host-twice", 1, &[("host", "a"), ("host", "b")], &[]),
        with("h2-cookies", 1, &[("cookie", "a=1"), ("cookie", "b=2")], &[]),
        with("h2-late-pseudo", 0, &[("x", "y"), (":path", "/%/smuggled")], &[]),
        with("h2-unknown-pseudo", 0, &[(":x", "y")], &[]),
        with("h2-status", 0, &[(":status", "200")], &[]),
        with("h2-protocol-without-connect", 0, &[(":protocol", "websocket")], &[]),
    ];
    cases.extend(pseudo_headers());
    cases
}

fn pseudo_headers() -> Vec<Case> {
    let [method, scheme, authority, path] = PSEUDO;
    vec![
        pseudo("h2-no-path", 0, &[method, scheme, authority, ("x", "/%/")]),
        pseudo("h2-no-method", 0, &[scheme, authority, path]),
        pseudo("h2-no-scheme", 0, &[method, authority, path]),
        pseudo("h2-no-authority", 0, &[method, scheme, path]),
        pseudo("h2-host-only", 1, &[method, scheme, path, ("host", "b")]),
        pseudo("h2-path-twice", 0, &[method, scheme, authority, path, (":path", "/%/2")]),
        pseudo("h2-authority-twice", 0, &[method, scheme, authority, (":authority", "b"), path]),
        pseudo("h2-empty-path", 0, &[method, scheme, authority, (":path", "")]),
        pseudo("h2-relative-path", 0, &[method, scheme, authority, (":path", "%/")]),
        pseudo("h2-path-space", 0, &[method, scheme, authority, (":path", "/%/ HTTP/1.1")]),
        pseudo("h2-path-crlf", 0, &[method, scheme, authority, (":path", "/%/ HTTP/1.1\r\nx: y\r\n\r\n")]),
        pseudo("h2-path-nul", 0, &[method, scheme, authority, (":path", "/%/\0")]),
        pseudo("h2-path-fragment", 1, &[method, scheme, authority, (":path", "/%/#x")]),
        pseudo("h2-path-absolute", 0, &[method, scheme, authority, (":path", "http://b/%/")]),
        pseudo("h2-method-space", 0, &[(":method", "GET /%/smuggled HTTP/1.1\r\n"), scheme, authority, path]),
        pseudo("h2-method-crlf", 0, &[(":method", "GET\r\nx: y"), scheme, authority, path]),
        pseudo("h2-method-empty", 0, &[(":method", ""), scheme, authority, path]),
        pseudo("h2-method-lower", 1, &[(":method", "get"), scheme, authority, path]),
        pseudo("h2-authority-crlf", 0, &[method, scheme, (":authority", "a\r\nx: y"), path]),
        pseudo("h2-authority-space", 0, &[method, scheme, (":authority", "a b"), path]),
        pseudo("h2-authority-slash", 0, &[method, scheme, (":authority", "a/b"), path]),
        pseudo("h2-authority-user", 1, &[method, scheme, (":authority", "u@a"), path]),
        pseudo("h2-authority-empty", 0, &[method, scheme, (":authority", ""), path]),
        pseudo("h2-scheme-bad", 1, &[method, (":scheme", "http://x"), authority, path]),
        pseudo("h2-scheme-ftp", 1, &[method, (":scheme", "ftp"), authority, path]),
    ]
}

/// Statuses of the answers on stream 1, 0 for its reset. Only statuses of HPACK's static table are told apart; all others are 1.
pub(crate) fn statuses(bytes: &[u8]) -> Vec<u16> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let [a, b, c, kind, _, s0, s1, s2, s3, tail @ ..] = rest {
        let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((payload, after)) = tail.split_at_checked(len) else { break };
        if [*s0, *s1, *s2, *s3] == [0, 0, 0, 1] {
            match *kind {
                HEADERS => found.push(status(payload)),
                3 => found.push(0),
                _ => {}
            }
        }
        rest = after;
    }
    // A stream that was answered may be reset afterwards, so that its request is not sent any more.
    if found.len() > 1 {
        found.retain(|status| *status != 0);
    }
    found
}

fn status(block: &[u8]) -> u16 {
    // Updates of the table's size may stand before it.
    match block.iter().find(|b| **b & 0xe0 != 0x20) {
        Some(0x88) => 200,
        Some(0x8c) => 400,
        Some(0x8d) => 404,
        Some(0x8e) => 500,
        _ => 1,
    }
}
