//! Priorities of endpoints.

use mesh_xds::store::Batch;

use crate::{grpc::Implementation, resources::endpoints_by_priority, world::World};

with_every! {
    the_next_priority_takes_over: Core Node Go;
}

/// A27, A56: a priority is used while none before it can be reached.
fn the_next_priority_takes_over(implementation: Implementation) {
    let world = World::new();
    let (a, b, c) = (world.backend("a"), world.backend("b"), world.backend("c"));
    world.service("s", &[a.address]);
    world.update(Batch::new().put(endpoints_by_priority("s", &[&[a.address], &[b.address]])));
    let mut client = world.client(implementation);
    client.open("s", "xds:///s");
    client.reaches("s", &["a"]);
    let gone = a.address;
    drop(a);
    client.reaches("s", &["b"]);
    world.update(Batch::new().put(endpoints_by_priority("s", &[&[gone, c.address], &[b.address]])));
    client.reaches("s", &["c"]);
}
