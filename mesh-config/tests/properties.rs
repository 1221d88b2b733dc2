//! What must hold for any configuration, however it came about.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::sync::Arc;

use mesh_config::{Diagnostic, Event, Object, ObjectChange, Store, StoreOptions, load_str, parse};
use proptest::prelude::*;

/// Valid objects of several kinds, one value in a line.
const OBJECTS: [&str; 6] = [
    "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts:
  - reviews.example.com
  http:
  - name: first
    match:
    - uri:
        prefix: /a
      port: 80
    timeout: 3s
    retries:
      attempts: 2
      perTryTimeout: 1s
      retryOn: 5xx
    route:
    - destination:
        host: reviews
        port:
          number: 9080
      weight: 100
",
    "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: reviews
spec:
  host: reviews
  trafficPolicy:
    loadBalancer:
      simple: ROUND_ROBIN
    connectionPool:
      tcp:
        maxConnections: 10
        connectTimeout: 3s
  subsets:
  - name: v1
    labels:
      version: v1
",
    "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: outside
spec:
  hosts:
  - example.com
  location: MESH_EXTERNAL
  resolution: DNS
  ports:
  - name: http
    number: 80
    protocol: HTTP
",
    "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: allow
spec:
  action: DENY
  rules:
  - to:
    - operation:
        paths:
        - /admin
        ports:
        - \"8080\"
    when:
    - key: source.ip
      values:
      - 10.0.0.0/8
",
    "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: route
spec:
  parentRefs:
  - name: gateway
    sectionName: http
  hostnames:
  - example.com
  rules:
  - matches:
    - path:
        type: PathPrefix
        value: /a
      method: GET
    timeouts:
      request: 3s
    backendRefs:
    - name: reviews
      port: 80
      weight: 1
",
    "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: gateway
spec:
  gatewayClassName: mesh
  listeners:
  - name: http
    port: 80
    protocol: HTTP
    hostname: example.com
",
];

fn errors(text: &str) -> Vec<Diagnostic> {
    load_str("case.yaml", text).diagnostics.into_iter().filter(Diagnostic::is_error).collect()
}

/// A text with one line changed: a letter put into its key, or its value replaced. The head of the object stays.
fn mutated(text: &str, pick: usize, into_key: bool, value: &str) -> (String, usize) {
    let lines: Vec<&str> = text.lines().collect();
    let own: Vec<usize> = (0..lines.len()).filter(|at| *at > 3 && !lines[*at].starts_with("spec")).collect();
    let at = own[pick % own.len()];
    let line = lines[at];
    let changed = match line.split_once(": ") {
        Some((key, _)) if !into_key => format!("{key}: {value}"),
        Some((key, old)) => format!("{key}x: {old}"),
        None if line.ends_with(':') => line.replace(':', "x:"),
        None => format!("{}- {value}", &line[..line.find('-').unwrap()]),
    };
    let mut lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
    lines[at] = changed;
    (lines.join("\n"), at + 1)
}

fn values() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[0-9]{1,6}",
        Just("-1".to_owned()),
        Just("'!! ??'".to_owned()),
        Just("{a: b}".to_owned())
    ]
}

#[test]
fn the_objects_are_valid() {
    for text in OBJECTS {
        assert_eq!(errors(text), [], "{text}");
    }
}

#[test]
fn the_round_trip_loses_nothing() {
    for text in OBJECTS {
        let first = parse("a.yaml", text).objects.remove(0);
        let group = &first.api_version;
        let spec = serde_json::to_value(&first.spec).unwrap();
        let written = serde_json::json!({
            "apiVersion": group, "kind": first.kind().as_str(), "metadata": {"name": first.name()}, "spec": spec,
        });
        let again = parse("a.json", &written.to_string());
        assert!(again.diagnostics.is_empty(), "{:?}", again.diagnostics);
        assert_eq!(again.objects[0].spec, first.spec, "{text}");
    }
}

/// Objects that depend on each other, of which some are missing now and then.
fn pool() -> Vec<Arc<Object>> {
    let mut text = String::new();
    for index in 0..3 {
        text.push_str(&format!(
            "---
apiVersion: v1
kind: Service
metadata: {{name: s{index}}}
spec: {{ports: [{{name: http, port: 80}}, {{port: 81}}], selector: {{app: s{index}}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: d{index}}}
spec: {{host: s{index}, subsets: [{{name: v1, labels: {{version: v1}}}}]}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: g{index}}}
spec: {{selector: {{istio: ingressgateway}}, servers: [{{port: {{number: 80, name: p, protocol: HTTP}}, hosts: ['*']}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: p{index}, labels: {{app: s{index}, version: v1}}}}
"
        ));
    }
    let parsed = parse("pool.yaml", &text);
    assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
    parsed.objects
}

fn store_of(objects: &[Arc<Object>]) -> Vec<String> {
    let changes = objects.iter().cloned().map(ObjectChange::Applied).collect();
    let state = Store::new(StoreOptions::default()).apply(Event::Snapshot(changes));
    state.diagnostics.iter().map(ToString::to_string).collect()
}

proptest! {
    #[test]
    fn an_error_of_a_changed_line_points_at_it(
        which in 0..OBJECTS.len(), pick in 0..100_usize, into_key: bool, value in values(),
    ) {
        let (text, line) = mutated(OBJECTS[which], pick, into_key, &value);
        let found = errors(&text);
        let here = found.iter().any(|finding| finding.position.line as usize == line);
        prop_assert!(found.is_empty() || here, "line {line} of\n{text}\n{found:?}");
    }

    #[test]
    fn changes_one_by_one_give_what_the_whole_gives(steps in proptest::collection::vec((0..12_usize, any::<bool>()), 1..30)) {
        let pool = pool();
        let mut store = Store::new(StoreOptions::default());
        store.apply(Event::Snapshot(Vec::new()));
        let mut there = vec![false; pool.len()];
        let mut last = Vec::new();
        for (index, add) in steps {
            there[index] = add;
            let change = if add {
                ObjectChange::Applied(Arc::clone(&pool[index]))
            } else {
                ObjectChange::Deleted(pool[index].key().clone())
            };
            let state = store.apply(Event::Changes(vec![change]));
            last = state.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>();
        }
        let whole: Vec<_> = pool.iter().zip(&there).filter(|(_, there)| **there).map(|(object, _)| Arc::clone(object)).collect();
        prop_assert_eq!(last, store_of(&whole));
    }
}
