//! HTTP/1 cases.

use crate::run::Case;

/// `%` stands for the name of the case. Each line of a head ends with CR LF; other bytes are written out.
fn case(name: &'static str, at_most: usize, text: &str) -> Case {
    let bytes = text.replace('%', name).bytes().collect();
    Case { name, bytes, at_most, http2: false }
}

const SMUGGLED: &str = "GET /%/smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// A POST with these header lines, whose body is `body` and then a request that must not be seen as one.
fn post(name: &'static str, lines: &str, body: &str) -> Case {
    case(name, 1, &format!("POST /%/ HTTP/1.1\r\nhost: a\r\n{lines}\r\n{body}{SMUGGLED}"))
}

/// A POST that must be refused: what follows its head is not looked at.
fn refused(name: &'static str, lines: &str, body: &str) -> Case {
    Case { at_most: 0, ..post(name, lines, body) }
}

/// A GET with these header lines.
fn get(name: &'static str, lines: &str) -> Case {
    case(name, 1, &format!("GET /%/ HTTP/1.1\r\n{lines}\r\n"))
}

/// A whole request line.
fn target(name: &'static str, at_most: usize, line: &str) -> Case {
    case(name, at_most, &format!("{line}\r\nhost: a\r\n\r\n"))
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = framing();
    cases.extend(chunks());
    cases.extend(lines());
    cases.extend(targets());
    cases
}

