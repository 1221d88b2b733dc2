//! From files on disk to the state in force, as a control plane follows them.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::{path::Path, time::Duration};

use mesh_config::{Code, DirectorySource, State, StoreOptions, model::VirtualService, watch};
use tokio::sync::watch::Receiver;

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
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
";

fn route(weights: (u32, u32), last: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  http:
  - route:
    - {{destination: {{host: reviews, subset: v1}}, weight: {}}}
    - {{destination: {{host: reviews, subset: {last}}}, weight: {}}}
",
        weights.0, weights.1
    )
}

async fn until(states: &mut Receiver<State>, what: &str, test: impl FnMut(&State) -> bool) -> State {
    let found = tokio::time::timeout(Duration::from_secs(10), states.wait_for(test)).await;
    let found = found.ok().map(|state| state.unwrap().clone());
    found.unwrap_or_else(|| panic!("never came: {what}; the state is {:?}", states.borrow().diagnostics))
}

fn weight(state: &State) -> Option<i32> {
    state.snapshot.find::<VirtualService>("default", "reviews")?.spec.http[0].route[0].weight
}

fn has(state: &State, code: Code, line: u32) -> bool {
    let here = |file: &str| Path::new(file).ends_with("route.yaml");
    state.diagnostics.iter().any(|found| found.code == code && found.position.line == line && here(&found.file))
}

#[tokio::test]
async fn a_broken_file_leaves_the_last_good_configuration_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("route.yaml");
    std::fs::write(folder.path().join("base.yaml"), BASE).unwrap();
    std::fs::write(&file, route((90, 10), "v2")).unwrap();
    let mut states = watch(DirectorySource::new([folder.path()]), StoreOptions::default());
    let state = until(&mut states, "the first state", |state| state.ready).await;
    assert_eq!((weight(&state), state.diagnostics.len()), (Some(90), 0));

    let faults = [
        ("bad YAML", route((0, 100), "v2").replace("hosts: [reviews]", "hosts: [reviews"), Code::Syntax, 6),
        ("a weight sum of 130", route((30, 100), "v2"), Code::WeightSum, 7),
        ("an unknown subset", route((0, 100), "v9"), Code::ReferencedResourceNotFound, 9),
        ("a misspelt field", route((0, 100), "v2").replace("http:", "htp:"), Code::SchemaValidationError, 6),
        ("a misspelt kind", route((0, 100), "v2").replace("VirtualService", "VirtualServce"), Code::UnknownKind, 2),
        ("no kind", route((0, 100), "v2").replace("kind:", "kin:"), Code::NotAnObject, 1),
    ];
    for (what, text, code, line) in faults {
        std::fs::write(&file, text).unwrap();
        let state = until(&mut states, what, |state| has(state, code, line)).await;
        assert_eq!(weight(&state), Some(90), "{what}");
    }
    std::fs::write(&file, route((0, 100), "v2")).unwrap();
    let state = until(&mut states, "the mended file", |state| weight(state) == Some(0)).await;
    assert!(state.diagnostics.is_empty(), "{:?}", state.diagnostics);

    std::fs::remove_file(&file).unwrap();
    until(&mut states, "the deletion", |state| state.snapshot.len() == 2).await;
}
