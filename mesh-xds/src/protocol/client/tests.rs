//! Tables of what a client says and tells, by the rules of the protocol page.

use std::collections::BTreeMap;

use mesh_xds_api::google::protobuf::Any;

use super::*;
use crate::{Nonce, protocol::Request};

mod rules;
mod servers;
mod ttl;

const CDS: TypeUrl = TypeUrl::CLUSTER;
const EDS: TypeUrl = TypeUrl::ENDPOINT;

fn resource(type_url: &TypeUrl, name: &str, content: &str) -> Resource {
    let any = Any { type_url: type_url.as_str().into(), value: content.as_bytes().to_vec().into() };
    Resource::new(name, any)
}

fn response(type_url: &TypeUrl, nonce: &str, added: &[(&str, &str)], removed: &[&str]) -> Response {
    Response {
        type_url: type_url.clone(),
        nonce: nonce.into(),
        version: format!("v-{nonce}").into(),
        resources: added.iter().map(|(n, c)| resource(type_url, n, c)).collect(),
        heartbeats: Vec::new(),
        removed: removed.iter().map(|n| (*n).into()).collect(),
    }
}

/// What a request says, as text: `CDS [a b] -[c] has{a} ^nonce !error`.
fn text(request: &Request) -> String {
    let mut text = format!("{} [{}]", request.type_url.short().unwrap_or("?"), join(&request.names));
    if !request.unsubscribe.is_empty() {
        text += &format!(" -[{}]", join(&request.unsubscribe));
    }
    if !request.initial_versions.is_empty() {
        text += &format!(" has{{{}}}", join(request.initial_versions.keys()));
    }
    if let Some(version) = &request.version {
        text += &format!(" @{version}");
    }
    if let Some(nonce) = &request.nonce {
        text += &format!(" ^{nonce}");
    }
    if let Some(error) = &request.error {
        text += &format!(" !{error}");
    }
    text
}

fn join<'a>(names: impl IntoIterator<Item = &'a ResourceName>) -> String {
    names.into_iter().map(ResourceName::as_str).collect::<Vec<_>>().join(" ")
}

fn said(client: &mut ClientState) -> Vec<String> {
    std::iter::from_fn(|| client.poll()).map(|r| text(&r)).collect()
}

/// Takes the next update and gives it as `+a -b`, with its id.
fn told(client: &mut ClientState) -> Option<(String, UpdateId)> {
    let update = client.poll_update()?;
    let added = update.added.iter().map(|r| format!("+{}", r.name()));
    let removed = update.removed.iter().map(|n| format!("-{n}"));
    Some((added.chain(removed).collect::<Vec<_>>().join(" "), update.id))
}

fn accept(client: &mut ClientState, type_url: &TypeUrl, expected: &str) {
    let (text, id) = told(client).expect("an update");
    assert_eq!(text, expected);
    client.answer(type_url, id, Verdict::Accepted);
}

fn client(variant: Variant, watches: &[(&TypeUrl, Subscription)]) -> ClientState {
    let mut client = ClientState::new(variant);
    for (type_url, subscription) in watches {
        client.watch(type_url, subscription.clone(), None, Instant::now());
    }
    client.connected();
    client
}

#[test]
fn first_requests_go_by_order_of_types() {
    let types = [TypeUrl::SECRET, TypeUrl::ROUTE, TypeUrl::LISTENER, EDS, CDS];
    let watches: Vec<_> = types.iter().map(|t| (t, Subscription::named(["x"]))).collect();
    let mut client = client(Variant::Delta, &watches);
    assert_eq!(said(&mut client), ["CDS [x]", "EDS [x]", "LDS [x]", "RDS [x]", "SDS [x]"]);
}

#[test]
fn a_wildcard_is_said_by_silence_where_that_is_understood() {
    let mut client = client(Variant::Delta, &[(&CDS, Subscription::Wildcard), (&EDS, Subscription::Wildcard)]);
    assert_eq!(said(&mut client), ["CDS []", "EDS [*]"]);
    client.subscribe(&CDS, ["a".into()], Instant::now());
    assert_eq!(said(&mut client), ["CDS [a]"]);
    client.connected();
    assert_eq!(said(&mut client), ["CDS [* a]", "EDS [*]"]);
}

#[test]
fn nothing_is_said_of_a_type_without_subscription() {
    let mut client = client(Variant::Delta, &[(&CDS, Subscription::named(["a"]))]);
    client.unsubscribe(&CDS, ["a".into()]);
    assert_eq!(said(&mut client), [] as [&str; 0], "an empty first request would mean everything");
}

#[test]
fn verdicts_become_answers_and_the_next_update_waits_for_them() {
    let mut client = client(Variant::Delta, &[(&CDS, Subscription::Wildcard)]);
    said(&mut client);
    client.handle(response(&CDS, "1", &[("a", "1")], &[]), Instant::now());
    client.handle(response(&CDS, "2", &[("b", "1")], &["a"]), Instant::now());
    let (text, id) = told(&mut client).unwrap();
    assert_eq!(text, "+a");
    assert_eq!(told(&mut client), None);
    assert_eq!(said(&mut client), [] as [&str; 0]);
    client.answer(&CDS, id, Verdict::Accepted);
    assert_eq!(said(&mut client), ["CDS [] ^1"]);
    let (text, id) = told(&mut client).unwrap();
    assert_eq!(text, "+b -a");
    client.answer(&CDS, id, Verdict::Rejected { message: "no".into(), resources: vec![] });
    assert_eq!(said(&mut client), ["CDS [] ^2 !no"]);
    client.connected();
    assert_eq!(said(&mut client), ["CDS [] has{a}"], "what was refused is not held");
}

