//! Version 2: binary.
//!
//! ```text
//!   signature (12) │ version, command (1) │ family, transport (1) │ length (2) │ addresses │ TLVs
//! ```

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::{Header, Parsed, ProxyProtocolVersion::V2, Tlv, crc32c::crc32c, one_family};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, command, family and length.
const FIXED: usize = 16;

/// `PP2_TYPE_CRC32C`.
const CRC: u8 = 3;

/// `bytes` begin with [`SIGNATURE`].
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else { return Parsed::More };
    if command >> 4 != 2 || command & 15 > 1 {
        return Parsed::Bad(V2, "unknown version or command");
    }
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    let width = match family {
        _ if command & 15 == 0 => None,
        0x11 | 0x12 => Some(4),
        0x21 | 0x22 => Some(16),
        _ => return Parsed::Bad(V2, "unsupported address family or transport"),
    };
    let Some(header) = bytes.get(..length) else { return Parsed::More };
    let body = &header[FIXED..];
    let Some(width) = width else {
        // Of a connection that the sender made for itself nothing is read.
        return Parsed::Header(Header { length, version: V2, addresses: None, tlvs: Vec::new() });
    };
    let Some((addresses, rest)) = addresses(body, width) else { return Parsed::Bad(V2, "the addresses are cut short") };
    let Some(tlvs) = tlvs(rest) else { return Parsed::Bad(V2, "a TLV is cut short") };
    if !checksum_holds(header, length - rest.len(), &tlvs) {
        return Parsed::Bad(V2, "the checksum is wrong");
    }
    Parsed::Header(Header { length, version: V2, addresses: Some(addresses), tlvs })
}

/// Source and destination of `width` bytes each, their ports, and what follows.
fn addresses(body: &[u8], width: usize) -> Option<((SocketAddr, SocketAddr), &[u8])> {
    let (source, rest) = body.split_at_checked(width)?;
    let (destination, rest) = rest.split_at_checked(width)?;
    let (ports, rest) = rest.split_first_chunk::<4>()?;
    let [a, b, c, d] = *ports;
    let source = SocketAddr::new(ip(source)?, u16::from_be_bytes([a, b]));
    let destination = SocketAddr::new(ip(destination)?, u16::from_be_bytes([c, d]));
    Some(((source, destination), rest))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4().or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn tlvs(mut bytes: &[u8]) -> Option<Vec<Tlv>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (&[kind, high, low], rest) = bytes.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        found.push(Tlv { kind, value: Bytes::copy_from_slice(value) });
        bytes = rest;
    }
    Some(found)
}

/// The CRC32c is over the whole header, with zeros where it stands itself. `at` is where the TLVs begin.
fn checksum_holds(header: &[u8], mut at: usize, tlvs: &[Tlv]) -> bool {
    for tlv in tlvs {
        let value = at + 3..at + 3 + tlv.value.len();
        if tlv.kind == CRC {
            let mut zeroed = header.to_vec();
            let Some(place) = zeroed.get_mut(value) else { return false };
            place.fill(0);
            return tlv.value[..] == crc32c(&zeroed).to_be_bytes();
        }
        at = value.end;
    }
    true
}

/// TLVs for which there is no room any more are left out.
pub(super) fn encode(addresses: Option<(SocketAddr, SocketAddr)>, tlvs: &[Tlv]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut kind = [0x20, 0];
    if let Some((source, destination)) = addresses.map(one_family) {
        kind = [0x21, if source.is_ipv4() { 0x11 } else { 0x21 }];
        for ip in [source.ip(), destination.ip()] {
            match ip {
                IpAddr::V4(ip) => body.extend(ip.octets()),
                IpAddr::V6(ip) => body.extend(ip.octets()),
            }
        }
        body.extend(source.port().to_be_bytes());
        body.extend(destination.port().to_be_bytes());
    }
    for tlv in tlvs {
        let Ok(length) = u16::try_from(tlv.value.len()) else { continue };
        if body.len() + 3 + tlv.value.len() <= usize::from(u16::MAX) {
            body.push(tlv.kind);
            body.extend(length.to_be_bytes());
            body.extend_from_slice(&tlv.value);
        }
    }
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    [SIGNATURE, &kind, &length.to_be_bytes(), &body].concat()
}
