//! Tables of requests and what they are answered with, by the rules of the protocol page.

use std::collections::BTreeMap;

use mesh_xds_api::{
    envoy::config::cluster::v3::{
        Cluster,
        cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig},
    },
    google::protobuf::Any,
};

use super::*;
use crate::{
    Resource,
    protocol::{Push, Request},
};

/// A stream, its resources and a clock.
struct Bench {
    stream: ServerStream,
    ledger: Ledger,
    released: Revision,
    now: Instant,
    nonce: BTreeMap<String, Nonce>,
}

impl Bench {
    fn new(variant: Variant) -> Self {
        let stream = ServerStream::new(variant, 7, StreamLimits::default());
        Self { stream, ledger: Ledger::new(), released: Revision::MAX, now: Instant::now(), nonce: BTreeMap::new() }
    }

    fn put(&mut self, type_url: &TypeUrl, name: &str, content: &str) -> &mut Self {
        let any = Any { type_url: type_url.as_str().into(), value: content.as_bytes().to_vec().into() };
        self.ledger.put(Resource::new(name, any));
        self
    }

    fn put_message<M: prost::Message + prost::Name>(&mut self, name: &str, message: &M) -> &mut Self {
        self.ledger.put(Resource::pack(name, message));
        self
    }

    fn remove(&mut self, type_url: &TypeUrl, name: &str) -> &mut Self {
        self.ledger.remove(type_url, name);
        self
    }

    fn send(&mut self, request: &Request) {
        self.stream.handle(request, &self.ledger, self.now).unwrap();
    }

    /// Everything that is pushed now, as text: `CDS +a +b -c`.
    fn pushed(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(push) = self.stream.poll(&self.ledger, self.released, self.now) {
            self.nonce.insert(push.content.type_url.as_str().into(), push.nonce.clone());
            all.push(text(&push));
        }
        all
    }

    fn answer(&mut self, type_url: &TypeUrl, names: &[&str], error: Option<&str>) {
        let nonce = self.nonce.get(type_url.as_str()).cloned();
        let error = error.map(str::to_owned);
        self.send(&Request { nonce, error, ..request(type_url, names) });
    }

    fn ack(&mut self, type_url: &TypeUrl) {
        self.answer(type_url, &[], None);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.stream.poll_event()).collect()
    }
}

fn text(push: &Push) -> String {
    let head = push.content.type_url.short().unwrap_or("?").to_owned();
    let added = push.content.resources.iter().map(|r| format!(" +{}", r.name()));
    let removed = push.content.removed.iter().map(|n| format!(" -{n}"));
    std::iter::once(head).chain(added).chain(removed).collect()
}

fn request(type_url: &TypeUrl, names: &[&str]) -> Request {
    Request {
        type_url: type_url.clone(),
        names: names.iter().map(|n| (*n).into()).collect(),
        unsubscribe: Vec::new(),
        initial_versions: BTreeMap::new(),
        version: None,
        nonce: None,
        error: None,
    }
}

fn unsubscribe(type_url: &TypeUrl, names: &[&str]) -> Request {
    Request { unsubscribe: names.iter().map(|n| (*n).into()).collect(), ..request(type_url, &[]) }
}

const CDS: TypeUrl = TypeUrl::CLUSTER;
const EDS: TypeUrl = TypeUrl::ENDPOINT;
const LDS: TypeUrl = TypeUrl::LISTENER;
const RDS: TypeUrl = TypeUrl::ROUTE;
const NONE: [&str; 0] = [];

fn with(variant: Variant, resources: &[(&TypeUrl, &str)]) -> Bench {
    let mut bench = Bench::new(variant);
    for (type_url, name) in resources {
        bench.put(type_url, name, "1");
    }
    bench
}

// "How the client specifies what resources to return"

