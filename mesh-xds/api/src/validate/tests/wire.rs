//! What encodings mean that no encoder of ours writes.

use std::time::{Duration, Instant};

use prost::{Message as _, encoding::encode_varint};

use super::{check_with, told};
use crate::{
    any::Any,
    envoy::config::{
        cluster::v3::Cluster,
        core::v3::{Address, Metadata, SocketAddress, address, socket_address::PortSpecifier},
        endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier},
        rbac::v3::{Permission, permission},
    },
    validate::{self, MAX_DEPTH, Registry},
};

const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
const ADDRESS: &str = "envoy.config.core.v3.SocketAddress";

/// A field that holds bytes.
fn field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_varint(u64::from(number << 3 | 2), &mut out);
    encode_varint(value.len() as u64, &mut out);
    out.extend_from_slice(value);
    out
}

fn check(name: &str, bytes: &[u8]) -> Vec<String> {
    told(validate::bytes(name, bytes))
}

#[test]
fn the_last_of_several_values_counts() {
    let encoded = |name: &str| Cluster { name: name.into(), ..Default::default() }.encode_to_vec();
    assert_eq!(check(CLUSTER, &[encoded("a"), field(1, b"")].concat()), ["name string.min_len"]);
    assert_eq!(check(CLUSTER, &[field(1, b""), encoded("a")].concat()), [] as [&str; 0]);
}

#[test]
fn messages_merge() {
    let address = |a: &str, port| SocketAddress {
        address: a.into(),
        port_specifier: Some(PortSpecifier::PortValue(port)),
        ..Default::default()
    };
    // `core.v3.Address`: each half alone breaks a rule.
    let halves = [field(1, &field(2, b"10.0.0.1")), field(1, &address("", 80).encode_to_vec())];
    assert_eq!(check("envoy.config.core.v3.Address", &halves[0]), ["socket_address.port_specifier oneof.required"]);
    assert_eq!(check("envoy.config.core.v3.Address", &halves[1]), ["socket_address.address string.min_len"]);
    assert_eq!(check("envoy.config.core.v3.Address", &halves.concat()), [] as [&str; 0]);
    // A pipe (2) in between takes the address away, and is itself taken away.
    let pipe = field(2, &[]);
    let between = [&halves[0][..], &pipe, &halves[1]].concat();
    assert_eq!(check("envoy.config.core.v3.Address", &between), ["socket_address.address string.min_len"]);
    let after = [&halves.concat()[..], &pipe].concat();
    assert_eq!(check("envoy.config.core.v3.Address", &after), ["pipe.path string.min_len"]);
}

#[test]
fn the_last_member_of_a_oneof_is_set() {
    let base = field(2, b"a");
    // port_value (3) 70000, then named_port (4).
    let port = [&base[..], &[24, 0xf0, 0xa2, 4]].concat();
    assert_eq!(check(ADDRESS, &port), ["port_value uint32.lte"]);
    assert_eq!(check(ADDRESS, &[&port[..], &field(4, b"http")].concat()), [] as [&str; 0]);
}

#[test]
fn lists_of_numbers_packed_or_not() {
    // FilterChainMatch.source_ports (7), each 1 to 65535.
    let name = "envoy.config.listener.v3.FilterChainMatch";
    let expected = ["source_ports[1] repeated.items.uint32.gte", "source_ports[2] repeated.items.uint32.lte"];
    assert_eq!(check(name, &field(7, &[1, 0, 0x80, 0x80, 4])), expected);
    assert_eq!(check(name, &[56, 1, 56, 0, 56, 0x80, 0x80, 4]), expected);
    assert_eq!(check(name, &[&field(7, &[1, 0])[..], &[56, 0x80, 0x80, 4]].concat()), expected);
    assert_eq!(check(name, &field(7, &[1, 0x80])), ["source_ports wire"]);
}

