//! Resources that a client refuses.

use mesh_tests::wait;
use mesh_xds::{Origin, TypeUrl, store::Batch};
use serde_json::{Value, json};

use crate::{
    grpc::{Grpc, Implementation, PATIENCE},
    resources::{cluster_with, listener, route_to, routes},
    world::{NODE, World},
};

with_every! {
    a_refused_route_leaves_the_last_good_one: Core Node Go;
    a_refused_cluster_spoils_no_other: Core Node Go;
}

/// Routes that gRPC refuses.
pub(crate) fn weightless(cluster: &str) -> Value {
    let clusters = json!([{"name": cluster, "weight": 0}]);
    json!([{"match": {"prefix": ""}, "route": {"weighted_clusters": {"clusters": clusters}}}])
}

/// A28: weights whose sum is nothing are refused.
fn a_refused_route_leaves_the_last_good_one(implementation: Implementation) {
    let world = World::new();
    let (a, b) = (world.backend("a"), world.backend("b"));
    world.service("s", &[a.address]);
    world.service("b", &[b.address]);
    let mut client = world.client(implementation);
    client.open("s", "xds:///s");
    client.reaches("s", &["a"]);
    client.flow("s");

    let bad = weightless("b");
    let origin = Origin::object("VirtualService", "default", "s");
    world.update(Batch::new().put(routes("s", &bad).with_origin(origin.clone())));
    let (node, nack) = world.management.nack();
    assert_eq!((node.as_str(), &nack.type_url), (NODE, &TypeUrl::ROUTE));
    assert!(nack.message.contains("weight"), "{}", nack.message);
    let culprits: Vec<_> = nack.culprits().map(|r| (r.name.as_str(), r.origin.as_ref())).collect();
    assert_eq!(culprits, [("s", Some(&origin))]);
    world.management.until(NODE, &TypeUrl::ROUTE, "s", Some("NACKED"));
    client.reaches("s", &["a"]);

    world.update(Batch::new().put(route_to("s", "b")));
    client.reaches("s", &["b"]);
    world.management.until(NODE, &TypeUrl::ROUTE, "s", Some("ACKED"));
    client.stop().assert_unbroken();
    // The refused bytes were sent once.
    assert_eq!(world.management.other_nacks(), []);
}

/// A46: of a response, what is good is used, and the refusal tells what is not.
fn a_refused_cluster_spoils_no_other(implementation: Implementation) {
    let world = World::new();
    let (a, b, c) = (world.backend("a"), world.backend("b"), world.backend("c"));
    world.service("bad", &[a.address]);
    world.service("good", &[b.address]);
    world.service("elsewhere", &[c.address]);
    let table = json!([
        {"match": {"path": "/echo.Echo/Bad"}, "route": {"cluster": "bad"}},
        {"match": {"prefix": ""}, "route": {"cluster": "good"}},
    ]);
    world.update(Batch::new().put(listener("s", "s")).put(routes("s", &table)));
    let mut client = world.client(implementation);
    client.open("s", "xds:///s");
    client.reaches("s", &["b"]);
    client.flow("s");
    let of_bad = |client: &mut Grpc| client.call("s", "/echo.Echo/Bad", &json!({}));
    assert_eq!(of_bad(&mut client).as_deref(), Ok("a"));

    // A27: a policy that gRPC does not have. The other cluster changes in the same response.
    let bad = cluster_with("bad", "elsewhere", &json!({"lb_policy": "MAGLEV"}));
    world.update(Batch::new().put(bad).put(cluster_with("good", "elsewhere", &json!({}))));
    let (node, nack) = world.management.nack();
    assert_eq!((node.as_str(), &nack.type_url), (NODE, &TypeUrl::CLUSTER));
    let culprits: Vec<_> = nack.culprits().map(|r| r.name.as_str()).collect();
    assert_eq!(culprits, ["bad"], "{}", nack.message);
    world.management.until(NODE, &TypeUrl::CLUSTER, "bad", Some("NACKED"));
    client.reaches("s", &["c"]);
    assert_eq!(of_bad(&mut client).as_deref(), Ok("a"));

    world.update(Batch::new().put(cluster_with("bad", "good", &json!({}))));
    wait::until("the mended cluster is used", PATIENCE, || (of_bad(&mut client).as_deref() == Ok("b")).then_some(()));
    for name in ["good", "bad"] {
        world.management.until(NODE, &TypeUrl::CLUSTER, name, Some("ACKED"));
    }
    client.stop().assert_unbroken();
}