#[test]
fn delta_first_request_without_names_means_everything() {
    let mut bench = with(Variant::Delta, &[(&CDS, "a"), (&CDS, "b")]);
    bench.send(&request(&CDS, &[]));
    assert_eq!(bench.pushed(), ["CDS +a +b"]);
    bench.ack(&CDS);
    bench.put(&CDS, "c", "1");
    assert_eq!(bench.pushed(), ["CDS +c"]);
}

#[test]
fn delta_legacy_wildcard_stays_when_names_are_added_and_ends_when_it_is_dropped() {
    let mut bench = with(Variant::Delta, &[(&CDS, "a"), (&CDS, "b")]);
    bench.send(&request(&CDS, &[]));
    bench.pushed();
    bench.ack(&CDS);
    bench.send(&request(&CDS, &["b"]));
    assert_eq!(bench.pushed(), ["CDS +b"]);
    bench.ack(&CDS);
    bench.put(&CDS, "a", "2");
    assert_eq!(bench.pushed(), ["CDS +a"]);
    bench.ack(&CDS);
    bench.send(&unsubscribe(&CDS, &["*"]));
    bench.put(&CDS, "a", "3").put(&CDS, "b", "2");
    assert_eq!(bench.pushed(), ["CDS +b"]);
}

#[test]
fn delta_first_request_with_names_is_no_wildcard() {
    let mut bench = with(Variant::Delta, &[(&CDS, "a"), (&CDS, "b")]);
    bench.send(&request(&CDS, &["a"]));
    assert_eq!(bench.pushed(), ["CDS +a"]);
    bench.ack(&CDS);
    bench.put(&CDS, "b", "2");
    assert_eq!(bench.pushed(), NONE);
    bench.send(&request(&CDS, &["*"]));
    assert_eq!(bench.pushed(), ["CDS +b"]);
}

#[test]
fn delta_wildcard_subscribed_and_dropped_at_once_is_nothing() {
    let mut bench = with(Variant::Delta, &[(&CDS, "a")]);
    bench.send(&Request { names: vec!["*".into()], ..unsubscribe(&CDS, &["*"]) });
    assert_eq!(bench.pushed(), NONE);
    bench.put(&CDS, "a", "2");
    assert_eq!(bench.pushed(), NONE);
}

#[test]
fn delta_name_dropped_under_a_wildcard_is_told_again() {
    let mut bench = with(Variant::Delta, &[(&CDS, "a")]);
    bench.send(&request(&CDS, &["*", "a", "x"]));
    assert_eq!(bench.pushed(), ["CDS +a -x"]);
    bench.ack(&CDS);
    bench.send(&unsubscribe(&CDS, &["a", "x"]));
    assert_eq!(bench.pushed(), ["CDS +a -x"]);
}

#[test]
fn endpoints_have_no_legacy_wildcard() {
    for variant in [Variant::Delta, Variant::Sotw] {
        let mut bench = with(variant, &[(&EDS, "a")]);
        bench.send(&request(&EDS, &[]));
        assert_eq!(bench.pushed(), NONE);
    }
}

#[test]
fn sotw_empty_list_means_everything_until_a_name_was_listed() {
    let mut bench = with(Variant::Sotw, &[(&LDS, "a"), (&LDS, "b")]);
    bench.send(&request(&LDS, &[]));
    assert_eq!(bench.pushed(), ["LDS +a +b"]);
    bench.ack(&LDS);
    bench.put(&LDS, "b", "2");
    assert_eq!(bench.pushed(), ["LDS +a +b"]);
    bench.answer(&LDS, &["b"], None);
    assert_eq!(bench.pushed(), ["LDS +b"]);
    bench.answer(&LDS, &[], None);
    bench.put(&LDS, "a", "2").put(&LDS, "b", "3");
    assert_eq!(bench.pushed(), NONE);
    bench.answer(&LDS, &["*"], None);
    assert_eq!(bench.pushed(), ["LDS +a +b"]);
}

// "Subscribing to resources", "Knowing when a requested resource does not exist"

