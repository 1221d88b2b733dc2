//! CSDS (A40): what a client says it holds, beside what the server says the client holds.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::{
    grpc::{Grpc, Implementation},
    refusal::weightless,
    resources::routes,
    world::{NODE, World},
};
use mesh_xds::{TypeUrl, Version, store::Batch};
use mesh_xds_api::envoy::{
    admin::v3::ClientResourceStatus,
    service::status::v3::{
        ClientStatusRequest, client_config::GenericXdsConfig,
        client_status_discovery_service_client::ClientStatusDiscoveryServiceClient,
    },
};

with_every! {
    both_ends_tell_the_same: Core Node Go;
}

/// By type and name.
type Held = BTreeMap<(String, String), GenericXdsConfig>;

/// Asks a CSDS. Every client it tells of must be ours.
fn ask(world: &World, address: SocketAddr) -> Held {
    let response = world.runtime.block_on(async {
        let mut service = ClientStatusDiscoveryServiceClient::connect(format!("http://{address}")).await.unwrap();
        service.fetch_client_status(ClientStatusRequest::default()).await.unwrap().into_inner()
    });
    assert!(response.config.iter().all(|c| c.node.as_ref().is_none_or(|n| n.id == NODE)), "{response:?}");
    let configs = response.config.into_iter().flat_map(|c| c.generic_xds_configs);
    // JavaScript leaves the host out of its type URLs.
    let kind = |c: &GenericXdsConfig| c.type_url.rsplit('/').next().unwrap().to_owned();
    configs.map(|c| ((kind(&c), c.name.clone()), c)).collect()
}

fn of_client(world: &World, client: &Grpc) -> Held {
    ask(world, SocketAddr::from(([127, 0, 0, 1], client.csds)))
}

fn states(held: &Held) -> BTreeMap<(String, String), ClientResourceStatus> {
    held.iter().map(|(key, c)| (key.clone(), c.client_status())).collect()
}

/// The content's own version, which is the server's version of a resource.
fn content(config: &GenericXdsConfig) -> Option<Version> {
    config.xds_config.as_ref().map(|any| Version::of(&any.value))
}

fn both_ends_tell_the_same(implementation: Implementation) {
    let world = World::new();
    let a = world.backend("a");
    world.service("s", &[a.address]);
    let mut client = world.client(implementation);
    client.open("s", "xds:///s");
    client.reaches("s", &["a"]);
    world.management.until(NODE, &TypeUrl::ENDPOINT, "s", Some("ACKED"));

    let (theirs, ours) = (of_client(&world, &client), ask(&world, world.management.address));
    assert_eq!(theirs.len(), 4, "{theirs:?}");
    assert_eq!(states(&theirs), states(&ours));
    assert!(theirs.values().all(|c| c.client_status() == ClientResourceStatus::Acked));
    for (key, config) in &ours {
        assert_eq!(content(&theirs[key]).as_ref().map(Version::as_str), Some(config.version_info.as_str()), "{key:?}");
    }

    let key = (TypeUrl::ROUTE.message_name().to_owned(), "s".to_owned());
    let good = ours[&key].version_info.clone();
    world.update(Batch::new().put(routes("s", &weightless("s"))));
    world.management.until(NODE, &TypeUrl::ROUTE, "s", Some("NACKED"));
    let (theirs, ours) = (of_client(&world, &client), ask(&world, world.management.address));
    assert_eq!(states(&theirs), states(&ours));
    let (theirs, ours) = (&theirs[&key], &ours[&key]);
    assert_eq!(theirs.client_status(), ClientResourceStatus::Nacked);
    let (told, kept) = (theirs.error_state.as_ref().unwrap(), ours.error_state.as_ref().unwrap());
    // The C core begins its own with words that it does not tell the server.
    let told = told.details.strip_prefix("invalid resource: ").unwrap_or(&told.details);
    assert!(kept.details.contains(told), "{told} in {}", kept.details);
    // What the client goes on with, if it says so, is what it had accepted before.
    if let Some(held) = content(theirs) {
        assert_eq!(held.as_str(), good);
    }
}
