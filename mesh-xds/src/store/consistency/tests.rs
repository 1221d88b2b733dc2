//! The gate, held against the whole check.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use mesh_xds_api::json::any_from_value;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    protocol::server::Ledger,
    store::{Batch, Changed, View},
};

/// Names a resource as `CDS/a`.
fn key(text: &str) -> ResourceKey {
    let (kind, name) = text.split_once('/').unwrap();
    let kinds = [TypeUrl::CLUSTER, TypeUrl::ENDPOINT, TypeUrl::LISTENER, TypeUrl::ROUTE, TypeUrl::SECRET];
    ResourceKey::new(kinds.into_iter().find(|k| k.short() == Some(kind)).unwrap(), name)
}

fn of(message: &Value) -> Resource {
    Resource::from_any(any_from_value(message).unwrap()).unwrap()
}

/// `CDS/a` with endpoints and a secret if they are wanted, `RDS/a` to clusters, a bare `EDS/a` or `SDS/a`.
fn resource(from: &str, to: &[&str]) -> Resource {
    let ResourceKey { type_url, name } = key(from);
    let (url, name) = (type_url.as_str(), name.as_str());
    let ads = json!({"ads": {}});
    let named = |kind: &'static str| to.iter().filter_map(move |t| t.strip_prefix(kind));
    of(&match type_url.short().unwrap() {
        "CDS" => {
            let eds = named("EDS/").next().map(|name| json!({"eds_config": ads, "service_name": name}));
            let secret = |name| json!({"name": name, "sds_config": ads});
            let secrets: Vec<Value> = named("SDS/").map(secret).collect();
            let tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
            let tls = json!({"@type": tls, "common_tls_context": {"tls_certificate_sds_secret_configs": secrets}});
            json!({"@type": url, "name": name, "eds_cluster_config": eds,
                "transport_socket": {"name": "tls", "typed_config": tls}})
        }
        "RDS" => {
            let route = |cluster| json!({"match": {"prefix": "/"}, "route": {"cluster": cluster}});
            let routes: Vec<Value> = named("CDS/").map(route).collect();
            json!({"@type": url, "name": name, "virtual_hosts": [{"name": "h", "domains": ["*"], "routes": routes}]})
        }
        "EDS" => json!({"@type": url, "cluster_name": name}),
        _ => json!({"@type": url, "name": name}),
    })
}

fn put(resources: &[(&str, &[&str])]) -> Batch {
    resources.iter().map(|(from, to)| resource(from, to)).collect()
}

fn remove(batch: Batch, text: &str) -> Batch {
    let ResourceKey { type_url, name } = key(text);
    batch.remove(type_url, name)
}

/// What dangles, as `CDS/a>EDS/b`.
fn told(dangling: &[Dangling]) -> Vec<String> {
    dangling.iter().map(|d| format!("{}>{}", d.from, d.to)).collect()
}

fn refused(result: Result<Changed, Inconsistent>) -> Vec<String> {
    told(&result.unwrap_err().dangling)
}

fn writer() -> ConsistentWriter {
    ConsistentWriter::new(View::new(), External::none())
}

#[test]
fn a_put_must_resolve_within_the_batch_or_the_view() {
    let writer = writer();
    let half = put(&[("RDS/r", &["CDS/a", "CDS/b"]), ("CDS/a", &[])]);
    assert_eq!(refused(writer.update(half)), ["RDS/r>CDS/b"]);
    assert!(writer.view().is_empty(), "nothing of a refused batch is done");
    let whole = put(&[("RDS/r", &["CDS/a", "CDS/b"]), ("CDS/a", &[]), ("CDS/b", &["EDS/b"]), ("EDS/b", &[])]);
    assert_eq!(writer.update(whole).unwrap().put.len(), 4);
    assert_eq!(writer.update(put(&[("RDS/s", &["CDS/a"])])).unwrap().put, [key("RDS/s")]);
}

