//! Version 1: one line of text.

use std::net::{IpAddr, SocketAddr};

use super::{Header, Parsed, ProxyProtocolVersion::V1, one_family};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// Longest line, its end included.
const LONGEST: usize = 107;

/// `bytes` begin with [`SIGNATURE`].
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let Some(end) = bytes.windows(2).take(LONGEST - 1).position(|w| w == b"\r\n") else {
        return if bytes.len() < LONGEST { Parsed::More } else { Parsed::Bad(V1, "the line is too long") };
    };
    match addresses(&bytes[SIGNATURE.len()..end]) {
        Some(addresses) => Parsed::Header(Header { length: end + 2, version: V1, addresses, tlvs: Vec::new() }),
        None => Parsed::Bad(V1, "the line is malformed"),
    }
}

/// What follows the signature; the outer `None` is a malformed line.
#[allow(clippy::option_option, reason = "no addresses is a valid answer, and differs from a bad line")]
fn addresses(line: &[u8]) -> Option<Option<(SocketAddr, SocketAddr)>> {
    let line = line.trim_ascii_end();
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        // Whatever follows is to be ignored.
        return Some(None);
    }
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let family = words.next()?;
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

pub(super) fn encode(addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((source, destination)) = addresses.map(one_family) else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}
