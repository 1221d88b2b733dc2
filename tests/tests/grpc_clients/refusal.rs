//! Resources that a client refuses.

use mesh_xds::{Origin, TypeUrl, store::Batch};
use serde_json::json;

use crate::{
    grpc::Implementation,
    resources::{listener, listener_with, route_to, routes},
    world::{NODE, World},
};

with_every! {
    a_refused_route_leaves_the_last_good_one: Core Node Go;
    a_refused_listener_spoils_no_other: Core Node Go;
}

/// A28: a regular expression that cannot be read is refused.
fn a_refused_route_leaves_the_last_good_one(implementation: Implementation) {
    let world = World::new();
    let (a, b) = (world.backend("a"), world.backend("b"));
    world.service("s", &[a.address]);
    world.service("b", &[b.address]);
    let mut client = world.client(implementation);
    client.open("s", "xds:///s");
    client.reaches("s", &["a"]);
    client.flow("s");

    let bad = json!([{"match": {"safe_regex": {"regex": "(unclosed"}}, "route": {"cluster": "b"}}]);
    let origin = Origin::object("VirtualService", "default", "s");
    world.update(Batch::new().put(routes("s", &bad).with_origin(origin.clone())));
    let (node, nack) = world.management.nack();
    assert_eq!((node.as_str(), &nack.type_url), (NODE, &TypeUrl::ROUTE));
    assert!(nack.message.contains("egex"), "{}", nack.message);
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

/// A46: of a response, what is good is used, and the refusal names what is not.
fn a_refused_listener_spoils_no_other(implementation: Implementation) {
    let world = World::new();
    let (a, b) = (world.backend("a"), world.backend("b"));
    world.service("good", &[a.address]);
    world.service("b", &[b.address]);
    let mut client = world.client(implementation);
    client.open("good", "xds:///good");
    client.reaches("good", &["a"]);
    client.open("b", "xds:///b");
    client.reaches("b", &["b"]);
    client.flow("good");

    // No router: the chain of filters has no end (A39).
    let bad = listener_with("b", "b", &json!([]));
    world.update(Batch::new().put(bad).put(listener("good", "b")));
    let (node, nack) = world.management.nack();
    assert_eq!((node.as_str(), &nack.type_url), (NODE, &TypeUrl::LISTENER));
    let culprits: Vec<_> = nack.culprits().map(|r| r.name.as_str()).collect();
    assert_eq!(culprits, ["b"], "{}", nack.message);
    client.reaches("good", &["b"]);
    client.reaches("b", &["b"]);

    world.update(Batch::new().put(listener("b", "good")));
    client.reaches("b", &["a"]);
    for name in ["good", "b"] {
        world.management.until(NODE, &TypeUrl::LISTENER, name, Some("ACKED"));
    }
    client.stop().assert_unbroken();
}
