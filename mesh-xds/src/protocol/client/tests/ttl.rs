//! "TTL" and "SotW TTL" of the protocol page.

use mesh_xds_api::{any, envoy::config::cluster::v3::Cluster, envoy::service::discovery::v3 as wire};

use super::*;
use crate::protocol::Heartbeat;

const TTL: Duration = Duration::from_secs(10);

fn lasting(nonce: &str, ttl: Option<Duration>, added: &[(&str, &str)]) -> Response {
    let mut response = response(&CDS, nonce, added, &[]);
    response.resources = response.resources.into_iter().map(|r| r.with_ttl(ttl)).collect();
    response
}

fn heartbeat(nonce: &str, ttl: Option<Duration>, name: &str, version: &str) -> Response {
    let heartbeats = vec![Heartbeat { name: name.into(), version: version.into(), ttl }];
    Response { heartbeats, ..response(&CDS, nonce, &[], &[]) }
}

fn version(content: &str) -> Version {
    Version::of(content.as_bytes())
}

/// A client that holds `a` with a time to live, and `b` for ever.
fn holding(variant: Variant, now: Instant) -> ClientState {
    let mut client = client(variant, &[(&CDS, Subscription::Wildcard)]);
    said(&mut client);
    let mut both = lasting("1", Some(TTL), &[("a", "1")]);
    both.resources.push(resource(&CDS, "b", "1"));
    client.handle(both, now);
    accept(&mut client, &CDS, "+a +b");
    said(&mut client);
    client
}

#[test]
fn a_resource_ends_with_its_time_and_nobody_is_told_but_the_consumer() {
    for variant in [Variant::Delta, Variant::Sotw] {
        let now = Instant::now();
        let mut client = holding(variant, now);
        assert_eq!(client.poll_timeout(), Some(now + TTL));
        client.handle_timeout(now + TTL - Duration::from_millis(1));
        assert_eq!(told(&mut client), None);
        client.handle_timeout(now + TTL);
        let update = client.poll_update().unwrap();
        assert_eq!((update.source, update.removed.as_slice()), (Source::Expiry, ["a".into()].as_slice()));
        client.answer(&CDS, update.id, Verdict::Accepted);
        assert_eq!(said(&mut client), [] as [&str; 0]);
        assert_eq!(client.poll_timeout(), None);
        client.connected();
        let expected = match variant {
            Variant::Delta => "CDS [] has{b}",
            // The version would claim a.
            Variant::Sotw => "CDS []",
        };
        assert_eq!(said(&mut client), [expected]);
    }
}

#[test]
fn a_heartbeat_prolongs_and_is_no_update() {
    for variant in [Variant::Delta, Variant::Sotw] {
        let now = Instant::now();
        let mut client = holding(variant, now);
        let later = now + TTL / 2;
        client.handle(heartbeat("2", Some(TTL), "a", version("1").as_str()), later);
        assert_eq!(told(&mut client), None, "and no removal of b, in SotW either");
        assert_eq!(said(&mut client).len(), 1, "it is acknowledged");
        assert_eq!(client.poll_timeout(), Some(later + TTL));
        client.handle(heartbeat("3", None, "a", version("1").as_str()), later);
        assert_eq!(told(&mut client), None);
        assert_eq!(client.poll_timeout(), None, "without a time to live there is no end");
    }
}

#[test]
fn a_heartbeat_counts_only_for_the_version_that_is_held() {
    for (variant, said_version, counts) in [
        (Variant::Delta, version("1"), true),
        (Variant::Delta, version("2"), false),
        (Variant::Sotw, version("2"), false),
        // By the version of the response that brought it, as go-control-plane does.
        (Variant::Sotw, Version::from("v-1"), true),
    ] {
        let now = Instant::now();
        let mut client = holding(variant, now);
        client.handle(heartbeat("2", Some(TTL), "a", said_version.as_str()), now + TTL / 2);
        assert_eq!(told(&mut client), None);
        let expected = if counts { now + TTL / 2 + TTL } else { now + TTL };
        assert_eq!(client.poll_timeout(), Some(expected), "{variant:?} {said_version}");
    }
    // No version in the wrapper: the response's counts.
    let now = Instant::now();
    let mut client = holding(Variant::Sotw, now);
    let mut silent = heartbeat("2", Some(TTL), "a", "");
    silent.version = "v-1".into();
    client.handle(silent, now + TTL / 2);
    assert_eq!(told(&mut client), None);
    assert_eq!(client.poll_timeout(), Some(now + TTL / 2 + TTL));
}