#[test]
fn what_is_referred_to_must_stay() {
    let writer = writer();
    writer.update(put(&[("RDS/r", &["CDS/a"]), ("RDS/s", &["CDS/a"]), ("CDS/a", &[])])).unwrap();
    let before = writer.view().revision();
    assert_eq!(refused(writer.update(remove(Batch::new(), "CDS/a"))), ["RDS/r>CDS/a", "RDS/s>CDS/a"]);
    let one_lets_go = remove(put(&[("RDS/r", &[])]), "CDS/a");
    assert_eq!(refused(writer.update(one_lets_go.clone())), ["RDS/s>CDS/a"]);
    assert_eq!(writer.view().revision(), before);
    let all_let_go = remove(one_lets_go, "RDS/s");
    let changed = writer.update(all_let_go).unwrap();
    assert_eq!(changed.removed, [key("CDS/a"), key("RDS/s")]);
}

#[test]
fn the_last_word_of_a_batch_counts() {
    let writer = writer();
    writer.update(put(&[("RDS/r", &["CDS/a"]), ("CDS/a", &[])])).unwrap();
    let came_back = remove(Batch::new(), "CDS/a").put(resource("CDS/a", &[]));
    assert!(writer.update(came_back).is_ok());
    let went_again = remove(Batch::new().put(resource("CDS/a", &[])), "CDS/a");
    assert_eq!(refused(writer.update(went_again)), ["RDS/r>CDS/a"]);
    let other_word = Batch::new().put(resource("RDS/r", &["CDS/x"])).put(resource("RDS/r", &["CDS/a"]));
    assert!(writer.update(other_word).is_ok());
}

#[test]
fn a_name_that_was_removed_may_come_back() {
    let writer = writer();
    for _ in 0..3 {
        writer.update(put(&[("RDS/r", &["CDS/a"]), ("CDS/a", &["EDS/a"]), ("EDS/a", &[])])).unwrap();
        assert_eq!(refused(writer.update(remove(Batch::new(), "EDS/a"))), ["CDS/a>EDS/a"]);
        writer.update(["RDS/r", "EDS/a", "CDS/a"].into_iter().fold(Batch::new(), remove)).unwrap();
        assert_eq!(refused(writer.update(put(&[("RDS/r", &["CDS/a"])]))), ["RDS/r>CDS/a"]);
    }
}

#[test]
fn replace_is_held_to_the_same() {
    let writer = writer();
    let set = |resources: &[(&str, &[&str])]| resources.iter().map(|(f, t)| resource(f, t)).collect::<Vec<_>>();
    writer.replace(set(&[("RDS/r", &["CDS/a"]), ("CDS/a", &[])])).unwrap();
    assert_eq!(refused(writer.replace(set(&[("RDS/r", &["CDS/a"])]))), ["RDS/r>CDS/a"]);
    assert_eq!(writer.view().len(), 2);
    let changed = writer.replace(set(&[("RDS/r", &["CDS/b"]), ("CDS/b", &[])])).unwrap();
    assert_eq!((changed.put.len(), changed.removed.len()), (2, 1));
}

#[test]
fn what_is_elsewhere_need_not_be_here() {
    let external = External::from_iter([key("CDS/static")]);
    let writer = ConsistentWriter::new(View::new(), external);
    assert_eq!(refused(writer.update(put(&[("RDS/r", &["CDS/static", "CDS/a"])]))), ["RDS/r>CDS/a"]);
    writer.update(put(&[("RDS/r", &["CDS/static"]), ("CDS/static", &[])])).unwrap();
    writer.update(remove(Batch::new(), "CDS/static")).unwrap();
}

#[test]
fn what_others_break_must_be_mended_first() {
    let writer = writer();
    writer.update(put(&[("RDS/r", &["CDS/a"]), ("CDS/a", &[]), ("CDS/b", &[])])).unwrap();
    writer.view().update(remove(put(&[("RDS/s", &["CDS/x"])]), "CDS/a"));
    assert_eq!(told(&writer.dangling()), ["RDS/r>CDS/a", "RDS/s>CDS/x"]);
    assert_eq!(refused(writer.update(put(&[("CDS/x", &[])]))), ["RDS/r>CDS/a"]);
    writer.update(put(&[("CDS/x", &[]), ("RDS/r", &["CDS/b"])])).unwrap();
    assert_eq!(writer.dangling(), []);
    // One that comes later takes note of what is there.
    writer.view().update(remove(Batch::new(), "CDS/b"));
    let later = ConsistentWriter::new(writer.view().clone(), External::none());
    assert_eq!(told(&later.dangling()), ["RDS/r>CDS/b"]);
}

