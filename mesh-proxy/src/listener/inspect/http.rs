//! HTTP found out from the first bytes (`envoy.filters.listener.http_inspector`).

use super::Verdict;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest request line looked at before giving up.
const LONGEST_LINE: usize = 8 * 1024;

/// `h2c`, `http/1.1` or `http/1.0`, as Envoy names them; `None` if it is not HTTP.
pub(super) fn parse(bytes: &[u8]) -> Verdict<Option<&'static [u8]>> {
    let n = bytes.len().min(PREFACE.len());
    if bytes[..n] == PREFACE[..n] {
        return if n == PREFACE.len() { Verdict::Done(Some(b"h2c")) } else { Verdict::More };
    }
    let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
        let method = bytes.iter().take_while(|b| b.is_ascii_uppercase() || **b == b'-').count();
        let plausible = (method == bytes.len() || bytes[method] == b' ') && method > 0 && method <= 32;
        return if bytes.is_empty() || (plausible && bytes.len() < LONGEST_LINE) {
            Verdict::More
        } else {
            Verdict::Done(None)
        };
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    Verdict::Done(match line {
        _ if line.ends_with(b" HTTP/1.1") => Some(b"http/1.1"),
        _ if line.ends_with(b" HTTP/1.0") => Some(b"http/1.0"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Verdict, parse};

    #[test]
    fn table() {
        let done = |p: &'static [u8]| Verdict::Done(Some(p));
        assert_eq!(parse(b""), Verdict::More);
        assert_eq!(parse(b"GET / HT"), Verdict::More);
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), done(b"http/1.1"));
        assert_eq!(parse(b"GET / HTTP/1.0\n"), done(b"http/1.0"));
        assert_eq!(parse(b"PRI * HT"), Verdict::More);
        assert_eq!(parse(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), done(b"h2c"));
        assert_eq!(parse(b"\x16\x03\x01"), Verdict::Done(None));
        assert_eq!(parse(b"hello world\r\n"), Verdict::Done(None));
    }
}
