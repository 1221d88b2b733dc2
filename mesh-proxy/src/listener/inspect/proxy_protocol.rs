//! PROXY protocol, versions 1 and 2 (haproxy's `proxy-protocol.txt`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Verdict;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Longest version 1 line, end of line included.
const LONGEST_V1: usize = 107;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Its length in bytes.
    pub(super) length: usize,
    /// Source and destination; `None` for `UNKNOWN` and `LOCAL`.
    pub(super) addresses: Option<(SocketAddr, SocketAddr)>,
}

/// The header at the start of `bytes`. A connection without one is refused: the header is required.
pub(super) fn parse(bytes: &[u8]) -> Verdict<Result<Header, &'static str>> {
    let n = bytes.len().min(SIGNATURE.len());
    if bytes[..n] == SIGNATURE[..n] {
        return if n == SIGNATURE.len() { v2(bytes) } else { Verdict::More };
    }
    let n = bytes.len().min(6);
    if bytes[..n] != b"PROXY "[..n] {
        return Verdict::Done(Err("no header"));
    }
    let Some(end) = bytes.windows(2).take(LONGEST_V1).position(|w| w == b"\r\n") else {
        return if bytes.len() < LONGEST_V1 { Verdict::More } else { Verdict::Done(Err("line too long")) };
    };
    Verdict::Done(v1(&bytes[..end]).map(|addresses| Header { length: end + 2, addresses }).ok_or("bad line"))
}

#[allow(clippy::option_option, reason = "no addresses is a valid answer, and differs from a bad line")]
fn v1(line: &[u8]) -> Option<Option<(SocketAddr, SocketAddr)>> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let source: IpAddr = words.next()?.parse().ok()?;
    let destination: IpAddr = words.next()?.parse().ok()?;
    let (source_port, destination_port) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let right = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    if !right || words.next().is_some() {
        return None;
    }
    Some(Some((SocketAddr::new(source, source_port), SocketAddr::new(destination, destination_port))))
}

fn v2(bytes: &[u8]) -> Verdict<Result<Header, &'static str>> {
    let Some(&[command, family, high, low]) = bytes.get(12..16) else { return Verdict::More };
    if command >> 4 != 2 || command & 15 > 1 {
        return Verdict::Done(Err("unknown version or command"));
    }
    let length = 16 + (usize::from(high) << 8 | usize::from(low));
    if length > super::MOST_AHEAD {
        return Verdict::Done(Err("header too long"));
    }
    let Some(body) = bytes.get(16..length) else { return Verdict::More };
    if command & 15 == 0 {
        return Verdict::Done(Ok(Header { length, addresses: None }));
    }
    let addresses = match family {
        0x11 => pair::<4>(body).map(|(s, sp, d, dp)| {
            (SocketAddr::new(Ipv4Addr::from(s).into(), sp), SocketAddr::new(Ipv4Addr::from(d).into(), dp))
        }),
        0x21 => pair::<16>(body).map(|(s, sp, d, dp)| {
            (SocketAddr::new(Ipv6Addr::from(s).into(), sp), SocketAddr::new(Ipv6Addr::from(d).into(), dp))
        }),
        // UNSPEC: the connection's own addresses hold.
        0x00 => return Verdict::Done(Ok(Header { length, addresses: None })),
        _ => return Verdict::Done(Err("unsupported address family or transport")),
    };
    Verdict::Done(match addresses {
        Some(addresses) => Ok(Header { length, addresses: Some(addresses) }),
        None => Err("addresses cut short"),
    })
}

fn pair<const N: usize>(body: &[u8]) -> Option<([u8; N], u16, [u8; N], u16)> {
    let source = body.get(..N)?.try_into().ok()?;
    let destination = body.get(N..2 * N)?.try_into().ok()?;
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    Some((source, port(2 * N)?, destination, port(2 * N + 2)?))
}

#[cfg(test)]
mod tests {
    use super::{Header, SIGNATURE, Verdict, parse};

    fn addresses(a: &str, b: &str) -> Option<(std::net::SocketAddr, std::net::SocketAddr)> {
        Some((a.parse().unwrap(), b.parse().unwrap()))
    }

    #[test]
    fn version_1() {
        let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\nGET";
        for n in 0..line.len() - 4 {
            assert_eq!(parse(&line[..n]), Verdict::More);
        }
        let header = Header { length: line.len() - 3, addresses: addresses("192.0.2.1:1000", "192.0.2.2:80") };
        assert_eq!(parse(line), Verdict::Done(Ok(header)));
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), Verdict::Done(Ok(Header { length: 15, addresses: None })));
        for bad in [&b"GET / HTTP/1.1\r\n"[..], b"PROXY TCP4 ::1 ::1 1 2\r\n", b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n"] {
            assert!(matches!(parse(bad), Verdict::Done(Err(_))));
        }
        assert!(matches!(parse(&[b"PROXY ".to_vec(), vec![b'x'; 200]].concat()), Verdict::Done(Err(_))));
    }

    #[test]
    fn version_2() {
        let with = |tail: &[u8]| [SIGNATURE, tail].concat();
        let v4 = with(&[0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 3, 232, 0, 80]);
        for n in 0..v4.len() {
            assert_eq!(parse(&v4[..n]), Verdict::More);
        }
        let header = Header { length: 28, addresses: addresses("192.0.2.1:1000", "192.0.2.2:80") };
        assert_eq!(parse(&v4), Verdict::Done(Ok(header)));
        let local = with(&[0x20, 0, 0, 0]);
        assert_eq!(parse(&local), Verdict::Done(Ok(Header { length: 16, addresses: None })));
        assert!(matches!(parse(&with(&[0x21, 0x11, 0, 2, 1, 2])), Verdict::Done(Err(_))));
        assert!(matches!(parse(&with(&[0x31, 0x11, 0, 0])), Verdict::Done(Err(_))));
    }
}