fn framing() -> Vec<Case> {
    const EMPTY: &str = "0\r\n\r\n";
    vec![
        refused("cl-te", "content-length: 5\r\ntransfer-encoding: chunked\r\n", EMPTY),
        refused("te-cl", "transfer-encoding: chunked\r\ncontent-length: 5\r\n", EMPTY),
        refused("cl-te-zero", "content-length: 0\r\ntransfer-encoding: chunked\r\n", EMPTY),
        refused("cl-twice-differs", "content-length: 5\r\ncontent-length: 6\r\n", "12345"),
        post("cl-twice-same", "content-length: 43\r\ncontent-length: 43\r\n", ""),
        refused("cl-list", "content-length: 5, 5\r\n", "12345"),
        refused("cl-plus", "content-length: +5\r\n", "12345"),
        refused("cl-minus", "content-length: -5\r\n", "12345"),
        refused("cl-hex", "content-length: 0x5\r\n", "12345"),
        refused("cl-empty", "content-length: \r\n", "12345"),
        refused("cl-space-inside", "content-length: 5 0\r\n", "12345"),
        refused("cl-too-large", "content-length: 99999999999999999999\r\n", "12345"),
        refused("cl-overflows-u64", "content-length: 18446744073709551617\r\n", "1"),
        refused("te-twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", EMPTY),
        refused("te-twice-identity", "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", EMPTY),
        refused("te-identity-chunked", "transfer-encoding: identity, chunked\r\n", EMPTY),
        refused("te-chunked-identity", "transfer-encoding: chunked, identity\r\n", EMPTY),
        refused("te-gzip-chunked", "transfer-encoding: gzip, chunked\r\n", EMPTY),
        refused("te-identity", "transfer-encoding: identity\r\n", EMPTY),
        refused("te-x-chunked", "transfer-encoding: xchunked\r\n", EMPTY),
        refused("te-chunked-param", "transfer-encoding: chunked;q=1\r\n", EMPTY),
        refused("te-quoted", "transfer-encoding: \"chunked\"\r\n", EMPTY),
        refused("te-vertical-tab", "transfer-encoding: \u{b}chunked\r\n", EMPTY),
        refused("te-form-feed", "transfer-encoding: \u{c}chunked\r\n", EMPTY),
        refused("te-space-before-colon", "transfer-encoding : chunked\r\n", EMPTY),
        refused("te-tab-before-colon", "transfer-encoding\t: chunked\r\n", EMPTY),
        refused("te-empty", "transfer-encoding:\r\n", EMPTY),
        refused("te-folded", "transfer-encoding:\r\n chunked\r\n", EMPTY),
        refused("te-comma", "transfer-encoding: ,chunked\r\n", EMPTY),
        case("te-upper", 1, "POST /%/ HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
        case(
            "te-tab-around",
            1,
            "POST /%/ HTTP/1.1\r\nhost: a\r\nTE: x\r\ntransfer-encoding:\tchunked\t\r\n\r\n0\r\n\r\n",
        ),
        case("te-http10", 0, "POST /%/ HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        case(
            "cl-te-http10",
            0,
            "POST /%/ HTTP/1.0\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        case("get-with-body", 1, "GET /%/ HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"),
        case("pipelined", 2, "GET /%/1 HTTP/1.1\r\nhost: a\r\n\r\nGET /%/2 HTTP/1.1\r\nhost: a\r\n\r\n"),
        case(
            "pipelined-cl-te",
            1,
            "POST /%/1 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabcPOST /%/2 HTTP/1.1\r\nhost: a\r\n\
            content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        case(
            "pipelined-te-cl",
            1,
            "POST /%/1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n\
            POST /%/2 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        ),
        case(
            "upgrade-with-length",
            1,
            "GET /%/ HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            content-length: 42\r\n\r\nGET /%/smuggled HTTP/1.1\r\nhost: a\r\n\r\n.....",
        ),
        case(
            "h2c-upgrade-pipelined",
            2,
            "GET /%/ HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
            http2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\nGET /%/2 HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case(
            "connect-with-length",
            0,
            "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\ncontent-length: 38\r\n\r\nGET /%/smuggled HTTP/1.1\r\n\r\n",
        ),
        case(
            "connect-refused-pipelined",
            0,
            "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\nGET /%/smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
    ]
}

fn chunks() -> Vec<Case> {
    let chunked = |name, body: &str| {
        case(name, 1, &format!("POST /%/ HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}"))
    };
    vec![
        chunked("chunk-extension", "2;a=b\r\nab\r\n0\r\n\r\n"),
        chunked("chunk-extension-quoted", "2;a=\"b;c\"\r\nab\r\n0;x\r\n\r\n"),
        chunked("chunk-leading-zeros", "0002\r\nab\r\n000\r\n\r\n"),
        chunked("chunk-upper-hex", "A\r\n0123456789\r\n0\r\n\r\n"),
        chunked("chunk-trailers", "2\r\nab\r\n0\r\nx-t: 1\r\ncontent-length: 7\r\n\r\n"),
        Case { at_most: 1, ..chunked("chunk-size-overflow", "10000000000000002\r\nab\r\n0\r\n\r\n") },
        Case { at_most: 1, ..chunked("chunk-size-max", "ffffffffffffffff\r\nab\r\n0\r\n\r\n") },
        chunked("chunk-negative", "-2\r\nab\r\n0\r\n\r\n"),
        chunked("chunk-plus", "+2\r\nab\r\n0\r\n\r\n"),
        chunked("chunk-0x", "0x2\r\nab\r\n0\r\n\r\n"),
        chunked("chunk-space-before", " 2\r\nab\r\n0\r\n\r\n"),
        chunked("chunk-space-after", "2 \r\nab\r\n0\r\n\r\n"),
        chunked("chunk-empty-size", "\r\nab\r\n0\r\n\r\n"),
        chunked("chunk-bare-lf-size", "2\nab\r\n0\r\n\r\n"),
        chunked("chunk-bare-lf-data", "2\r\nab\n0\r\n\r\n"),
        chunked("chunk-bare-cr-size", "2\rab\r\n0\r\n\r\n"),
        chunked("chunk-bare-lf-extension", "2;a\nab\r\n0\r\n\r\n"),
        chunked("chunk-bare-cr-extension", "2;a\rb\r\nab\r\n0\r\n\r\n"),
        chunked("chunk-data-too-long", "2\r\nabc\r\n0\r\n\r\n"),
        chunked("chunk-data-without-end", "2\r\nabGET /%/smuggled HTTP/1.1\r\nhost: a\r\n\r\n"),
        chunked("chunk-nul-size", "2\0\r\nab\r\n0\r\n\r\n"),
    ]
}

fn lines() -> Vec<Case> {
    vec![
        case("bare-lf", 1, "GET /%/ HTTP/1.1\nhost: a\nx-a: b\n\n"),
        case("bare-lf-hides-length", 1, "POST /%/ HTTP/1.1\r\nhost: a\r\nx: y\ncontent-length: 3\r\n\r\nabc"),
        case("bare-cr-in-value", 0, "GET /%/ HTTP/1.1\r\nhost: a\r\nx: y\rcontent-length: 3\r\n\r\n"),
        case("bare-cr-ends-line", 0, "GET /%/ HTTP/1.1\r\nhost: a\rx: y\r\n\r\n"),
        case("obs-fold", 1, "GET /%/ HTTP/1.1\r\nhost: a\r\nx: y\r\n z\r\n\r\n"),
        case("obs-fold-tab", 1, "GET /%/ HTTP/1.1\r\nhost: a\r\nx: y\r\n\tz\r\n\r\n"),
        case("fold-first-line", 0, "GET /%/ HTTP/1.1\r\n x: y\r\nhost: a\r\n\r\n"),
        get("space-before-colon", "host: a\r\nx : y\r\n"),
        get("space-in-name", "host: a\r\nx y: z\r\n"),
        get("no-colon", "host: a\r\nxyz\r\n"),
        get("empty-name", "host: a\r\n: y\r\n"),
        get("nul-in-value", "host: a\r\nx: a\0b\r\n"),
        get("nul-in-name", "host: a\r\nx\0y: b\r\n"),
        get("control-in-value", "host: a\r\nx: a\u{1}b\r\n"),
        get("del-in-value", "host: a\r\nx: a\u{7f}b\r\n"),
        get("tab-in-value", "host: a\r\nx: a\tb\r\n"),
        get("parenthesis-in-name", "host: a\r\nx(y): b\r\n"),
        get("underscore-content-length", "host: a\r\ncontent_length: 5\r\n"),
        get("connection-names-length", "host: a\r\nconnection: content-length, x-b\r\nx-b: 1\r\n"),
        get("connection-names-host", "host: a\r\nconnection: host\r\n"),
        get("connection-twice", "host: a\r\nconnection: x-a\r\nconnection: x-b\r\nx-a: 1\r\nx-b: 2\r\n"),
        get("te-trailers", "host: a\r\nte: trailers, gzip\r\n"),
        get("no-host", "x: y\r\n"),
        get("empty-host", "host: \r\n"),
        get("two-hosts", "host: a\r\nhost: b\r\n"),
        get("two-equal-hosts", "host: a\r\nhost: a\r\n"),
        get("host-with-space", "host: a b\r\n"),
        get("host-with-slash", "host: a/b\r\n"),
        get("host-with-user", "host: u@a\r\n"),
        get("host-with-comma", "host: a, b\r\n"),
        get("host-with-port", "host: a:81\r\n"),
        get("host-bad-port", "host: a:b\r\n"),
        get("host-ipv6", "host: [::1]:81\r\n"),
        case("leading-empty-lines", 1, "\r\n\r\nGET /%/ HTTP/1.1\r\nhost: a\r\n\r\n"),
        case("leading-space", 0, " GET /%/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    ]
}

fn targets() -> Vec<Case> {
    vec![
        target("absolute-form", 1, "GET http://b:81/%/ HTTP/1.1"),
        target("absolute-form-user", 1, "GET http://u:p@b/%/ HTTP/1.1"),
        target("absolute-form-ftp", 1, "GET ftp://b/%/ HTTP/1.1"),
        target("absolute-form-https", 1, "GET https://b/%/ HTTP/1.1"),
        target("relative-path", 0, "GET %/ HTTP/1.1"),
        target("no-target", 0, "GET  HTTP/1.1"),
        target("two-spaces", 1, "GET  /%/ HTTP/1.1"),
        target("tab-delimiter", 1, "GET\t/%/\tHTTP/1.1"),
        target("space-in-target", 0, "GET /%/ /smuggled HTTP/1.1"),
        target("trailing-space", 1, "GET /%/ HTTP/1.1 "),
        target("fragment", 1, "GET /%/#x HTTP/1.1"),
        target("non-ascii-path", 1, "GET /%/\u{e9} HTTP/1.1"),
        target("control-in-path", 0, "GET /%/\u{1} HTTP/1.1"),
        target("nul-in-path", 0, "GET /%/\0 HTTP/1.1"),
        target("quotes-in-path", 1, "GET /%/\"<>` HTTP/1.1"),
        target("backslash-path", 1, "GET /%/a\\b HTTP/1.1"),
        target("dots", 1, "GET /%/a/../b HTTP/1.1"),
        target("encoded-nul", 1, "GET /%/a HTTP/1.1"),
        target("lower-version", 0, "GET /%/ http/1.1"),
        target("version-12", 1, "GET /%/ HTTP/1.2"),
        target("version-20", 0, "GET /%/ HTTP/2.0"),
        target("version-09", 0, "GET /%/ HTTP/0.9"),
        target("version-long", 0, "GET /%/ HTTP/1.10"),
        case("simple-request", 0, "GET /%/\r\n\r\n"),
        target("odd-method", 1, "G=T /%/ HTTP/1.1"),
        target("bad-method", 0, "G(T /%/ HTTP/1.1"),
        target("lower-method", 1, "get /%/ HTTP/1.1"),
        target("asterisk", 0, "GET * HTTP/1.1"),
    ]
}
