//! Encodings that a producer of ours does not make, but a decoder reads.

use proptest::prelude::*;
use prost::{Message as _, Name as _};

use crate::{
    any::{self, Any},
    encoded::MAX_DEPTH,
    envoy::config::{
        cluster::v3::{Cluster, cluster::EdsClusterConfig},
        core::v3::{AggregatedConfigSource, ConfigSource, PathConfigSource, config_source::ConfigSourceSpecifier},
        route::v3::{RouteAction, route_action::ClusterSpecifier},
    },
    references,
};

fn names(any: &Any) -> Vec<String> {
    references::of(any).into_iter().map(|r| r.name).collect()
}

fn raw<M: prost::Name>(parts: &[Vec<u8>]) -> Any {
    Any { type_url: M::type_url(), value: parts.concat().into() }
}

fn route(specifier: ClusterSpecifier) -> Vec<u8> {
    RouteAction { cluster_specifier: Some(specifier), ..Default::default() }.encode_to_vec()
}

#[test]
fn the_last_member_of_a_oneof_is_the_one() {
    let (cluster, header) = (ClusterSpecifier::Cluster("a".into()), ClusterSpecifier::ClusterHeader("x".into()));
    let (cluster, header) = (route(cluster), route(header));
    assert_eq!(names(&raw::<RouteAction>(&[header.clone(), cluster.clone()])), ["a"]);
    assert_eq!(names(&raw::<RouteAction>(&[cluster, header])), [] as [&str; 0]);
    let again = [ClusterSpecifier::Cluster("a".into()), ClusterSpecifier::Cluster("b".into())].map(route);
    assert_eq!(names(&raw::<RouteAction>(&again)), ["b"]);
}

fn source(specifier: ConfigSourceSpecifier) -> ConfigSource {
    ConfigSource { config_source_specifier: Some(specifier), ..Default::default() }
}

fn cluster(service_name: &str, specifier: Option<ConfigSourceSpecifier>) -> Vec<u8> {
    let eds = EdsClusterConfig { service_name: service_name.into(), eds_config: specifier.map(source) };
    Cluster { name: "c".into(), eds_cluster_config: Some(eds), ..Default::default() }.encode_to_vec()
}

#[test]
fn messages_of_one_field_merge() {
    let ads = || Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {}));
    let path = || Some(ConfigSourceSpecifier::PathConfigSource(PathConfigSource::default()));
    assert_eq!(names(&raw::<Cluster>(&[cluster("s", None), cluster("", ads())])), ["s"]);
    assert_eq!(names(&raw::<Cluster>(&[cluster("s", ads()), cluster("t", None)])), ["t"]);
    assert_eq!(names(&raw::<Cluster>(&[cluster("s", path()), cluster("", ads())])), ["s"]);
    assert_eq!(names(&raw::<Cluster>(&[cluster("s", ads()), cluster("", path())])), [] as [&str; 0]);
}

#[test]
fn what_is_no_encoding_or_lies_too_deep_names_nothing() {
    assert_eq!(names(&Any { type_url: "x/acme.Thing".into(), value: vec![0xff].into() }), [] as [&str; 0]);
    let cut = [route(ClusterSpecifier::Cluster("a".into())), vec![0xff]];
    assert_eq!(names(&raw::<RouteAction>(&cut)), [] as [&str; 0]);
    let mut nested = any::pack(&RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster("a".into())),
        ..Default::default()
    });
    for around in 0..200 {
        // The message itself is one more than those around it.
        assert_eq!(names(&nested).len(), usize::from(around < MAX_DEPTH), "{around}");
        nested = Any { type_url: Any::type_url(), value: nested.encode_to_vec().into() };
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..256)) {
        for type_url in [Cluster::type_url(), RouteAction::type_url(), Any::type_url()] {
            let any = Any { type_url, value: bytes.clone().into() };
            prop_assert!(references::of(&any).iter().all(|r| !r.name.is_empty() && !r.path.is_empty()));
        }
    }
}
