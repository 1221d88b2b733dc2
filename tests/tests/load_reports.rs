//! Envoy that reports its load.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use mesh_tests::{
    bootstrapped::{Bootstrapped, socket_address},
    process, wait,
};
use mesh_xds::{
    server::{LoadReporting, LoadSettings, LoadTotal, LoadTotals, XdsServer},
    store::{SingleView, View},
    testing::{RecordingLoadObserver, TestServer},
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that answers each request, on a connection of its own: well, or with 500 if its path says so.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a listener has an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = Vec::new();
            let mut chunk = [0; 1024];
            while !request.windows(4).any(|w| w == b"\r\n\r\n") {
                match stream.read(&mut chunk) {
                    Ok(n @ 1..) => request.extend_from_slice(&chunk[..n]),
                    _ => break,
                }
            }
            let status = if request.starts_with(b"GET /bad") { "500 No" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

fn http2() -> Value {
    json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": { "http2_protocol_options": {} },
    } })
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": { "cluster_name": name, "endpoints": [{
            "locality": { "region": "here" },
            "lb_endpoints": [{ "endpoint": { "address": socket_address(address) } }],
        }] },
    })
}

fn bootstrap(management: SocketAddr, upstream: SocketAddr) -> Value {
    let mut xds = cluster("xds", management);
    xds["typed_extension_protocol_options"] = http2();
    json!({
        "node": { "id": "reports", "cluster": "tests" },
        "admin": { "address": socket_address(([127, 0, 0, 1], 0).into()) },
        "cluster_manager": { "load_stats_config": {
            "api_type": "GRPC",
            "transport_api_version": "V3",
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds" } }],
        } },
        "static_resources": {
            "clusters": [xds, cluster("backend", upstream)],
            "listeners": [{
                "name": "web",
                "address": socket_address(([127, 0, 0, 1], 0).into()),
                "filter_chains": [{ "filters": [{ "name": "http", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": "web",
                    "http_filters": [{ "name": "router", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    } }],
                    "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
                        { "match": { "prefix": "/" }, "route": { "cluster": "backend" } },
                    ] }] },
                } }] }],
            }],
        },
    })
}

#[test]
fn what_envoy_reports_is_what_it_sent() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let (totals, recorded) = (LoadTotals::default(), RecordingLoadObserver::default());
    let (sums, memory) = (totals.clone(), recorded.clone());
    let observer = move |reporter: &mesh_xds::server::LoadReporter, clusters: &[_]| {
        mesh_xds::server::LoadObserver::observe(&sums, reporter, clusters);
        mesh_xds::server::LoadObserver::observe(&memory, reporter, clusters);
    };
    let settings = LoadSettings { interval: Duration::from_millis(200), per_endpoint: true, ..Default::default() };
    let reporting = LoadReporting::new(observer).settings(settings);
    let builder = XdsServer::builder(SingleView(View::new()));
    let server = runtime.block_on(TestServer::start_with_load(builder, reporting)).expect("a free port");
    let upstream = upstream();
    let envoy = Bootstrapped::start(&bootstrap(server.address(), upstream));
    let web = wait::until("the listener", PATIENCE, || envoy.listener("web"));
    wait::until("the first report", PATIENCE, || (recorded.reports().len() > 1).then_some(()));
    for (path, times, status) in [("/", 20, 200), ("/bad", 5, 500)] {
        for _ in 0..times {
            assert_eq!(process::get(web, "web", path, &[]).expect("an answer").status, status);
        }
    }
    let expected = LoadTotal { issued: 25, successful: 20, errors: 5, dropped: 0 };
    let all = || totals.totals().get("backend").copied();
    wait::until("everything is reported", PATIENCE, || all().filter(|sum| sum.issued >= expected.issued));
    // What is reported is not reported again.
    let so_far = recorded.reports().len();
    wait::until("more reports", PATIENCE, || (recorded.reports().len() > so_far + 2).then_some(()));
    assert_eq!(all(), Some(expected), "{:?}\n{}", totals.totals(), envoy.log());

    let reports = recorded.reports();
    assert!(reports.iter().all(|(reporter, _)| reporter.node.id() == "reports"));
    let endpoints = reports.iter().flat_map(|(_, clusters)| clusters).filter(|c| c.cluster_name == "backend");
    let endpoints = endpoints.flat_map(|c| &c.upstream_locality_stats).flat_map(|l| &l.upstream_endpoint_stats);
    assert_eq!(endpoints.map(|e| e.total_issued_requests).sum::<u64>(), 25);
}