#[test]
fn removals_that_the_view_forgot_are_found_missing() {
    let writer = writer();
    writer.update(put(&[("RDS/r", &["CDS/a"]), ("CDS/a", &[])])).unwrap();
    assert_eq!(writer.dangling(), []);
    let followed = writer.view().revision();
    writer.view().update(remove(Batch::new(), "CDS/a"));
    for i in 0..Ledger::MAX_REMOVALS {
        let name = format!("CDS/{i}");
        writer.view().update(put(&[(&name, &[])]));
        writer.view().update(remove(Batch::new(), &name));
    }
    assert!(writer.view().read(|ledger| ledger.forgot_since(followed)));
    assert_eq!(told(&writer.dangling()), ["RDS/r>CDS/a"]);
}

#[test]
fn every_place_is_told_with_its_origin() {
    let origin = Origin::object("VirtualService", "default", "shop");
    let table = resource("RDS/r", &["CDS/x", "CDS/x"]).with_origin(origin.clone());
    let refused = writer().update(Batch::new().put(table)).unwrap_err();
    assert_eq!(refused.dangling[1].origin, Some(origin));
    let place = |i| {
        let place = format!("virtual_hosts[0].routes[{i}].route.cluster");
        format!("RDS/r (from VirtualService default/shop): {place}: there is no CDS/x")
    };
    let expected = format!("the update would leave references to nothing: {}; {}", place(0), place(1));
    assert_eq!(refused.to_string(), expected);
    let many = writer().update(put(&[("RDS/r", &["CDS/x"; 6])])).unwrap_err();
    assert!(many.to_string().ends_with("; and 2 more"), "{many}");
}

#[test]
fn what_the_check_sets_aside_is_not_there() {
    let nameless = json!({"name": ""});
    let bad = |name: &str| {
        let message = json!({"@type": TypeUrl::CLUSTER.as_str(), "name": name, "transport_socket": nameless});
        Batch::new().put(of(&message))
    };
    let writer = writer();
    let refused = writer.update(bad("a").put(resource("RDS/r", &["CDS/a"]))).unwrap_err();
    assert_eq!(told(&refused.dangling), ["RDS/r>CDS/a"]);
    assert!(refused.to_string().contains("; refused before: CDS a: "), "{refused}");
    assert!(writer.view().refused().is_empty(), "as if it had not been tried");
    writer.update(put(&[("CDS/a", &[])])).unwrap();
    // What was there before stays, and that is enough.
    let changed = writer.update(bad("a").put(resource("RDS/r", &["CDS/a"]))).unwrap();
    assert_eq!((changed.put.len(), changed.refused.len()), (1, 1));
    assert_eq!(writer.view().refused().len(), 1);
    assert!(writer.update(remove(Batch::new(), "CDS/a")).is_err());
    assert_eq!(writer.view().refused().len(), 1, "the removal was not done");
    assert!(writer.replace([resource("RDS/r", &["CDS/a"])]).is_err());
    assert_eq!(writer.view().refused().len(), 1);
    writer.update(put(&[("CDS/a", &["SDS/own"]), ("SDS/own", &[])])).unwrap();
    assert!(writer.view().refused().is_empty());
}

/// An external that holds nothing, and how often it was asked: once for each reference that is looked at.
fn counting() -> (External, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let count = move |_: &ResourceKey| {
        counter.fetch_add(1, Ordering::Relaxed);
        false
    };
    (External::when(count), asked)
}

