//! Rules of the protocol page, each under the name of its section.

use super::*;
use crate::protocol::WILDCARD;

fn refuse(client: &mut ClientState, type_url: &TypeUrl, names: &[&str]) {
    let (_, id) = told(client).expect("an update");
    let resources = names.iter().map(|n| (*n).into()).collect();
    client.answer(type_url, id, Verdict::Rejected { message: "no".into(), resources });
}

/// "ACK/NACK and resource type instance version": a NACK repeats the version last accepted, under the nonce of what is
/// refused; so does one that refuses only part.
#[test]
fn a_sotw_nack_says_the_version_before_and_the_nonce_of_the_refused() {
    let mut client = client(Variant::Sotw, &[(&CDS, Subscription::Wildcard)]);
    said(&mut client);
    client.handle(response(&CDS, "1", &[("a", "1")], &[]), Instant::now());
    refuse(&mut client, &CDS, &[]);
    assert_eq!(said(&mut client), ["CDS [] ^1 !no"], "nothing was accepted yet");
    client.handle(response(&CDS, "2", &[("a", "2")], &[]), Instant::now());
    accept(&mut client, &CDS, "+a");
    client.handle(response(&CDS, "3", &[("a", "2"), ("b", "1"), ("c", "1")], &[]), Instant::now());
    refuse(&mut client, &CDS, &["c"]);
    assert_eq!(said(&mut client), ["CDS [] @v-2 ^2", "CDS [] @v-2 ^3 !no"]);
    client.handle(response(&CDS, "4", &[("a", "2"), ("b", "1"), ("c", "2")], &[]), Instant::now());
    accept(&mut client, &CDS, "+c");
    assert_eq!(said(&mut client), ["CDS [] @v-4 ^4"], "b was in force already");
}

/// "Basic protocol overview": the list of an ACK is the list as it is, not as it was when the response came.
#[test]
fn a_sotw_ack_says_the_list_as_it_is() {
    let mut client = client(Variant::Sotw, &[(&EDS, Subscription::named(["a", "b"]))]);
    said(&mut client);
    client.handle(response(&EDS, "1", &[("a", "1"), ("b", "1")], &[]), Instant::now());
    let (_, id) = told(&mut client).unwrap();
    client.unsubscribe(&EDS, ["b".into()]);
    client.subscribe(&EDS, ["c".into()], Instant::now());
    client.answer(&EDS, id, Verdict::Accepted);
    assert_eq!(said(&mut client), ["EDS [a c] @v-1 ^1"]);
}

/// "Incremental xDS": a spontaneous request has no nonce.
#[test]
fn a_spontaneous_delta_request_answers_nothing() {
    let mut client = client(Variant::Delta, &[(&EDS, Subscription::named(["a"]))]);
    said(&mut client);
    client.handle(response(&EDS, "1", &[("a", "1")], &[]), Instant::now());
    accept(&mut client, &EDS, "+a");
    assert_eq!(said(&mut client), ["EDS [] ^1"]);
    client.subscribe(&EDS, ["b".into()], Instant::now());
    client.unsubscribe(&EDS, ["a".into()]);
    assert_eq!(said(&mut client), ["EDS [b] -[a]"]);
}

/// "Duplicate resource names": such a response is refused.
#[test]
fn a_name_twice_in_a_response_is_refused() {
    for (variant, added, removed) in [
        (Variant::Delta, vec![("a", "1"), ("a", "2")], vec![]),
        (Variant::Delta, vec![("a", "1")], vec!["a"]),
        (Variant::Delta, vec![], vec!["a", "a"]),
        (Variant::Sotw, vec![("a", "1"), ("a", "1")], vec![]),
    ] {
        let mut client = client(variant, &[(&CDS, Subscription::Wildcard)]);
        said(&mut client);
        client.handle(response(&CDS, "1", &added, &removed), Instant::now());
        assert_eq!(told(&mut client), None);
        assert_eq!(said(&mut client), ["CDS [] ^1 !resource a is in the response more than once"]);
    }
}

/// "How the client specifies what resources to return": once a name was listed, an empty list means nothing.
#[test]
fn silence_means_everything_only_until_a_name_was_listed() {
    let mut client = client(Variant::Sotw, &[(&CDS, Subscription::Wildcard)]);
    assert_eq!(said(&mut client), ["CDS []"]);
    client.subscribe(&CDS, ["a".into()], Instant::now());
    assert_eq!(said(&mut client), ["CDS [* a]"]);
    client.unsubscribe(&CDS, ["a".into()]);
    assert_eq!(said(&mut client), ["CDS [*]"]);
    client.unwatch(&CDS);
    assert_eq!(said(&mut client), ["CDS []"]);
    client.watch(&CDS, Subscription::Wildcard, None, Instant::now());
    assert_eq!(said(&mut client), ["CDS [*]"]);
}