#[test]
fn delta_every_name_asked_for_is_answered_each_time() {
    let mut bench = with(Variant::Delta, &[(&EDS, "a")]);
    bench.send(&request(&EDS, &["a", "x"]));
    assert_eq!(bench.pushed(), ["EDS +a -x"]);
    bench.ack(&EDS);
    bench.send(&request(&EDS, &["a", "x"]));
    assert_eq!(bench.pushed(), ["EDS +a -x"]);
    bench.ack(&EDS);
    bench.put(&EDS, "x", "1");
    assert_eq!(bench.pushed(), ["EDS +x"]);
}

#[test]
fn sotw_same_nonce_with_more_names_is_answered_with_the_new_ones() {
    let mut bench = with(Variant::Sotw, &[(&EDS, "a"), (&EDS, "b")]);
    bench.send(&request(&EDS, &["a"]));
    assert_eq!(bench.pushed(), ["EDS +a"]);
    bench.answer(&EDS, &["a"], None);
    assert_eq!(bench.pushed(), NONE);
    bench.answer(&EDS, &["a", "b"], None);
    assert_eq!(bench.pushed(), ["EDS +b"]);
    bench.answer(&EDS, &["b"], None);
    bench.put(&EDS, "a", "2");
    assert_eq!(bench.pushed(), NONE);
}

/// A cluster of that name whose endpoints are called `e-NAME`, if it is of type EDS.
fn cluster(name: &str, kind: DiscoveryType, alt: &str) -> Cluster {
    Cluster {
        name: name.into(),
        alt_stat_name: alt.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        eds_cluster_config: Some(EdsClusterConfig { service_name: format!("e-{name}"), ..Default::default() }),
        ..Default::default()
    }
}

#[test]
fn sotw_endpoints_are_repeated_for_a_cluster_that_warms_again() {
    let mut bench = with(Variant::Sotw, &[(&EDS, "e-a"), (&EDS, "e-b")]);
    for name in ["a", "b"] {
        bench.put_message(name, &cluster(name, DiscoveryType::Eds, "1"));
    }
    let names = ["e-a", "e-b"];
    bench.send(&request(&CDS, &[]));
    bench.send(&request(&EDS, &names));
    assert_eq!(bench.pushed(), ["CDS +a +b", "EDS +e-a +e-b"]);
    bench.answer(&EDS, &names, None);
    bench.ack(&CDS);
    assert_eq!(bench.pushed(), ["EDS +e-a +e-b"], "the clusters came after the endpoints were asked for");
    bench.answer(&EDS, &names, None);
    assert_eq!(bench.pushed(), NONE);
    bench.put_message("a", &cluster("a", DiscoveryType::Eds, "2"));
    assert_eq!(bench.pushed(), ["CDS +a +b"]);
    bench.answer(&EDS, &names, None);
    assert_eq!(bench.pushed(), ["EDS +e-a"], "the other does not warm");
    bench.answer(&EDS, &names, None);
    bench.ack(&CDS);
    assert_eq!(bench.pushed(), NONE);
    // One goes: nothing warms.
    bench.remove(&CDS, "b");
    assert_eq!(bench.pushed(), ["CDS +a"]);
    bench.answer(&EDS, &names, None);
    assert_eq!(bench.pushed(), NONE);
    // It is back: what the client had of it is gone.
    bench.ack(&CDS);
    bench.put_message("b", &cluster("b", DiscoveryType::Eds, "1"));
    assert_eq!(bench.pushed(), ["CDS +a +b"]);
    bench.answer(&EDS, &names, None);
    assert_eq!(bench.pushed(), ["EDS +e-b"]);
}

