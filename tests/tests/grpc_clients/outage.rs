//! A management server that is away for a while.

use mesh_xds::{TypeUrl, store::Batch};
use serde_json::json;

use crate::{
    grpc::Implementation,
    management::Management,
    resources::{cluster, endpoints, listener, route_to},
    world::{NODE, World, plaintext},
};

with_every! {
    no_call_fails_while_the_management_server_is_away: Core Node Go;
    // JavaScript uses the first server only.
    the_next_server_serves_while_the_first_is_away: Core Go;
}

/// The last configuration holds; what changed meanwhile comes after the reconnect.
fn no_call_fails_while_the_management_server_is_away(implementation: Implementation) {
    let mut world = World::new();
    let (a, b) = (world.backend("a"), world.backend("b"));
    world.service("s", &[a.address]);
    let mut client = world.client(implementation);
    client.open("s", "xds:///s");
    client.reaches("s", &["a"]);
    client.flow("s");

    world.management.stop();
    client.reaches("s", &["a"]);
    world.management.start_again();
    for type_url in [TypeUrl::LISTENER, TypeUrl::ROUTE, TypeUrl::CLUSTER, TypeUrl::ENDPOINT] {
        world.management.until(NODE, &type_url, "s", Some("ACKED"));
    }

    world.management.stop();
    // The old cluster stays: in state of the world, a server that starts anew does not know who still uses what.
    world.update(Batch::from_iter([route_to("s", "t"), cluster("t"), endpoints("t", &[b.address])]));
    world.management.start_again();
    client.reaches("s", &["b"]);
    client.stop().assert_unbroken();
    assert_eq!(world.management.server().metrics().nacks, 0);
}

/// A71: servers in order of preference.
fn the_next_server_serves_while_the_first_is_away(implementation: Implementation) {
    let mut world = World::new();
    let (a, b) = (world.backend("a"), world.backend("b"));
    // Other names: Go asks the first server, once it is there, for no name that it already has from the second.
    let chain =
        |name: &str, address| [listener("s", name), route_to(name, name), cluster(name), endpoints(name, &[address])];
    world.update(Batch::from_iter(chain("first", a.address)));
    let second = Management::start(world.runtime.handle(), None);
    second.view.update(Batch::from_iter(chain("second", b.address)));
    world.management.stop();
    let servers = json!([plaintext(world.management.address), plaintext(second.address)]);
    let mut client = world.client_with(implementation, &json!({"xds_servers": servers}));
    client.open("s", "xds:///s");
    client.reaches("s", &["b"]);
    world.management.start_again();
    client.reaches("s", &["a"]);
}