#[test]
fn the_last_entry_of_a_key_counts() {
    let metadata = |cluster: &Cluster| {
        let any = Any { type_url: format!("type.googleapis.com/{CLUSTER}"), value: cluster.encode_to_vec().into() };
        Metadata { typed_filter_metadata: [("k".to_owned(), any)].into(), ..Default::default() }.encode_to_vec()
    };
    let sound = metadata(&Cluster { name: "a".into(), ..Default::default() });
    let broken = metadata(&Cluster::default());
    let name = "envoy.config.core.v3.Metadata";
    assert_eq!(check(name, &[&broken[..], &sound].concat()), [] as [&str; 0]);
    assert_eq!(check(name, &[sound, broken].concat()), ["typed_filter_metadata[\"k\"].name string.min_len"]);
    // An entry without a key has the empty one.
    assert_eq!(check(name, &field(1, &[])), ["filter_metadata[\"\"] map.keys.string.min_len"]);
}

#[test]
fn malformed_bytes_are_told_where_they_are() {
    assert_eq!(check(CLUSTER, &[10, 5, b'a']), [" wire"]);
    assert_eq!(check(CLUSTER, &field(1, &[0xff])), ["name wire"]);
    // load_assignment (33): endpoints (2) is a number.
    let endpoints = [&field(1, b"a")[..], &field(33, &[&field(1, b"a")[..], &[16, 1]].concat())].concat();
    assert_eq!(check(CLUSTER, &endpoints), ["load_assignment.endpoints[0] wire"]);
    let any = Any { type_url: format!("x/{CLUSTER}"), value: vec![10, 9].into() };
    assert_eq!(check("google.protobuf.Any", &any.encode_to_vec()), [" wire"]);
    assert_eq!(check("google.protobuf.Any", &[10]), [" wire"]);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        (1..depth).fold(Permission { rule: Some(permission::Rule::Any(true)) }, |inner, _| Permission {
            rule: Some(permission::Rule::NotRule(Box::new(inner))),
        })
    };
    let within = move |depth| told(validate::message(&nested(depth)));
    let inside_any = |depth| {
        (0..depth).fold(Any::default(), |inner, _| Any {
            type_url: "x/google.protobuf.Any".into(),
            value: inner.encode_to_vec().into(),
        })
    };
    // Small, so that a check whose stack grows is found.
    let small = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        assert_eq!(within(MAX_DEPTH), [] as [&str; 0]);
        let path = vec!["not_rule"; MAX_DEPTH].join(".");
        assert_eq!(within(MAX_DEPTH + 1), [format!("{path} depth")]);
        assert_eq!(told(validate::any(&inside_any(MAX_DEPTH - 1))), [] as [&str; 0]);
        assert_eq!(told(validate::any(&inside_any(5000))), [" depth"]);
    });
    small.unwrap().join().unwrap();
}

#[test]
fn many_pieces_of_one_message_cost_what_they_weigh() {
    // Quadratic work would take minutes here.
    let piece = field(1, &field(2, b"a"));
    let bytes = piece.repeat(200_000);
    let expected = ["socket_address.port_specifier oneof.required"];
    assert_eq!(check_with(Registry::global(), "envoy.config.core.v3.Address", &bytes), expected);
}

#[test]
fn a_thousand_clusters_cost_little() {
    let endpoint = |n: u32| LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(Address {
                address: Some(address::Address::SocketAddress(SocketAddress {
                    address: format!("10.0.0.{n}"),
                    port_specifier: Some(PortSpecifier::PortValue(80)),
                    ..Default::default()
                })),
            }),
            ..Default::default()
        })),
        ..Default::default()
    };
    let locality = LocalityLbEndpoints { lb_endpoints: (0..10).map(endpoint).collect(), ..Default::default() };
    let cluster = Cluster {
        name: "outbound|9080||reviews.default.svc.cluster.local".into(),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: "reviews".into(),
            endpoints: vec![locality],
            ..Default::default()
        }),
        ..Default::default()
    };
    let bytes = cluster.encode_to_vec();
    let begin = Instant::now();
    Registry::global();
    let compiled = begin.elapsed();
    let begin = Instant::now();
    for _ in 0..1000 {
        assert_eq!(validate::bytes(CLUSTER, &bytes), Ok(()));
    }
    let checked = begin.elapsed();
    println!("rules compiled in {compiled:?}; 1 000 clusters of 10 endpoints, {} bytes each: {checked:?}", bytes.len());
    // About ten milliseconds with optimisation. The bound is for a build without, on a busy machine.
    assert!(checked < Duration::from_secs(3), "{checked:?}");
}
