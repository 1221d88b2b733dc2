//! The store keeps the last good version of every object in force.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use mesh_config::{
    Code, DirectoryScanner, Event, Level, ObjectChange, Parsed, Snapshot, State, Store, StoreOptions,
    model::{DestinationRule, VirtualService},
    parse,
};

const BASE: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
";

fn route(subset: &str, weight: u32) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {{host: reviews, subset: {subset}}}
      weight: {weight}
    - destination: {{host: reviews, subset: v1}}
      weight: 40
"
    )
}

fn applied(text: &str) -> Vec<ObjectChange> {
    let Parsed { objects, diagnostics, .. } = parse("test.yaml", text);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    objects.into_iter().map(ObjectChange::Applied).collect()
}

fn started(text: &str) -> (Store, State) {
    let mut store = Store::new(StoreOptions::default());
    let state = store.apply(Event::Snapshot(applied(text)));
    (store, state)
}

fn subset_in_force(snapshot: &Snapshot) -> String {
    let service = snapshot.find::<VirtualService>("default", "reviews").unwrap();
    service.spec.http[0].route[0].destination.as_ref().unwrap().subset.clone().unwrap()
}

fn codes(state: &State) -> Vec<Code> {
    state.diagnostics.iter().map(|finding| finding.code).collect()
}

#[test]
fn a_whole_set_then_a_change() {
    let (mut store, state) = started(&format!("{BASE}---{}", route("v2", 60)));
    assert!(state.ready && state.diagnostics.is_empty(), "{:?}", state.diagnostics);
    assert_eq!((state.snapshot.version(), state.change.added.len()), (1, 3));
    let state = store.apply(Event::Changes(applied(&route("v1", 60))));
    assert_eq!((state.snapshot.version(), state.change.changed.len()), (2, 1));
    assert_eq!(subset_in_force(&state.snapshot), "v1");
    let state = store.apply(Event::Changes(applied(&route("v1", 60))));
    assert_eq!((state.snapshot.version(), state.change.is_empty()), (2, true));
}

#[test]
fn a_weight_sum_of_130_is_held_back() {
    let (mut store, _) = started(&format!("{BASE}---{}", route("v2", 60)));
    let state = store.apply(Event::Changes(applied(&route("v1", 90))));
    assert_eq!(subset_in_force(&state.snapshot), "v2");
    assert!(state.change.is_empty());
    let error = state.diagnostics.iter().find(|finding| finding.is_error()).unwrap();
    assert!(error.message.contains("130"), "{error}");
    assert_eq!((error.position.line, &*error.path), (8, "spec.http[0].route"));
    assert!(codes(&state).contains(&Code::HeldBack));
    let state = store.apply(Event::Changes(applied(&route("v1", 60))));
    assert_eq!(subset_in_force(&state.snapshot), "v1");
    assert!(state.diagnostics.is_empty());
}

#[test]
fn an_invalid_version_is_set_aside() {
    let (mut store, _) = started(&format!("{BASE}---{}", route("v2", 60)));
    let state = store.apply(Event::Changes(applied(&route("v1", 60).replace("weight: 40", "weight: -40"))));
    assert_eq!(subset_in_force(&state.snapshot), "v2");
    assert_eq!(codes(&state), [Code::SchemaValidationError, Code::HeldBack]);
    assert_eq!(state.diagnostics[0].path, "spec.http[0].route[1].weight");
}

#[test]
fn a_version_that_does_not_fit_is_held_until_it_does() {
    let (mut store, _) = started(&format!("{BASE}---{}", route("v2", 60)));
    let state = store.apply(Event::Changes(applied(&route("v3", 60))));
    assert_eq!(subset_in_force(&state.snapshot), "v2");
    assert_eq!(codes(&state), [Code::HeldBack, Code::ReferencedResourceNotFound]);
    let more = BASE.split("---").nth(1).unwrap().to_owned() + "  - {name: v3, labels: {version: v3}}\n";
    let state = store.apply(Event::Changes(applied(&more)));
    assert_eq!(subset_in_force(&state.snapshot), "v3");
    assert!(state.diagnostics.is_empty());
    assert_eq!(state.change.changed.len(), 2);
}

#[test]
fn a_version_that_breaks_others_is_held_until_they_follow() {
    let (mut store, _) = started(&format!("{BASE}---{}", route("v2", 60)));
    let rule = BASE.split("---").nth(1).unwrap();
    let less = rule.replace("  - {name: v2, labels: {version: v2}}\n", "");
    let subsets = |state: &State| state.snapshot.all::<DestinationRule>().next().unwrap().spec.subsets.len();
    let state = store.apply(Event::Changes(applied(&less)));
    assert_eq!((subsets(&state), codes(&state)), (2, vec![Code::HeldBack, Code::ReferencedResourceNotFound]));
    // Something else changes: nothing is let go.
    let state = store.apply(Event::Changes(applied(&BASE.split("---").next().unwrap().replace("9080", "9081"))));
    assert_eq!((subsets(&state), state.change.changed.len()), (2, 1));
    let state = store.apply(Event::Changes(applied(&route("v1", 60))));
    assert_eq!(subsets(&state), 1);
    assert!(state.diagnostics.is_empty(), "{:?}", state.diagnostics);
}

#[test]
fn without_a_good_version_it_goes_in_with_findings() {
    let (_, state) = started(&format!("{BASE}---{}", route("v9", 60)));
    assert_eq!(subset_in_force(&state.snapshot), "v9");
    assert_eq!(codes(&state), [Code::ReferencedResourceNotFound]);
}

#[test]
fn without_a_good_version_an_invalid_object_stays_out() {
    let (mut store, state) = started(&format!("{BASE}---{}", route("v1", 60).replace("weight: 40", "weight: -40")));
    assert!(state.snapshot.find::<VirtualService>("default", "reviews").is_none());
    let key = state.diagnostics[0].key.clone().unwrap();
    let state = store.apply(Event::Changes(vec![ObjectChange::Deleted(key)]));
    assert!(state.diagnostics.is_empty());
}

#[test]
fn a_new_whole_set_drops_what_it_lacks() {
    let (mut store, _) = started(&format!("{BASE}---{}", route("v2", 60)));
    let state = store.apply(Event::Snapshot(applied(BASE)));
    assert_eq!(state.change.removed.len(), 1);
    assert_eq!(state.snapshot.len(), 2);
}

#[test]
fn a_failing_source_changes_nothing() {
    let (mut store, before) = started(BASE);
    let missing = DirectoryScanner::new(["/nonexistent/folder"]).scan().unwrap_err();
    let state = store.apply(Event::Failed(vec![missing.diagnostic()]));
    assert!(state.source_failed && state.ready);
    assert_eq!(state.diagnostics[0].level, Level::Error);
    assert!(before.snapshot.diff(&state.snapshot).is_empty());
    let state = store.apply(Event::Changes(Vec::new()));
    assert!(!state.source_failed && state.diagnostics.is_empty());
    assert!(state.snapshot.all::<DestinationRule>().next().is_some());
}