/// Of what it refused it may have taken a part: any cluster may warm with the next set.
#[test]
fn sotw_endpoints_are_all_repeated_after_a_refusal_of_clusters() {
    let mut bench = with(Variant::Sotw, &[(&EDS, "e-a"), (&EDS, "e-b")]);
    for name in ["a", "b"] {
        bench.put_message(name, &cluster(name, DiscoveryType::Eds, "1"));
    }
    let names = ["e-a", "e-b"];
    bench.send(&request(&CDS, &[]));
    bench.pushed();
    bench.ack(&CDS);
    bench.send(&request(&EDS, &names));
    bench.pushed();
    bench.answer(&EDS, &names, None);
    bench.pushed();
    bench.answer(&EDS, &names, None);
    bench.put_message("a", &cluster("a", DiscoveryType::Eds, "2"));
    bench.pushed();
    bench.answer(&CDS, &[], Some("no"));
    bench.put_message("a", &cluster("a", DiscoveryType::Eds, "1"));
    assert_eq!(bench.pushed(), ["CDS +a +b"]);
    bench.answer(&EDS, &names, None);
    assert_eq!(bench.pushed(), ["EDS +e-a +e-b"]);
}

/// Envoy acknowledges clusters when they are warm, and a delta client never asks for endpoints a second time.
#[test]
fn delta_endpoints_are_repeated_for_a_cluster_that_warms_again() {
    let mut bench = with(Variant::Delta, &[(&EDS, "e-c"), (&EDS, "other")]);
    bench.put_message("c", &cluster("c", DiscoveryType::Eds, "1"));
    bench.send(&request(&CDS, &["*"]));
    bench.send(&request(&EDS, &["e-c", "other"]));
    assert_eq!(bench.pushed(), ["CDS +c", "EDS +e-c +other"]);
    bench.ack(&EDS);
    bench.ack(&CDS);
    assert_eq!(bench.pushed(), NONE);
    bench.put_message("c", &cluster("c", DiscoveryType::Eds, "2"));
    assert_eq!(bench.pushed(), ["CDS +c", "EDS +e-c"], "before the clusters are acknowledged");
    bench.ack(&EDS);
    bench.ack(&CDS);
    bench.put_message("c", &cluster("c", DiscoveryType::Static, "3"));
    assert_eq!(bench.pushed(), ["CDS +c"]);
}

#[test]
fn sotw_request_without_nonce_starts_over() {
    let mut bench = with(Variant::Sotw, &[(&EDS, "a")]);
    bench.send(&request(&EDS, &["a"]));
    bench.pushed();
    bench.answer(&EDS, &["a"], None);
    bench.send(&request(&EDS, &["a"]));
    assert_eq!(bench.pushed(), ["EDS +a"]);
}

// "ACK and NACK semantics", "Resource versions"

#[test]
fn a_claimed_version_on_a_new_stream_changes_nothing() {
    let mut bench = with(Variant::Sotw, &[(&CDS, "a")]);
    let claim = Request { version: Some("zzz".into()), nonce: Some("old".into()), ..request(&CDS, &[]) };
    bench.send(&claim);
    assert_eq!(bench.pushed(), ["CDS +a"]);
}

#[test]
fn stale_nonces_are_dropped_and_counted() {
    for variant in [Variant::Delta, Variant::Sotw] {
        let mut bench = with(variant, &[(&EDS, "a"), (&EDS, "b")]);
        bench.send(&request(&EDS, &["a"]));
        bench.pushed();
        bench.send(&Request { nonce: Some("zzz".into()), error: Some("no".into()), ..request(&EDS, &["b"]) });
        assert!(bench.events().iter().any(|e| matches!(e, Event::StaleNonce { .. })));
        let report = &bench.stream.report(&bench.ledger)[0];
        assert_eq!((report.stale_nonces, report.nacks, report.in_flight), (1, 0, true));
        // SotW will say the list again; delta says it only once.
        assert_eq!(report.names, if variant == Variant::Delta { 2 } else { 1 });
    }
}

#[test]
fn one_push_per_type_waits_and_later_changes_merge() {
    let mut bench = with(Variant::Delta, &[(&CDS, "a")]);
    bench.send(&request(&CDS, &[]));
    bench.pushed();
    bench.put(&CDS, "b", "1").put(&CDS, "a", "2").put(&CDS, "c", "1").remove(&CDS, "c");
    assert_eq!(bench.pushed(), NONE);
    bench.ack(&CDS);
    assert_eq!(bench.pushed(), ["CDS +b +a"]);
}

