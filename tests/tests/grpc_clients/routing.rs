//! Routes, splits and endpoints, and their changes.

use mesh_xds::{TypeUrl, store::Batch};
use serde_json::json;

use crate::{
    backend::NEVER,
    grpc::{Implementation, WHO},
    resources::{cluster, endpoints, listener, route_to, routes},
    world::{NODE, World},
};

with_every! {
    a_call_finds_its_backend: Core Node Go;
    traffic_is_split_by_weight: Core Node Go;
    paths_and_headers_decide: Core Node Go;
    endpoints_are_followed: Core Node Go;
    routes_move_between_clusters_that_come_and_go: Core Node Go;
    // Not the C core: it takes the start of a call from a cycle counter that can be seconds off in a virtual machine.
    the_routes_time_limit_ends_a_call: Node Go;
}

/// A27, A30: LDS, RDS, CDS and EDS, each asked for by the one before.
fn a_call_finds_its_backend(implementation: Implementation) {
    let world = World::new();
    let (a, b) = (world.backend("a"), world.backend("b"));
    world.service("greeter", &[a.address]);
    world.service("other", &[b.address]);
    let mut client = world.client(implementation);
    client.open("greeter", "xds:///greeter");
    client.reaches("greeter", &["a"]);
    client.open("other", "xds:///other");
    client.reaches("other", &["b"]);
    for type_url in [TypeUrl::LISTENER, TypeUrl::ROUTE, TypeUrl::CLUSTER, TypeUrl::ENDPOINT] {
        for name in ["greeter", "other"] {
            world.management.until(NODE, &type_url, name, Some("ACKED"));
        }
    }
    let metrics = world.management.server().metrics();
    assert_eq!((metrics.nacks, metrics.acks), (0, metrics.pushes));
}

/// A28: weighted clusters.
fn traffic_is_split_by_weight(implementation: Implementation) {
    let world = World::new();
    let (a, b) = (world.backend("a"), world.backend("b"));
    world.service("a", &[a.address]);
    world.service("b", &[b.address]);
    let split = |a: u32, b: u32| {
        let clusters = json!([{"name": "a", "weight": a}, {"name": "b", "weight": b}]);
        routes("split", &json!([{"match": {"prefix": ""}, "route": {"weighted_clusters": {"clusters": clusters}}}]))
    };
    world.update(Batch::new().put(listener("split", "split")).put(split(80, 20)));
    let mut client = world.client(implementation);
    client.open("split", "xds:///split");
    client.reaches("split", &["a", "b"]);
    let calls = client.calls("split", 1000);
    calls.assert_unbroken();
    // 800 is expected; the deviation is 12.6, and five of them are exceeded once in two million runs.
    assert!((737..=863).contains(&calls.answers["a"]), "{calls:?}");

    world.update(Batch::new().put(split(0, 100)));
    client.reaches("split", &["b"]);
}

/// A28: paths and headers. The first route that matches is taken.
fn paths_and_headers_decide(implementation: Implementation) {
    let world = World::new();
    let (a, b, c) = (world.backend("a"), world.backend("b"), world.backend("c"));
    for (name, backend) in [("a", &a), ("b", &b), ("c", &c)] {
        world.service(name, &[backend.address]);
    }
    let version = |value: &str| json!([{"name": "x-version", "string_match": {"exact": value}}]);
    let table = json!([
        {"match": {"path": "/echo.Echo/Exact"}, "route": {"cluster": "b"}},
        {"match": {"prefix": "/echo.Echo/", "headers": version("2")}, "route": {"cluster": "c"}},
        {"match": {"safe_regex": {"regex": "/[a-z]+\\.Numbers/.*"}}, "route": {"cluster": "b"}},
        {"match": {"prefix": "/echo."}, "route": {"cluster": "a"}},
    ]);
    world.update(Batch::new().put(listener("table", "table")).put(routes("table", &table)));
    let mut client = world.client(implementation);
    client.open("table", "xds:///table");
    client.reaches("table", &["a"]);
    let mut ask = |path: &str, version: &str| client.call("table", path, &json!({"x-version": version}));
    assert_eq!(ask("/echo.Echo/Exact", "2").as_deref(), Ok("b"));
    assert_eq!(ask(WHO, "2").as_deref(), Ok("c"));
    assert_eq!(ask(WHO, "1").as_deref(), Ok("a"));
    assert_eq!(ask("/echo.Numbers/Who", "1").as_deref(), Ok("b"));
    let none = ask("/elsewhere.Service/Who", "1").unwrap_err();
    assert!(none.starts_with("UNAVAILABLE"), "{none}");
}

/// A27: endpoints added and removed, while calls go on.
fn endpoints_are_followed(implementation: Implementation) {
    let world = World::new();
    let (a, b) = (world.backend("a"), world.backend("b"));
    world.service("s", &[a.address]);
    let mut client = world.client(implementation);
    client.open("s", "xds:///s");
    client.reaches("s", &["a"]);
    client.flow("s");
    world.update(Batch::new().put(endpoints("s", &[a.address, b.address])));
    client.reaches("s", &["a", "b"]);
    world.update(Batch::new().put(endpoints("s", &[b.address])));
    client.reaches("s", &["b"]);
    drop(a);
    client.stop().assert_unbroken();
}

/// Make before break: each update adds a cluster, moves the route to it, and removes the one before, all at once.
fn routes_move_between_clusters_that_come_and_go(implementation: Implementation) {
    const ROUNDS: usize = 12;
    let world = World::new();
    let backends = [world.backend("a"), world.backend("b")];
    let of_round = |round: usize| {
        let name = format!("c{round}");
        [listener("s", "s"), route_to("s", &name), cluster(&name), endpoints(&name, &[backends[round % 2].address])]
    };
    world.management.view.replace(of_round(0));
    let mut client = world.client(implementation);
    client.open("s", "xds:///s");
    client.reaches("s", &["a"]);
    client.flow("s");
    for round in 1..ROUNDS {
        world.management.view.replace(of_round(round));
        client.reaches("s", &[["a", "b"][round % 2]]);
    }
    client.stop().assert_unbroken();
    world.management.until(NODE, &TypeUrl::CLUSTER, &format!("c{}", ROUNDS - 1), Some("ACKED"));
    world.management.until(NODE, &TypeUrl::CLUSTER, "c0", None);
    let metrics = world.management.server().metrics();
    assert_eq!((metrics.nacks, metrics.holds_expired), (0, 0));
}

/// A31: `max_stream_duration`.
fn the_routes_time_limit_ends_a_call(implementation: Implementation) {
    let world = World::new();
    let a = world.backend("a");
    world.service("s", &[a.address]);
    let action = json!({"cluster": "s", "max_stream_duration": {"max_stream_duration": "0.2s"}});
    world.update(Batch::new().put(routes("s", &json!([{"match": {"prefix": ""}, "route": action}]))));
    let mut client = world.client(implementation);
    client.open("s", "xds:///s");
    client.reaches("s", &["a"]);
    let began = std::time::Instant::now();
    let error = client.call("s", NEVER, &json!({})).unwrap_err();
    assert!(error.starts_with("DEADLINE_EXCEEDED"), "{error}");
    // The call itself has twenty seconds.
    assert!(began.elapsed().as_secs() < 10, "{error}");
}
