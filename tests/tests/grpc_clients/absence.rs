//! Resources that are not there: not yet, or no more.

use mesh_tests::wait;
use mesh_xds::{TypeUrl, store::Batch};
use serde_json::json;

use crate::{
    grpc::{Implementation, PATIENCE},
    resources::{cluster_with, listener},
    world::{NODE, World, plaintext},
};

with_every! {
    a_name_that_is_unknown_fails_in_time_and_recovers: Core Node Go;
    what_is_deleted_fails_until_it_is_back: Core Node Go;
    a_client_may_be_told_to_ignore_deletions: Core Node Go;
}

/// A57: after fifteen seconds without it, a resource does not exist.
fn a_name_that_is_unknown_fails_in_time_and_recovers(implementation: Implementation) {
    let world = World::new();
    let a = world.backend("a");
    let mut client = world.client(implementation);
    client.open("s", "xds:///s");
    if implementation != Implementation::Node {
        // JavaScript lets its calls wait on.
        let error = client.fails("s");
        assert!(error.starts_with("UNAVAILABLE"), "{error}");
    }
    client.flow("s");
    let asked = || (world.management.server().metrics().acks > 0).then_some(());
    wait::until("the empty answer is accepted", PATIENCE, asked);
    world.service("s", &[a.address]);
    client.reaches("s", &["a"]);
    client.stop();
}

/// "Resource removal" in the protocol's text, and A27: a listener or cluster that is left out of a response is deleted.
fn what_is_deleted_fails_until_it_is_back(implementation: Implementation) {
    let world = World::new();
    let (a, b) = (world.backend("a"), world.backend("b"));
    world.service("s", &[a.address]);
    world.service("other", &[b.address]);
    let mut client = world.client(implementation);
    client.open("s", "xds:///s");
    client.open("other", "xds:///other");
    client.reaches("s", &["a"]);
    client.reaches("other", &["b"]);
    client.flow("other");
    // What comes back is another: JavaScript overlooks what is as it was before.
    let elsewhere = cluster_with("s", "other", &json!({}));
    for (type_url, again) in [(TypeUrl::CLUSTER, elsewhere), (TypeUrl::LISTENER, listener("s", "other"))] {
        world.update(Batch::new().remove(type_url, "s"));
        let error = client.fails("s");
        assert!(error.starts_with("UNAVAILABLE"), "{error}");
        world.update(Batch::new().put(again));
        client.reaches("s", &["b"]);
    }
    client.stop().assert_unbroken();
    assert_eq!(world.management.server().metrics().nacks, 0);
}

/// A53: `ignore_resource_deletion`.
fn a_client_may_be_told_to_ignore_deletions(implementation: Implementation) {
    let world = World::new();
    let (a, b) = (world.backend("a"), world.backend("b"));
    world.service("s", &[a.address]);
    let mut server = plaintext(world.management.address);
    server["server_features"] = json!(["xds_v3", "ignore_resource_deletion"]);
    let mut client = world.client_with(implementation, &json!({"xds_servers": [server]}));
    client.open("s", "xds:///s");
    client.reaches("s", &["a"]);
    client.flow("s");
    world.management.view.replace([]);
    for type_url in [TypeUrl::LISTENER, TypeUrl::CLUSTER] {
        world.management.until(NODE, &type_url, "s", None);
    }
    client.reaches("s", &["a"]);
    world.service("s", &[b.address]);
    client.reaches("s", &["b"]);
    client.stop().assert_unbroken();
}