#[test]
fn refused_bytes_come_again_only_with_other_content_or_when_asked_for() {
    let mut bench = with(Variant::Delta, &[(&EDS, "a")]);
    bench.send(&request(&EDS, &["a"]));
    bench.pushed();
    bench.answer(&EDS, &[], Some("bad"));
    assert_eq!(bench.pushed(), NONE);
    bench.put(&EDS, "a", "1");
    assert_eq!(bench.pushed(), NONE);
    assert_eq!(bench.stream.report(&bench.ledger)[0].resources[0].state, ResourceState::Nacked("bad".into()));
    bench.put(&EDS, "a", "2");
    assert_eq!(bench.pushed(), ["EDS +a"]);
    bench.answer(&EDS, &[], Some("still bad"));
    bench.send(&request(&EDS, &["a"]));
    assert_eq!(bench.pushed(), ["EDS +a"]);
}

/// With what was refused in it every later set would be refused as well; without what was accepted it would be deleted.
#[test]
fn a_whole_set_has_what_was_accepted_in_place_of_what_was_refused_by_name() {
    let mut bench = with(Variant::Sotw, &[(&CDS, "x1"), (&CDS, "x2")]);
    bench.send(&request(&CDS, &[]));
    assert_eq!(bench.pushed(), ["CDS +x1 +x2"]);
    bench.ack(&CDS);
    bench.put(&CDS, "x1", "bad").put(&CDS, "x3", "bad").put(&CDS, "x4", "1");
    assert_eq!(bench.pushed(), ["CDS +x1 +x2 +x3 +x4"]);
    bench.answer(&CDS, &[], Some("x1 and x3 are bad"));
    // The others may have been taken or not: they come again.
    let push = bench.stream.poll(&bench.ledger, bench.released, bench.now).unwrap();
    let versions: Vec<_> = push.content.resources.iter().map(|r| (r.name().as_str(), r.version().clone())).collect();
    let version = Version::of(b"1");
    assert_eq!(versions, [("x1", version.clone()), ("x2", version.clone()), ("x4", version)]);
    bench.nonce.insert(CDS.as_str().into(), push.nonce);
    bench.ack(&CDS);
    assert_eq!(bench.pushed(), NONE);
    bench.put(&CDS, "x5", "1");
    assert_eq!(bench.pushed(), ["CDS +x1 +x2 +x4 +x5"]);
    bench.ack(&CDS);
    bench.put(&CDS, "x3", "2");
    assert_eq!(bench.pushed(), ["CDS +x1 +x2 +x3 +x4 +x5"]);
    assert_eq!(
        bench.stream.report(&bench.ledger)[0].resources[0].state,
        ResourceState::Nacked("x1 and x3 are bad".into())
    );
}

#[test]
fn what_a_refusal_does_not_name_is_sent_again_without_what_it_names() {
    let mut bench = with(Variant::Delta, &[(&EDS, "x1"), (&EDS, "x2")]);
    bench.send(&request(&EDS, &["x1", "x2"]));
    assert_eq!(bench.pushed(), ["EDS +x1 +x2"]);
    bench.answer(&EDS, &[], Some("x1 is bad"));
    assert_eq!(bench.pushed(), ["EDS +x2"]);
    bench.ack(&EDS);
    assert_eq!(bench.pushed(), NONE);
}