#[test]
fn the_same_version_again_prolongs_and_is_no_update() {
    for variant in [Variant::Delta, Variant::Sotw] {
        let now = Instant::now();
        let mut client = client(variant, &[(&CDS, Subscription::Wildcard)]);
        said(&mut client);
        client.handle(lasting("1", Some(TTL), &[("a", "1")]), now);
        accept(&mut client, &CDS, "+a");
        client.handle(lasting("2", Some(TTL * 3), &[("a", "1")]), now);
        assert_eq!(told(&mut client), None);
        assert_eq!(client.poll_timeout(), Some(now + TTL * 3));
        client.handle(lasting("3", Some(TTL), &[("a", "2")]), now);
        accept(&mut client, &CDS, "+a");
        assert_eq!(client.poll_timeout(), Some(now + TTL));
    }
}

#[test]
fn what_waits_to_be_read_goes_before_an_end() {
    let now = Instant::now();
    let mut client = holding(Variant::Delta, now);
    client.handle(heartbeat("2", Some(TTL), "a", version("1").as_str()), now + TTL);
    client.handle_timeout(now + TTL);
    assert_eq!(told(&mut client), None);
    assert_eq!(client.poll_timeout(), Some(now + TTL + TTL));
}

#[test]
fn an_end_waits_for_the_update_in_hand() {
    let now = Instant::now();
    let mut client = holding(Variant::Delta, now);
    client.handle(response(&CDS, "2", &[("c", "1")], &[]), now);
    let (_, id) = told(&mut client).unwrap();
    client.handle_timeout(now + TTL);
    assert_eq!(told(&mut client), None);
    client.answer(&CDS, id, Verdict::Accepted);
    assert_eq!(told(&mut client).unwrap().0, "-a");
}

#[test]
fn a_refused_resource_leaves_the_time_of_the_one_in_force() {
    let now = Instant::now();
    let mut client = holding(Variant::Delta, now);
    client.handle(lasting("2", None, &[("a", "2")]), now);
    let (_, id) = told(&mut client).unwrap();
    client.answer(&CDS, id, Verdict::Rejected { message: "no".into(), resources: vec![] });
    assert_eq!(client.poll_timeout(), Some(now + TTL));
}

fn wrapped(with_content: bool) -> wire::Resource {
    let cluster = Cluster { name: "a".into(), ..Default::default() };
    wire::Resource {
        name: "a".into(),
        version: "7".into(),
        resource: with_content.then(|| any::pack(&cluster)),
        ttl: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
        ..Default::default()
    }
}

#[test]
fn both_variants_carry_times_to_live_on_the_wire() {
    let beat = Heartbeat { name: "a".into(), version: "7".into(), ttl: Some(TTL) };
    for with_content in [true, false] {
        let delta = wire::DeltaDiscoveryResponse {
            type_url: CDS.as_str().into(),
            resources: vec![wrapped(with_content)],
            ..Default::default()
        };
        let sotw = wire::DiscoveryResponse {
            type_url: CDS.as_str().into(),
            resources: vec![any::pack(&wrapped(with_content))],
            ..Default::default()
        };
        for read in [Response::from_delta(delta).unwrap(), Response::from_sotw(sotw).unwrap()] {
            let ttls: Vec<_> = read.resources.iter().map(|r| (r.name().as_str(), r.ttl())).collect();
            if with_content {
                assert_eq!((ttls, read.heartbeats), (vec![("a", Some(TTL))], vec![]));
            } else {
                assert_eq!((ttls, read.heartbeats), (vec![], vec![beat.clone()]));
            }
        }
    }
}

#[test]
fn a_wrapper_without_content_and_name_is_refused() {
    let nameless = wire::Resource { name: String::new(), ..wrapped(false) };
    let delta = wire::DeltaDiscoveryResponse { resources: vec![nameless.clone()], ..Default::default() };
    assert!(Response::from_delta(delta).is_err());
    let sotw = wire::DiscoveryResponse { resources: vec![any::pack(&nameless)], ..Default::default() };
    assert!(Response::from_sotw(sotw).is_err());
}
