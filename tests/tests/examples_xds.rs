//! The servers among mesh-xds' examples, as their headers say to use them, with real Envoy.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use mesh_tests::{
    envoy::{Envoy, socket_address},
    example::{Example, source, yaml},
    process,
    upstream::Upstream,
    wait,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(20);

/// The bootstrap file in the header of `custom_server`, for a server elsewhere.
fn bootstrap(xds: SocketAddr, api_type: &str, node: Value) -> Value {
    let mut file = yaml("custom_server");
    let endpoint = "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address";
    *file.pointer_mut(endpoint).expect("the server's address") = socket_address(xds);
    file["dynamic_resources"]["ads_config"]["api_type"] = api_type.into();
    file["admin"] = json!({ "address": socket_address(([127, 0, 0, 1], 0).into()) });
    file["node"] = node;
    file
}

fn node(id: &str, cluster: &str) -> Value {
    json!({ "id": id, "cluster": cluster })
}

/// Waits until a listener answers with `wanted`.
fn answers(envoy: &Envoy, listener: &str, wanted: &str) {
    wait::until(&format!("{listener} answers {wanted:?}"), PATIENCE, || {
        let answer = process::get(envoy.listener(listener)?, "any", "/", &[]).ok()?;
        (answer.status == 200 && answer.body.trim() == wanted).then_some(())
    });
}

fn upstreams() -> (Runtime, [Upstream; 2]) {
    let runtime = Runtime::new().expect("a runtime can be made");
    let upstreams = [(); 2].map(|()| Upstream::start(runtime.handle(), None));
    (runtime, upstreams)
}

/// A folder with one resource that answers `text` by itself.
fn write(folder: &Path, file: &str, resource: &Value) {
    fs::create_dir_all(folder).expect("a folder can be made");
    fs::write(folder.join(file), resource.to_string()).expect("the resource can be written");
}

fn greeter(text: &str, route: &Value) -> Value {
    let router = json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": text,
        "http_filters": [{ "name": "router", "typed_config": router }],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
    });
    json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": "greeter",
        "address": socket_address(([127, 0, 0, 1], 0).into()),
        "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
    })
}

fn says(text: &str) -> Value {
    json!({ "match": { "prefix": "/" }, "direct_response": { "status": 200, "body": { "inline_string": text } } })
}

#[test]
fn a_custom_server_in_fifty_lines_drives_envoy() {
    let lines = source("custom_server").lines().filter(|line| !line.starts_with("//!")).count();
    assert!(lines <= 50, "{lines} lines");
    let (_runtime, [first, second]) = upstreams();
    for api_type in ["DELTA_GRPC", "GRPC"] {
        let mut server = Example::start("custom_server", &["127.0.0.1:0"]);
        let envoy = Envoy::start("a-proxy", &bootstrap(server.address, api_type, node("a-proxy", "examples")));
        server.tell(&first.address.to_string());
        answers(&envoy, "front", &first.address.to_string());
        server.tell("no address");
        server.line("Err");
        server.tell(&second.address.to_string());
        answers(&envoy, "front", &second.address.to_string());
        server.line("a-proxy Protocol(Acked");
    }
}

#[test]
fn a_generated_server_greets_each_proxy_by_its_name() {
    let mut server = Example::start("generated_server", &["127.0.0.1:0"]);
    let proxies = ["kitchen", "hall"].map(|name| {
        let envoy = Envoy::start(name, &bootstrap(server.address, "DELTA_GRPC", node(name, "examples")));
        answers(&envoy, "greeter", &format!("Hello, {name}"));
        envoy
    });
    server.tell("Good night");
    server.line("2 views made anew");
    for envoy in &proxies {
        answers(envoy, "greeter", &format!("Good night, {}", envoy.node()));
    }
}

#[test]
fn a_linear_store_serves_endpoints_alone() {
    let (_runtime, [first, second]) = upstreams();
    let mut server = Example::start("linear_store", &[]);
    let mut file = bootstrap(server.address, "DELTA_GRPC", node("a-proxy", "examples"));
    let clusters = file["static_resources"]["clusters"].as_array_mut().expect("clusters");
    clusters.push(yaml("linear_store"));
    let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "reviews" } });
    let mut listener = greeter("reviews", &route);
    listener.as_object_mut().expect("an object").remove("@type");
    file["static_resources"]["listeners"] = json!([listener]);
    file["dynamic_resources"] = json!({});
    server.tell(&format!("reviews {}", first.address));
    let envoy = Envoy::start("a-proxy", &file);
    answers(&envoy, "greeter", &first.address.to_string());
    server.tell(&format!("reviews {}", second.address));
    answers(&envoy, "greeter", &second.address.to_string());
    server.tell("reviews");
    server.line("removed: [ResourceKey");
}

#[test]
fn a_snapshot_store_has_one_for_each_group() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let versions = ["edge-1", "edge-2", "inner-1"].map(|version| {
        write(&folder.path().join(version), "greeter.json", &greeter(version, &says(version)));
        folder.path().join(version)
    });
    let mut server = Example::start("snapshot_store", &[]);
    let tell = |server: &mut Example, group: &str, version: &Path| {
        server.tell(&format!("{group} {}", version.display()));
        server.line(&format!("{group}: 1 changed, 0 removed"));
    };
    tell(&mut server, "edge", &versions[0]);
    tell(&mut server, "inner", &versions[2]);
    let start = |group: &str| Envoy::start(group, &bootstrap(server.address, "DELTA_GRPC", node(group, group)));
    let (edge, inner) = (start("edge"), start("inner"));
    answers(&edge, "greeter", "edge-1");
    answers(&inner, "greeter", "inner-1");
    tell(&mut server, "edge", &versions[1]);
    answers(&edge, "greeter", "edge-2");
    tell(&mut server, "edge", &versions[0]);
    answers(&edge, "greeter", "edge-1");
    answers(&inner, "greeter", "inner-1");
}

#[test]
fn a_multiplexed_store_has_several_producers() {
    let (_runtime, [upstream, _]) = upstreams();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (clusters, listeners) = (folder.path().join("clusters"), folder.path().join("listeners"));
    let endpoint = json!({ "endpoint": { "address": socket_address(upstream.address) } });
    let cluster = json!({
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": "app",
        "type": "STATIC",
        "load_assignment": { "cluster_name": "app", "endpoints": [{ "lb_endpoints": [endpoint] }] },
    });
    write(&listeners, "greeter.json", &greeter("early", &says("early")));
    fs::create_dir_all(&clusters).expect("a folder can be made");
    let folders = [&clusters, &listeners].map(|f| f.to_str().expect("a path in UTF-8"));
    let mut server = Example::start("multiplexed_store", &folders);
    let envoy = Envoy::start("a-proxy", &bootstrap(server.address, "DELTA_GRPC", node("a-proxy", "examples")));
    answers(&envoy, "greeter", "early");
    write(&clusters, "app.json", &cluster);
    server.line("clusters: 1 changed, 0 removed");
    let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "app" } });
    write(&listeners, "greeter.json", &greeter("late", &route));
    answers(&envoy, "greeter", &upstream.address.to_string());
    // One producer's removal leaves the other's resources alone.
    fs::remove_file(listeners.join("greeter.json")).expect("the file can be removed");
    server.line("listeners: 0 changed, 1 removed");
    assert_eq!(envoy.names("dynamic_active_clusters"), ["app"]);
}