#[test]
fn a_push_that_is_refused_without_a_name_is_halved_until_the_culprit_stands_alone() {
    let mut bench = with(Variant::Sotw, &[(&EDS, "x1"), (&EDS, "x2"), (&EDS, "x3"), (&EDS, "x4")]);
    let names = ["x1", "x2", "x3", "x4"];
    bench.send(&request(&EDS, &names));
    assert_eq!(bench.pushed(), ["EDS +x1 +x2 +x3 +x4"]);
    bench.answer(&EDS, &names, Some("something is bad"));
    assert_eq!(bench.pushed(), ["EDS +x1 +x2"]);
    // What changes meanwhile goes first.
    bench.put(&EDS, "x1", "2");
    bench.answer(&EDS, &names, None);
    assert_eq!(bench.pushed(), ["EDS +x1"]);
    bench.answer(&EDS, &names, None);
    assert_eq!(bench.pushed(), ["EDS +x3 +x4"]);
    bench.answer(&EDS, &names, Some("something is bad"));
    assert_eq!(bench.pushed(), ["EDS +x3"]);
    bench.answer(&EDS, &names, None);
    assert_eq!(bench.pushed(), ["EDS +x4"]);
    bench.answer(&EDS, &names, Some("something is bad"));
    assert_eq!(bench.pushed(), NONE);
    let report = &bench.stream.report(&bench.ledger)[0];
    let refused = report.resources.iter().filter(|r| r.state != ResourceState::Acked).map(|r| r.name.as_str());
    assert_eq!(refused.collect::<Vec<_>>(), ["x4"]);
    assert_eq!(report.nacks, 3);
    bench.put(&EDS, "x4", "2");
    assert_eq!(bench.pushed(), ["EDS +x4"]);
}

#[test]
fn several_culprits_without_a_name_are_all_found() {
    let names = ["x1", "x2", "x3", "x4", "x5", "x6", "x7"];
    for culprits in 1..1u32 << names.len() {
        let is_bad = |name: &str| culprits >> names.iter().position(|n| *n == name).unwrap() & 1 == 1;
        let mut bench = with(Variant::Delta, &names.map(|n| (&EDS, n)));
        bench.send(&request(&EDS, &names));
        for _ in 0..20 {
            let Some(push) = bench.stream.poll(&bench.ledger, bench.released, bench.now) else { break };
            let bad = push.content.resources.iter().any(|r| is_bad(r.name().as_str()));
            bench.nonce.insert(EDS.as_str().into(), push.nonce);
            bench.answer(&EDS, &[], bad.then_some("something is bad"));
        }
        assert!(bench.stream.poll(&bench.ledger, bench.released, bench.now).is_none(), "it ends");
        for report in &bench.stream.report(&bench.ledger)[0].resources {
            assert_eq!(report.state == ResourceState::Acked, !is_bad(report.name.as_str()), "{culprits:b} {report:?}");
        }
    }
}

#[test]
fn what_a_refusal_does_not_name_is_removed_if_it_is_gone() {
    let mut bench = with(Variant::Delta, &[(&EDS, "x1"), (&EDS, "x2")]);
    bench.send(&request(&EDS, &["x1", "x2"]));
    bench.pushed();
    bench.remove(&EDS, "x2");
    bench.answer(&EDS, &[], Some("x1 is bad"));
    assert_eq!(bench.pushed(), ["EDS -x2"]);
}

#[test]
fn content_that_returns_to_what_was_accepted_is_sent_after_a_refusal() {
    // The client may have applied part of what it refused.
    let mut bench = with(Variant::Delta, &[(&CDS, "a")]);
    bench.send(&request(&CDS, &[]));
    bench.pushed();
    bench.ack(&CDS);
    bench.put(&CDS, "a", "2");
    bench.pushed();
    bench.answer(&CDS, &[], Some("bad"));
    bench.put(&CDS, "a", "1");
    assert_eq!(bench.pushed(), ["CDS +a"]);
}

#[test]
fn a_refused_removal_is_not_lost() {
    let mut bench = with(Variant::Delta, &[(&CDS, "a"), (&CDS, "b")]);
    bench.send(&request(&CDS, &[]));
    bench.pushed();
    bench.ack(&CDS);
    bench.put(&CDS, "b", "2").remove(&CDS, "a");
    assert_eq!(bench.pushed(), ["CDS +b -a"]);
    bench.answer(&CDS, &[], Some("bad b"));
    assert_eq!(bench.pushed(), NONE);
    bench.put(&CDS, "b", "3");
    assert_eq!(bench.pushed(), ["CDS +b -a"]);
}