#[test]
fn what_a_partial_refusal_leaves_is_held() {
    let mut client = client(Variant::Delta, &[(&CDS, Subscription::Wildcard)]);
    said(&mut client);
    client.handle(response(&CDS, "1", &[("a", "1"), ("b", "1")], &[]), Instant::now());
    let (_, id) = told(&mut client).unwrap();
    client.answer(&CDS, id, Verdict::Rejected { message: "b: no".into(), resources: vec!["b".into()] });
    client.connected();
    assert_eq!(said(&mut client), ["CDS [] has{a}"]);
}

#[test]
fn a_verdict_on_an_earlier_stream_is_not_said_on_a_later_one() {
    let mut client = client(Variant::Delta, &[(&CDS, Subscription::Wildcard)]);
    said(&mut client);
    client.handle(response(&CDS, "1", &[("a", "1")], &[]), Instant::now());
    let (_, id) = told(&mut client).unwrap();
    client.connected();
    assert_eq!(said(&mut client), [] as [&str; 0], "whether a is held is not known yet");
    client.answer(&CDS, id, Verdict::Accepted);
    assert_eq!(said(&mut client), ["CDS [] has{a}"]);
}

#[test]
fn an_unreadable_response_is_refused_in_its_turn() {
    let mut client = client(Variant::Sotw, &[(&CDS, Subscription::Wildcard)]);
    said(&mut client);
    let reason = "no name".to_owned();
    client.handle_unreadable(DecodeError { type_url: CDS, nonce: Nonce::from("1"), index: 2, reason });
    assert_eq!(told(&mut client), None);
    assert_eq!(said(&mut client), ["CDS [] ^1 !resource 2 of the response: no name"]);
}

#[test]
fn sotw_updates_are_differences_and_answers_repeat_the_list() {
    let mut client = client(Variant::Sotw, &[(&CDS, Subscription::Wildcard), (&EDS, Subscription::named(["a", "b"]))]);
    assert_eq!(said(&mut client), ["CDS []", "EDS [a b]"]);
    client.handle(response(&CDS, "1", &[("a", "1"), ("b", "1")], &[]), Instant::now());
    accept(&mut client, &CDS, "+a +b");
    assert_eq!(said(&mut client), ["CDS [] @v-1 ^1"]);
    client.handle(response(&CDS, "2", &[("b", "2"), ("c", "1")], &[]), Instant::now());
    accept(&mut client, &CDS, "+b +c -a");
    client.handle(response(&CDS, "3", &[("b", "2"), ("c", "1")], &[]), Instant::now());
    assert_eq!(told(&mut client), None, "nothing differs");
    assert_eq!(said(&mut client), ["CDS [] @v-2 ^2", "CDS [] @v-3 ^3"]);
    // Absence says nothing of endpoints.
    client.handle(response(&EDS, "4", &[("a", "1")], &[]), Instant::now());
    accept(&mut client, &EDS, "+a");
    client.handle(response(&EDS, "5", &[("b", "1")], &[]), Instant::now());
    accept(&mut client, &EDS, "+b");
    assert_eq!(said(&mut client), ["EDS [a b] @v-4 ^4", "EDS [a b] @v-5 ^5"]);
}

#[test]
fn sotw_list_changes_wait_for_the_verdict() {
    let mut client = client(Variant::Sotw, &[(&EDS, Subscription::named(["a"]))]);
    said(&mut client);
    client.handle(response(&EDS, "1", &[("a", "1")], &[]), Instant::now());
    let (_, id) = told(&mut client).unwrap();
    client.subscribe(&EDS, ["b".into()], Instant::now());
    assert_eq!(said(&mut client), [] as [&str; 0], "it would accept the response");
    client.answer(&EDS, id, Verdict::Accepted);
    assert_eq!(said(&mut client), ["EDS [a b] @v-1 ^1"]);
}

#[test]
fn overdue_is_told_once_and_not_after_an_answer() {
    let now = Instant::now();
    let timeout = Some(Duration::from_secs(15));
    let mut client = ClientState::new(Variant::Delta);
    client.watch(&EDS, Subscription::named(["a", "b"]), timeout, now);
    client.watch(&CDS, Subscription::Wildcard, timeout, now);
    client.connected();
    said(&mut client);
    client.handle(response(&EDS, "1", &[("a", "1")], &[]), Instant::now());
    accept(&mut client, &EDS, "+a");
    assert_eq!(client.poll_overdue(now), None);
    assert_eq!(client.poll_timeout(), Some(now + Duration::from_secs(15)));
    let late = now + Duration::from_secs(15);
    let overdue: BTreeMap<_, _> = std::iter::from_fn(|| client.poll_overdue(late))
        .map(|o| (o.type_url.short(), (o.wildcard, join(&o.names))))
        .collect();
    let expected = [(Some("CDS"), (true, String::new())), (Some("EDS"), (false, "b".into()))];
    assert_eq!(overdue, expected.into_iter().collect());
    assert_eq!(client.poll_timeout(), None);
}