/// The same section: an empty list after empty lists goes on to mean everything; only a name before it changes that.
#[test]
fn everything_asked_for_by_silence_is_taken_back_through_a_name() {
    let mut sotw = client(Variant::Sotw, &[(&CDS, Subscription::Wildcard)]);
    assert_eq!(said(&mut sotw), ["CDS []"]);
    sotw.unwatch(&CDS);
    assert_eq!(said(&mut sotw), ["CDS [*]", "CDS []"]);

    let mut named = client(Variant::Sotw, &[(&CDS, Subscription::Wildcard)]);
    said(&mut named);
    named.subscribe(&CDS, ["a".into()], Instant::now());
    named.unsubscribe(&CDS, [WILDCARD.into()]);
    assert_eq!(said(&mut named), ["CDS [a]"], "a list of names says so by itself");

    let mut delta = client(Variant::Delta, &[(&CDS, Subscription::Wildcard)]);
    assert_eq!(said(&mut delta), ["CDS []"]);
    delta.unwatch(&CDS);
    assert_eq!(said(&mut delta), ["CDS [] -[*]"]);
}

/// A wildcard that is dropped and taken up at once must be answered again: two requests, that each server reads alike.
#[test]
fn a_wildcard_taken_up_again_is_said_in_two_steps() {
    for (variant, expected) in
        [(Variant::Delta, vec!["CDS [] -[*]", "CDS [*]"]), (Variant::Sotw, vec!["CDS [*]", "CDS []", "CDS [*]"])]
    {
        let mut client = client(variant, &[(&CDS, Subscription::Wildcard)]);
        said(&mut client);
        client.unwatch(&CDS);
        client.watch(&CDS, Subscription::Wildcard, None, Instant::now());
        assert_eq!(said(&mut client), expected);
    }
}

/// "Deleting resources": absence deletes clusters and listeners only, and an empty response of another type says nothing.
#[test]
fn absence_deletes_by_type() {
    let mut client = client(
        Variant::Sotw,
        &[
            (&CDS, Subscription::Wildcard),
            (&EDS, Subscription::named(["a"])),
            (&TypeUrl::LISTENER, Subscription::Wildcard),
            (&TypeUrl::ROUTE, Subscription::named(["a"])),
            (&TypeUrl::SECRET, Subscription::named(["a"])),
        ],
    );
    said(&mut client);
    let mut removed = Vec::new();
    for type_url in [CDS, EDS, TypeUrl::LISTENER, TypeUrl::ROUTE, TypeUrl::SECRET] {
        client.handle(response(&type_url, "1", &[("a", "1")], &[]), Instant::now());
        accept(&mut client, &type_url, "+a");
        client.handle(response(&type_url, "2", &[], &[]), Instant::now());
        if let Some((text, id)) = told(&mut client) {
            client.answer(&type_url, id, Verdict::Accepted);
            removed.push((type_url.short().unwrap_or("?").to_owned(), text));
        }
    }
    assert_eq!(removed, [("CDS".to_owned(), "-a".to_owned()), ("LDS".to_owned(), "-a".to_owned())]);
}

/// "Knowing when a requested resource does not exist": a response that was on its way when a name was added says nothing
/// of it; one to a list that always had the name does.
#[test]
fn sotw_absence_is_an_answer_only_to_names_that_were_always_listed() {
    let (now, timeout) = (Instant::now(), Duration::from_secs(15));
    let mut client = ClientState::new(Variant::Sotw);
    client.watch(&CDS, Subscription::named(["a", "x"]), Some(timeout), now);
    client.connected();
    assert_eq!(said(&mut client), ["CDS [a x]"]);
    client.handle(response(&CDS, "1", &[("a", "1")], &[]), now);
    accept(&mut client, &CDS, "+a -x");
    client.subscribe(&CDS, ["y".into()], now);
    assert_eq!(said(&mut client), ["CDS [a x y] @v-1 ^1"]);
    client.handle(response(&CDS, "2", &[("a", "1")], &[]), now);
    assert_eq!(told(&mut client), None, "it may have been sent before y was asked for");
    let overdue = client.poll_overdue(now + timeout).unwrap();
    assert_eq!(overdue.names, ["y"]);
    client.handle(response(&CDS, "3", &[("a", "1"), ("y", "1")], &[]), now);
    accept(&mut client, &CDS, "+y");
}

/// "Incremental xDS": on reconnect every name is said again, and what is held goes along; nonces do not survive.
#[test]
fn a_new_stream_starts_with_everything() {
    for variant in [Variant::Delta, Variant::Sotw] {
        let mut client = client(variant, &[(&EDS, Subscription::named(["a", "b"]))]);
        said(&mut client);
        client.handle(response(&EDS, "1", &[("a", "1")], &[]), Instant::now());
        accept(&mut client, &EDS, "+a");
        client.disconnected();
        client.connected();
        let expected = match variant {
            Variant::Delta => "EDS [a b] has{a}",
            Variant::Sotw => "EDS [a b] @v-1",
        };
        assert_eq!(said(&mut client), [expected]);
    }
}

/// "How the client specifies what resources to return": what was not asked for is ignored, and the response accepted.
#[test]
fn what_was_not_asked_for_is_ignored() {
    for variant in [Variant::Delta, Variant::Sotw] {
        let mut client = client(variant, &[(&EDS, Subscription::named(["a"]))]);
        said(&mut client);
        client.handle(response(&EDS, "1", &[("z", "1")], &[]), Instant::now());
        assert_eq!(told(&mut client), None);
        assert_eq!(said(&mut client).len(), 1);
        assert_eq!(client.status().next().unwrap().1.resources, 0);
    }
}