#[test]
fn delta_resume_sends_the_difference_only() {
    let mut bench = with(Variant::Delta, &[(&CDS, "same"), (&CDS, "new")]);
    bench.put(&CDS, "changed", "2");
    let version = Version::of(b"1");
    let held = ["same", "changed", "gone"].map(|n| (n.into(), version.clone()));
    bench.send(&Request { initial_versions: held.into_iter().collect(), ..request(&CDS, &[]) });
    assert_eq!(bench.pushed(), ["CDS +changed +new"]);
    bench.ack(&CDS);
    assert_eq!(bench.pushed(), NONE, "the client may be about to say that it has routes");
    assert_eq!(bench.stream.poll_timeout(), Some(bench.now + gate::RESUMING));
    bench.now += gate::RESUMING;
    assert_eq!(bench.pushed(), ["CDS -gone"]);

    let mut bench = with(Variant::Delta, &[(&EDS, "same"), (&EDS, "new")]);
    let held = ["same", "gone", "foreign"].map(|n| (n.into(), version.clone()));
    let names = request(&EDS, &["same", "gone", "new", "unknown"]);
    bench.send(&Request { initial_versions: held.into_iter().collect(), ..names });
    assert_eq!(bench.pushed(), ["EDS +new -gone -unknown"]);
}

#[test]
fn delta_resume_with_nothing_to_tell_is_answered_once() {
    let mut bench = with(Variant::Delta, &[(&CDS, "a")]);
    let held = [("a".into(), Version::of(b"1"))].into_iter().collect();
    bench.send(&Request { initial_versions: held, ..request(&CDS, &[]) });
    assert_eq!(bench.pushed(), ["CDS"]);
    bench.ack(&CDS);
    assert_eq!(bench.pushed(), NONE);
}

// "Deleting resources"

#[test]
fn sotw_absence_deletes_listeners_and_says_nothing_of_routes() {
    let mut bench = with(Variant::Sotw, &[(&LDS, "a"), (&LDS, "b"), (&RDS, "r")]);
    bench.send(&request(&LDS, &[]));
    bench.send(&request(&RDS, &["r"]));
    bench.pushed();
    bench.ack(&LDS);
    bench.answer(&RDS, &["r"], None);
    bench.pushed();
    bench.answer(&RDS, &["r"], None);
    bench.remove(&LDS, "b").remove(&RDS, "r");
    assert_eq!(bench.pushed(), ["LDS +a"]);
    bench.ack(&LDS);
    bench.put(&RDS, "r", "1");
    assert_eq!(bench.pushed(), ["RDS +r"]);
}

// "Eventual consistency considerations"

fn settled(variant: Variant) -> Bench {
    let mut bench = with(variant, &[(&CDS, "old"), (&LDS, "l")]);
    bench.send(&request(&LDS, &[]));
    bench.send(&request(&CDS, &[]));
    assert_eq!(bench.pushed(), ["CDS +old", "LDS +l"]);
    bench.ack(&CDS);
    bench.ack(&LDS);
    bench
}

#[test]
fn what_is_referred_to_goes_first_and_leaves_last() {
    for variant in [Variant::Delta, Variant::Sotw] {
        let mut bench = settled(variant);
        bench.put(&LDS, "l", "2").put(&CDS, "new", "1").remove(&CDS, "old");
        let first = if variant == Variant::Delta { "CDS +new" } else { "CDS +new +old" };
        assert_eq!(bench.pushed(), [first]);
        bench.ack(&CDS);
        assert_eq!(bench.pushed(), ["LDS +l"]);
        bench.ack(&LDS);
        let last = if variant == Variant::Delta { "CDS -old" } else { "CDS +new" };
        assert_eq!(bench.pushed(), [last]);
        bench.ack(&CDS);
        assert_eq!(bench.pushed(), NONE);
    }
}

