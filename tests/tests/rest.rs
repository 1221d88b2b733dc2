//! Envoy that polls by REST and JSON.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mesh_tests::{
    bootstrapped::{Bootstrapped, socket_address},
    process, wait,
};
use mesh_xds::{
    Resource,
    server::{ListenConfig, XdsServer, serve},
    store::{Batch, SingleView, View},
};
use mesh_xds_api::json::any_from_value;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(20);

fn resource(value: &Value) -> Resource {
    Resource::from_any(any_from_value(value).expect("a message")).expect("a name")
}

/// A listener that answers with `body` itself.
fn listener(body: &str) -> Resource {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    resource(&json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": "web",
        "address": socket_address(anywhere),
        "filter_chains": [{ "filters": [{ "name": "http", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "web",
            "http_filters": [{ "name": "router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            } }],
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
                { "match": { "prefix": "/" }, "direct_response": { "status": 200, "body": { "inline_string": body } } },
            ] }] },
        } }] }],
    }))
}

fn cluster(name: &str) -> Resource {
    resource(&json!({
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "load_assignment": { "cluster_name": name },
    }))
}

fn bootstrap(xds: SocketAddr) -> Value {
    let source = json!({ "resource_api_version": "V3", "api_config_source": {
        "api_type": "REST",
        "transport_api_version": "V3",
        "cluster_names": ["xds"],
        "refresh_delay": "0.05s",
        "request_timeout": "2s",
    } });
    json!({
        "node": { "id": "polls", "cluster": "tests" },
        "admin": { "address": socket_address(([127, 0, 0, 1], 0).into()) },
        "dynamic_resources": { "cds_config": source, "lds_config": source },
        "static_resources": { "clusters": [{
            "name": "xds",
            "type": "STATIC",
            "load_assignment": { "cluster_name": "xds", "endpoints": [{ "lb_endpoints": [
                { "endpoint": { "address": socket_address(xds) } },
            ] }] },
        }] },
    })
}

async fn start(view: &Arc<View>) -> (XdsServer, SocketAddr) {
    let server = XdsServer::builder(SingleView(view.clone())).build();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a listener has an address");
    let config = ListenConfig { http1: true, ..Default::default() };
    tokio::spawn(serve(listener, None, server.rest_router().into(), config, server.stopped()));
    (server, address)
}

#[test]
fn envoy_polls_and_sees_changes() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let view = View::new();
    view.replace([cluster("one"), listener("first")]);
    let (server, xds) = runtime.block_on(start(&view));
    let envoy = Bootstrapped::start(&bootstrap(xds));
    let body = || Some(process::get(envoy.listener("web")?, "web", "/", &[]).ok()?.body);
    wait::until("the first answer", PATIENCE, || body().filter(|b| b == "first"));

    // Nothing changes: Envoy takes "not modified" for what it is.
    let before = server.metrics().fetches_unchanged;
    wait::until("polls without news", PATIENCE, || (server.metrics().fetches_unchanged > before + 3).then_some(()));
    view.update(Batch::new().put(listener("second")).put(cluster("two")));
    wait::until("the second answer", PATIENCE, || body().filter(|b| b == "second"));
    wait::until("the second cluster", PATIENCE, || (envoy.stat("cluster_manager.active_clusters") == 3).then_some(()));
    for stat in ["cluster_manager.cds", "listener_manager.lds"] {
        let (failed, refused) = (format!("{stat}.update_failure"), format!("{stat}.update_rejected"));
        assert_eq!((envoy.stat(&failed), envoy.stat(&refused)), (0, 0), "{}", envoy.log());
        assert_eq!(envoy.stat(&format!("{stat}.update_success")), 2, "one success for each content");
    }
    server.shutdown();
}
