//! Ten thousand objects are read, checked and followed without a cost that grows out of proportion.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::fmt::Write as _;

use mesh_config::{Code, Event, ObjectChange, Store, StoreOptions, parse};

#[test]
fn ten_thousand_objects() {
    const SERVICES: usize = 3_334;
    let mut text = String::new();
    for index in 0..SERVICES {
        write!(
            text,
            "---
apiVersion: v1
kind: Service
metadata: {{name: s{index}, namespace: n{}}}
spec: {{ports: [{{name: http, port: 80}}], selector: {{app: s{index}}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: s{index}, namespace: n{}}}
spec: {{host: s{index}, subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: s{index}, namespace: n{}}}
spec:
  hosts: [s{index}]
  http:
  - match: [{{uri: {{prefix: /a}}}}]
    timeout: 3s
    route:
    - {{destination: {{host: s{index}, subset: v1}}, weight: 90}}
    - {{destination: {{host: s{index}, subset: v2}}, weight: 10}}
",
            index % 50,
            index % 50,
            index % 50
        )
        .unwrap();
    }
    let start = std::time::Instant::now();
    let parsed = parse("all.yaml", &text);
    println!("read {} bytes: {:?}", text.len(), start.elapsed());
    assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics.first());
    let last = parsed.objects.last().unwrap().clone();

    let mut store = Store::new(StoreOptions::default());
    let start = std::time::Instant::now();
    let state = store.apply(Event::Snapshot(parsed.objects.into_iter().map(ObjectChange::Applied).collect()));
    println!("checked: {:?}", start.elapsed());
    // There are no pods, so that every subset is without.
    assert!(state.diagnostics.iter().all(|finding| finding.code == Code::SubsetWithoutPods));
    assert_eq!((state.snapshot.len(), state.diagnostics.len()), (3 * SERVICES, 2 * SERVICES));

    let start = std::time::Instant::now();
    let state = store.apply(Event::Changes(vec![ObjectChange::Applied(last)]));
    println!("one change: {:?}", start.elapsed());
    assert!(state.change.is_empty());
}