#[test]
fn an_update_costs_what_it_touches() {
    for size in [10, 1_000] {
        let (external, asked) = counting();
        let writer = ConsistentWriter::new(View::new(), external);
        let mut all = Vec::new();
        for i in 0..size {
            let (cluster, endpoints) = (format!("CDS/{i}"), format!("EDS/{i}"));
            all.push(resource(&cluster, &[&endpoints, "SDS/own"]));
            all.push(resource(&endpoints, &[]));
            all.push(resource(&format!("RDS/{i}"), &[&cluster]));
        }
        all.push(resource("SDS/own", &[]));
        writer.replace(all.clone()).unwrap();
        // What was done last is followed with the next, whatever it is.
        writer.update(Batch::new()).unwrap();
        let cost = |batch: Batch| {
            asked.store(0, Ordering::Relaxed);
            writer.update(batch).unwrap();
            writer.update(Batch::new()).unwrap();
            asked.load(Ordering::Relaxed)
        };
        // Checked once and followed once, with each of its keys: a table with two references is three keys.
        assert_eq!(cost(put(&[("RDS/0", &["CDS/0", "CDS/1"])])), 2 + 3, "{size}");
        assert_eq!(cost(put(&[("RDS/0", &["CDS/0", "CDS/1"])])), 0, "nothing differs");
        assert_eq!(cost(put(&[("RDS/new", &["CDS/3"]), ("CDS/new", &[])])), 1 + 3);
        // Nobody refers to a table: removing one is followed with its two clusters.
        assert_eq!(cost(remove(Batch::new(), "RDS/0")), 3);
        // A secret that all refer to changes: none of them is looked at.
        let secret = json!({"@type": TypeUrl::SECRET.as_str(), "name": "own", "generic_secret": {}});
        assert_eq!(cost(Batch::new().put(of(&secret))), 1);
        asked.store(0, Ordering::Relaxed);
        assert!(writer.replace(all).is_ok());
        assert!(asked.load(Ordering::Relaxed) < 12, "only the difference is looked at");
    }
}

/// One resource or its removal; few names, so that they meet.
fn step() -> impl Strategy<Value = (String, Option<Vec<String>>)> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let targets = |kind: &'static str| {
        let names = prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "static"]), 0..3);
        names.prop_map(move |names| names.into_iter().map(|n| format!("{kind}/{n}")).collect::<Vec<_>>())
    };
    let both = (targets("EDS"), targets("SDS")).prop_map(|(eds, sds)| [eds, sds].concat());
    prop_oneof![
        (name(), targets("CDS")).prop_map(|(n, to)| (format!("RDS/{n}"), Some(to))),
        (name(), both).prop_map(|(n, to)| (format!("CDS/{n}"), Some(to))),
        (prop::sample::select(vec!["EDS", "SDS"]), name()).prop_map(|(k, n)| (format!("{k}/{n}"), Some(vec![]))),
        (prop::sample::select(vec!["CDS", "EDS", "RDS", "SDS"]), name()).prop_map(|(k, n)| (format!("{k}/{n}"), None)),
    ]
}

/// How an update is done.
#[derive(Debug, Clone, Copy)]
enum Way {
    Update,
    Replace,
    /// Past the gate.
    Around,
}

type Set = BTreeMap<ResourceKey, Resource>;

fn apply(set: &mut Set, steps: &[(String, Option<Vec<String>>)]) -> Batch {
    let mut batch = Batch::new();
    for (name, to) in steps {
        if let Some(to) = to {
            let made = resource(name, &to.iter().map(String::as_str).collect::<Vec<_>>());
            set.insert(key(name), made.clone());
            batch = batch.put(made);
        } else {
            set.remove(&key(name));
            batch = remove(batch, name);
        }
    }
    batch
}

fn content(view: &View) -> Set {
    view.snapshot().into_iter().map(|(key, resource)| (key, (*resource).clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_verdict_is_that_of_the_whole_check(updates in prop::collection::vec(
        (prop::collection::vec(step(), 1..8), prop::sample::select(vec![Way::Update, Way::Update, Way::Replace, Way::Around])),
        1..16,
    )) {
        let external = External::from_iter(["CDS/static", "EDS/static"].map(key));
        let writer = ConsistentWriter::new(View::new(), external.clone());
        for (steps, way) in updates {
            let before = content(writer.view());
            let mut wanted = if matches!(way, Way::Replace) { Set::new() } else { before.clone() };
            let batch = apply(&mut wanted, &steps);
            let expected = dangling(wanted.values(), &external);
            let result = match way {
                Way::Update => writer.update(batch),
                Way::Replace => writer.replace(wanted.values().cloned()),
                Way::Around => Ok(writer.view().update(batch)),
            };
            match result {
                Err(refused) => {
                    prop_assert_eq!(&refused.dangling, &expected);
                    prop_assert_eq!(content(writer.view()), before);
                    prop_assert!(!expected.is_empty());
                }
                Ok(_) => {
                    prop_assert!(expected.is_empty() || matches!(way, Way::Around), "{:?}", expected);
                    prop_assert_eq!(content(writer.view()), wanted);
                }
            }
            let now = content(writer.view());
            prop_assert_eq!(writer.dangling(), dangling(now.values(), &external));
        }
    }
}
