//! PROXY protocol, versions 1 and 2: bytes in, a header out, and back.
//!
//! Source: HAProxy's `proxy-protocol.txt`; where it leaves a choice, what Envoy does: a header of version 2 that speaks
//! for a client (`PROXY`) must have IP addresses, `UNSPEC` and Unix sockets are refused, and `LOCAL` (version 2) and
//! `UNKNOWN` (version 1) leave the connection its own addresses. Addresses must be those of one host each. Beyond Envoy, a
//! CRC32c that is there must be right.

mod crc32c;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

/// Longest header: the fixed part of version 2, and as much as its length field can say.
pub(crate) const LONGEST: usize = 16 + 0xffff;

/// Version of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocolVersion {
    /// A line of text.
    V1,
    /// Binary, with TLVs.
    V2,
}

/// A value of a version 2 header beside the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlv {
    /// Type, such as `PP2_TYPE_AUTHORITY` (2).
    pub kind: u8,
    /// Value, at most 65535 bytes.
    pub value: Bytes,
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its length in bytes.
    pub(crate) length: usize,
    pub(crate) version: ProxyProtocolVersion,
    /// Source and destination; `None`: the connection's own hold.
    pub(crate) addresses: Option<(SocketAddr, SocketAddr)>,
    /// In the order they were sent; empty for version 1.
    pub(crate) tlvs: Vec<Tlv>,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// More bytes are needed.
    More,
    /// They are no header.
    Absent,
    /// A header.
    Header(Header),
    /// They begin as a header, and are none.
    Bad(ProxyProtocolVersion, &'static str),
}

/// Looks at the first bytes of a connection.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let starts = |signature: &[u8]| {
        let n = bytes.len().min(signature.len());
        (bytes[..n] == signature[..n]).then_some(n == signature.len())
    };
    let parsed = match (starts(v2::SIGNATURE), starts(v1::SIGNATURE)) {
        (Some(true), _) => v2::parse(bytes),
        (_, Some(true)) => v1::parse(bytes),
        (None, None) => Parsed::Absent,
        _ => Parsed::More,
    };
    match parsed {
        Parsed::Header(Header { version, addresses: Some((source, destination)), .. })
            if !is_unicast(source) || !is_unicast(destination) =>
        {
            Parsed::Bad(version, "an address is not that of one host")
        }
        parsed => parsed,
    }
}

fn is_unicast(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(broadcast || ip.is_unspecified() || ip.is_multicast())
}

/// A header for a connection on behalf of `addresses` (source, destination), or of nobody. TLVs are of version 2 only.
pub(crate) fn encode(
    version: ProxyProtocolVersion,
    addresses: Option<(SocketAddr, SocketAddr)>,
    tlvs: &[Tlv],
) -> Vec<u8> {
    match version {
        ProxyProtocolVersion::V1 => v1::encode(addresses),
        ProxyProtocolVersion::V2 => v2::encode(addresses, tlvs),
    }
}

/// Both addresses in one family: an IPv4 address beside an IPv6 one is written in its mapped form.
fn one_family((source, destination): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let mapped = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 @ SocketAddr::V6(_) => v6,
    };
    (mapped(source), mapped(destination))
}
