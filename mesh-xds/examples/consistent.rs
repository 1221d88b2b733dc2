//! A view in which every reference leads somewhere: `cargo run -p mesh-xds --example consistent`.
//!
//! Puts a cluster with endpoints behind the gate, then tries what would break it, and prints what the gate says.

use mesh_xds::{
    Resource, ResourceKey, TypeUrl,
    store::{Batch, Changed, ConsistentWriter, External, Inconsistent, View},
};
use mesh_xds_api::json::any_from_value;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What clients have in their bootstrap need not be here.
    let bootstrap = External::from_iter([ResourceKey::new(TypeUrl::CLUSTER, "fallback")]);
    let writer = ConsistentWriter::new(View::new(), bootstrap);

    let to = |name| json!({"match": {"prefix": "/"}, "route": {"cluster": name}});
    let table = |name| {
        let host = json!({"name": "all", "domains": ["*"], "routes": [to(name), to("fallback")]});
        resource(&json!({"@type": TypeUrl::ROUTE.as_str(), "name": "shop", "virtual_hosts": [host]}))
    };
    let eds = json!({"eds_config": {"ads": {}}});
    let cluster = resource(
        &json!({"@type": TypeUrl::CLUSTER.as_str(), "name": "one", "type": "EDS", "eds_cluster_config": eds}),
    )?;
    let endpoints = resource(&json!({"@type": TypeUrl::ENDPOINT.as_str(), "cluster_name": "one"}))?;

    let half = Batch::new().put(table("one")?).put(cluster.clone());
    told("a route and its cluster, without endpoints", writer.update(half));
    let whole = Batch::new().put(table("one")?).put(cluster).put(endpoints);
    told("all three", writer.update(whole));
    told("the cluster goes", writer.update(Batch::new().remove(TypeUrl::CLUSTER, "one")));
    let moved = Batch::new().put(table("fallback")?).remove(TypeUrl::CLUSTER, "one").remove(TypeUrl::ENDPOINT, "one");
    told("the route moves, then the cluster goes", writer.update(moved));
    // Streams are served from `writer.view()`, as in any other example: `XdsServer::builder(SingleView(view))`.
    println!("{} resource left", writer.view().len());
    Ok(())
}

fn resource(message: &Value) -> Result<Resource, Box<dyn std::error::Error>> {
    Ok(Resource::from_any(any_from_value(message)?)?)
}

fn told(what: &str, result: Result<Changed, Inconsistent>) {
    match result {
        Ok(changed) => println!("{what}: {} put, {} removed", changed.put.len(), changed.removed.len()),
        Err(refused) => println!("{what}: refused: {refused}"),
    }
}
