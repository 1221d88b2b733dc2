use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::{
    Header, Parsed,
    ProxyProtocolVersion::{V1, V2},
    Tlv,
    crc32c::crc32c,
    encode, is_unicast, parse,
    v2::SIGNATURE,
};

fn addresses(a: &str, b: &str) -> Option<(SocketAddr, SocketAddr)> {
    Some((a.parse().unwrap(), b.parse().unwrap()))
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[0x20 | command, family], &length, body].concat()
}

const FOUR: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 3, 232, 0, 80];

#[test]
fn version_1() {
    let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\nGET";
    for n in 0..line.len() - 4 {
        assert_eq!(parse(&line[..n]), Parsed::More, "{n}");
    }
    let length = line.len() - 3;
    let addresses = addresses("192.0.2.1:1000", "192.0.2.2:80");
    assert_eq!(parse(line), Parsed::Header(Header { length, version: V1, addresses, tlvs: vec![] }));
    for unknown in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", b"PROXY UNKNOWN \xff\r\n"] {
        assert!(matches!(parse(unknown), Parsed::Header(h) if h.length == unknown.len() && h.addresses.is_none()));
    }
    for bad in [
        &b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n"[..],
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.1.1.1 1.1.1.1 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 70000\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 2 3\r\n",
        b"PROXY UNIX /a /b\r\n",
        b"PROXY TCP4 224.0.0.1 1.1.1.1 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 255.255.255.255 1 2\r\n",
        b"PROXY TCP6 ::1 :: 1 2\r\n",
    ] {
        assert!(matches!(parse(bad), Parsed::Bad(V1, _)), "{bad:?}");
    }
    assert!(matches!(parse(&[&b"PROXY TCP4 "[..], &[b'1'; 200]].concat()), Parsed::Bad(V1, _)));
    assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Parsed::Absent);
    assert_eq!(parse(b"PROXZ"), Parsed::Absent);
}

/// What Envoy 1.40 takes and refuses.
#[test]
fn version_2() {
    let whole = v2(1, 0x11, &FOUR);
    for n in 0..whole.len() {
        assert_eq!(parse(&whole[..n]), Parsed::More, "{n}");
    }
    let expected = addresses("192.0.2.1:1000", "192.0.2.2:80");
    assert!(matches!(parse(&whole), Parsed::Header(h) if h.addresses == expected && h.length == 28));
    assert!(matches!(parse(&v2(1, 0x12, &FOUR)), Parsed::Header(h) if h.addresses == expected));
    for local in [v2(0, 0, &[]), v2(0, 0x11, &FOUR)] {
        assert!(matches!(parse(&local), Parsed::Header(h) if h.addresses.is_none() && h.length == local.len()));
    }
    let unix = [0; 216];
    for (name, bad) in [
        ("unspec", v2(1, 0, &[])),
        ("unix", v2(1, 0x31, &unix)),
        ("family 4", v2(1, 0x41, &FOUR)),
        ("transport 0", v2(1, 0x10, &FOUR)),
        ("command 2", v2(2, 0x11, &FOUR)),
        ("version 3", v2(0x11, 0x11, &FOUR)),
        ("short", v2(1, 0x11, &FOUR[..6])),
        ("cut TLV", v2(1, 0x11, &[&FOUR[..], &[2, 0, 9, 1]].concat())),
    ] {
        assert!(matches!(parse(&bad), Parsed::Bad(V2, _)), "{name}");
    }
}

#[test]
fn tlvs_and_their_checksum() {
    let mut header = v2(1, 0x11, &[&FOUR[..], &[2, 0, 1, b'a', 3, 0, 4, 0, 0, 0, 0]].concat());
    let at = header.len() - 4;
    let sum = crc32c(&header).to_be_bytes();
    header[at..].copy_from_slice(&sum);
    let Parsed::Header(found) = parse(&header) else { panic!("no header") };
    assert_eq!(found.tlvs[0], Tlv { kind: 2, value: b"a".as_slice().into() });
    header[20] ^= 1;
    assert_eq!(parse(&header), Parsed::Bad(V2, "the checksum is wrong"));
    let short = v2(1, 0x11, &[&FOUR[..], &[3, 0, 2, 0, 0]].concat());
    assert_eq!(parse(&short), Parsed::Bad(V2, "the checksum is wrong"));
}

#[test]
fn mixed_families_are_mapped() {
    let mixed = addresses("192.0.2.1:7", "[::1]:8");
    assert_eq!(encode(V1, mixed, &[]), b"PROXY TCP6 ::ffff:192.0.2.1 ::1 7 8\r\n");
    assert!(matches!(parse(&encode(V2, mixed, &[])), Parsed::Header(h) if h.addresses.unwrap().1 == mixed.unwrap().1));
}

fn pair() -> impl Strategy<Value = Option<(SocketAddr, SocketAddr)>> {
    let v4 = (any::<[u8; 4]>(), any::<[u8; 4]>()).prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b)));
    let v6 = (any::<[u8; 16]>(), any::<[u8; 16]>()).prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b)));
    let both = (prop_oneof![v4, v6], any::<u16>(), any::<u16>())
        .prop_map(|((a, b), p, q)| (SocketAddr::new(a, p), SocketAddr::new(b, q)))
        .prop_filter("of one host each", |(a, b)| is_unicast(*a) && is_unicast(*b));
    prop::option::of(both)
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        addresses in pair(),
        tlvs in prop::collection::vec((4u8..=255, prop::collection::vec(any::<u8>(), 0..50)), 0..5),
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let tlvs: Vec<Tlv> = tlvs.into_iter().map(|(kind, value)| Tlv { kind, value: value.into() }).collect();
        for (version, sent) in [(V1, &[][..]), (V2, &tlvs[..])] {
            let header = encode(version, addresses, sent);
            for n in 0..header.len() {
                prop_assert_eq!(parse(&header[..n]), Parsed::More);
            }
            let length = header.len();
            // Of a connection for nobody the TLVs are not looked at.
            let tlvs = if addresses.is_some() { sent.to_vec() } else { vec![] };
            let expected = Parsed::Header(Header { length, version, addresses, tlvs });
            prop_assert_eq!(parse(&[header, tail.clone()].concat()), expected);
        }
    }

    #[test]
    fn never_panics_and_never_reads_past_the_longest(
        start in prop_oneof![Just(&b""[..]), Just(&b"PROXY "[..]), Just(SIGNATURE)],
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        if let Parsed::Header(header) = parse(&[start, &bytes].concat()) {
            prop_assert!(header.length <= super::LONGEST && header.length <= start.len() + bytes.len());
        }
    }
}
