//! Another server: what is held stays, what only the other one understands is not said to it.

use super::*;

/// Names and versions of the next request that starts a type.
fn started(client: &mut ClientState) -> (Vec<(String, String)>, Option<Version>) {
    let request = client.poll().expect("a request");
    let versions = request.initial_versions.into_iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    (versions, request.version)
}

fn holding(variant: Variant) -> ClientState {
    let mut client = client(variant, &[(&CDS, Subscription::Wildcard)]);
    said(&mut client);
    client.handle(response(&CDS, "1", &[("a", "1"), ("b", "1")], &[]), Instant::now());
    accept(&mut client, &CDS, "+a +b");
    said(&mut client);
    client
}

fn blank(names: &[&str]) -> Vec<(String, String)> {
    names.iter().map(|n| ((*n).to_owned(), String::new())).collect()
}

/// "ACK/NACK and resource type instance version": the version "is also separate for each xDS server".
#[test]
fn versions_are_not_taken_to_another_server() {
    let mut sotw = holding(Variant::Sotw);
    sotw.connected_to(1);
    assert_eq!(started(&mut sotw), (vec![], None));
    let mut delta = holding(Variant::Delta);
    delta.connected_to(1);
    assert_eq!(started(&mut delta), (blank(&["a", "b"]), None), "named, so that a removal can be told");
}

#[test]
fn a_server_that_was_not_heard_takes_nothing_away() {
    let mut sotw = holding(Variant::Sotw);
    let mut delta = holding(Variant::Delta);
    for client in [&mut sotw, &mut delta] {
        client.connected_to(1);
        said(client);
        client.connected_to(0);
    }
    assert_eq!(started(&mut sotw), (vec![], Some("v-1".into())));
    let (versions, _) = started(&mut delta);
    assert!(versions.iter().all(|(_, version)| *version == Version::of(b"1").to_string()), "{versions:?}");
}

#[test]
fn its_answers_replace_what_is_held_piece_by_piece() {
    let mut delta = holding(Variant::Delta);
    delta.connected_to(1);
    said(&mut delta);
    delta.handle(response(&CDS, "x", &[("a", "1")], &[]), Instant::now());
    accept(&mut delta, &CDS, "+a");
    // The rest was not answered when the stream broke: to the same server a has a version, b has none.
    delta.connected_to(1);
    let (versions, _) = started(&mut delta);
    assert_eq!(versions, [("a".into(), Version::of(b"1").to_string()), ("b".into(), String::new())]);
    delta.handle(response(&CDS, "y", &[], &["b"]), Instant::now());
    accept(&mut delta, &CDS, "-b");

    let mut sotw = holding(Variant::Sotw);
    sotw.connected_to(1);
    said(&mut sotw);
    sotw.handle(response(&CDS, "x", &[("a", "1"), ("c", "1")], &[]), Instant::now());
    accept(&mut sotw, &CDS, "+c -b");
    assert_eq!(said(&mut sotw), ["CDS [] @v-x ^x"]);
}

#[test]
fn a_verdict_on_another_servers_update_gives_no_version() {
    for variant in [Variant::Delta, Variant::Sotw] {
        let mut client = holding(variant);
        client.handle(response(&CDS, "2", &[("a", "1"), ("b", "1"), ("c", "1")], &[]), Instant::now());
        let (_, id) = told(&mut client).unwrap();
        client.connected_to(1);
        if variant == Variant::Sotw {
            assert_eq!(said(&mut client), ["CDS []"]);
            client.handle(response(&CDS, "x", &[("a", "2")], &[]), Instant::now());
        }
        client.answer(&CDS, id, Verdict::Accepted);
        let said_now = said(&mut client);
        match variant {
            Variant::Delta => assert_eq!(said_now, ["CDS [] has{a b c}"]),
            Variant::Sotw => assert_eq!(told(&mut client).unwrap().0, "+a -b -c"),
        }
    }
}

#[test]
fn what_would_be_asked_first_can_be_known_before() {
    for variant in [Variant::Delta, Variant::Sotw] {
        let mut client = holding(variant);
        client.watch(&EDS, Subscription::named(["a"]), None, Instant::now());
        let before = client.first_requests(1, 16);
        assert_eq!(before.len(), 2);
        assert_eq!(client.first_requests(1, 1), before[..1]);
        assert_eq!(said(&mut client), ["EDS [a]"], "nothing has changed for the stream that is open");
        client.connected_to(1);
        let then: Vec<_> = std::iter::from_fn(|| client.poll()).collect();
        assert_eq!(then, before);
    }
}

/// gRFC A71: "does not exist" and refused resources count as cached.
#[test]
fn something_is_lacking_until_everything_was_answered() {
    let mut client = ClientState::new(Variant::Delta);
    assert!(!client.lacks_answers(), "nothing is watched");
    client.watch(&EDS, Subscription::named(["found", "absent", "refused"]), None, Instant::now());
    client.connected();
    said(&mut client);
    for (nonce, added, removed, lacking) in [
        ("1", vec![("found", "1")], vec![], true),
        ("2", vec![], vec!["absent"], true),
        ("3", vec![("refused", "1")], vec![], false),
    ] {
        client.handle(response(&EDS, nonce, &added, &removed), Instant::now());
        let (_, id) = told(&mut client).unwrap();
        let verdict = match nonce {
            "3" => Verdict::Rejected { message: "no".into(), resources: vec![] },
            _ => Verdict::Accepted,
        };
        client.answer(&EDS, id, verdict);
        assert_eq!(client.lacks_answers(), lacking, "{nonce}");
    }
    client.disconnected();
    assert!(!client.lacks_answers());
    client.watch(&CDS, Subscription::Wildcard, None, Instant::now());
    assert!(client.lacks_answers());
}