#[test]
fn a_hold_ends_in_time() {
    for variant in [Variant::Delta, Variant::Sotw] {
        let mut bench = settled(variant);
        bench.put(&CDS, "new", "1").put(&LDS, "l", "2");
        assert_eq!(bench.pushed().len(), 1);
        bench.now += Duration::from_secs(14);
        assert_eq!(bench.pushed(), NONE);
        assert!(bench.stream.poll_timeout().unwrap() <= bench.now + Duration::from_secs(1));
        bench.now += Duration::from_secs(1);
        assert_eq!(bench.pushed(), ["LDS +l"]);
        assert!(bench.events().contains(&Event::HoldExpired { type_url: LDS }));
        assert_eq!(bench.stream.poll_timeout(), None);
    }
}

#[test]
fn an_answer_to_a_request_does_not_wait() {
    let mut bench = with(Variant::Delta, &[(&CDS, "c"), (&RDS, "r")]);
    bench.send(&request(&CDS, &[]));
    bench.pushed();
    bench.send(&request(&RDS, &["r"]));
    assert_eq!(bench.pushed(), ["RDS +r"]);
}

#[test]
fn a_whole_set_waits_for_all_that_is_in_it() {
    let mut bench = with(Variant::Sotw, &[(&CDS, "c"), (&LDS, "a"), (&LDS, "b")]);
    bench.send(&request(&CDS, &[]));
    bench.send(&request(&LDS, &["a"]));
    bench.pushed();
    bench.ack(&CDS);
    bench.answer(&LDS, &["a"], None);
    // The cluster waits for its answer; the changed listener waits for it, and so does the set it is part of.
    bench.put(&CDS, "c", "2").put(&LDS, "a", "2");
    assert_eq!(bench.pushed(), ["CDS +c"]);
    bench.answer(&LDS, &["a", "b"], None);
    assert_eq!(bench.pushed(), NONE);
    bench.ack(&CDS);
    assert_eq!(bench.pushed(), ["LDS +a +b"]);
}

// Bounds

#[test]
fn limits_end_the_stream() {
    let limits = StreamLimits { max_types: 1, max_names: 2, max_name_bytes: 100, ..Default::default() };
    let mut stream = ServerStream::new(Variant::Delta, 0, limits);
    let ledger = Ledger::new();
    let mut send = |request: &Request| stream.handle(request, &ledger, Instant::now());
    assert_eq!(send(&request(&"".into(), &[])), Err(Violation::NoType));
    assert_eq!(send(&request(&EDS, &["a", "b"])), Ok(()));
    let long = send(&request(&EDS, &[&"x".repeat(101)]));
    assert_eq!(long, Err(Violation::NameTooLong { type_url: EDS, limit: 100 }));
    assert_eq!(send(&request(&CDS, &[])), Err(Violation::TooManyTypes(1)));
    assert_eq!(send(&request(&EDS, &["c"])), Err(Violation::TooManyNames { type_url: EDS, limit: 2 }));
}

#[test]
fn a_stream_whose_removals_were_forgotten_says_so() {
    for (names, lost) in [(&[][..], true), (&["0", "1"][..], false)] {
        let mut bench = with(Variant::Delta, &[(&CDS, "0"), (&CDS, "1")]);
        bench.send(&request(&CDS, names));
        bench.pushed();
        // It does not answer, and meanwhile more is removed than is remembered.
        for i in 0..=Ledger::MAX_REMOVALS {
            let name = i.to_string();
            bench.put(&CDS, &name, "2").remove(&CDS, &name);
        }
        bench.ack(&CDS);
        bench.pushed();
        assert_eq!(bench.stream.lost_track(), lost);
    }
}

#[test]
fn a_refusals_message_is_kept_in_part() {
    let mut bench = with(Variant::Delta, &[(&CDS, "a")]);
    bench.send(&request(&CDS, &[]));
    bench.pushed();
    bench.answer(&CDS, &[], Some(&"ä".repeat(5000)));
    let kept = bench.stream.report(&bench.ledger)[0].last_error.clone().unwrap();
    assert_eq!(kept.len(), 4096);
}
