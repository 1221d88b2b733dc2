//! mesh-proxy under an xDS server on another gRPC stack: listener, route, cluster and endpoint changes.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use mesh_tests::{
    peer,
    process::{self, Process},
    wait,
};
use serde_json::{Value, json};

const TYPE: &str = "type.googleapis.com/envoy.";
const SOON: Duration = Duration::from_secs(10);

/// Answers every request with its name, on connections that close.
fn backend(name: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                let mut seen = Vec::new();
                while !seen.windows(4).any(|w| w == b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(0) | Err(_) => return,
                        Ok(n) => seen.extend_from_slice(&buffer[..n]),
                    }
                }
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{name}",
                    name.len()
                );
            });
        }
    });
    port
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn ads() -> Value {
    json!({"ads": {}, "resource_api_version": "V3"})
}

fn listener(name: &str, port: u16) -> Value {
    json!({
        "@type": format!("{TYPE}config.listener.v3.Listener"), "name": name, "address": address(port),
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {
            "@type": format!("{TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "front", "rds": {"config_source": ads(), "route_config_name": "r"},
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": format!("{TYPE}extensions.filters.http.router.v3.Router")}}],
        }}]}],
    })
}

fn routes(cluster: &str) -> Value {
    json!({
        "@type": format!("{TYPE}config.route.v3.RouteConfiguration"), "name": "r",
        "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}]}],
    })
}

fn cluster(name: &str) -> Value {
    json!({
        "@type": format!("{TYPE}config.cluster.v3.Cluster"), "name": name, "type": "EDS", "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": ads()},
    })
}

fn endpoints(cluster: &str, ports: &[u16]) -> Value {
    let endpoints: Vec<Value> = ports.iter().map(|p| json!({"endpoint": {"address": address(*p)}})).collect();
    json!({
        "@type": format!("{TYPE}config.endpoint.v3.ClusterLoadAssignment"), "cluster_name": cluster,
        "endpoints": [{"locality": {"region": "r"}, "load_balancing_weight": 1, "lb_endpoints": endpoints}],
    })
}

fn write(folder: &Path, name: &str, resources: &[Value]) {
    let temporary = folder.join(format!("{name}.tmp"));
    fs::write(&temporary, Value::from(resources).to_string())
        .and_then(|()| fs::rename(temporary, folder.join(name)))
        .expect("resources can be written");
}

struct Setup {
    folder: tempfile::TempDir,
    server: Process,
    proxy: Process,
    front: SocketAddr,
    admin: SocketAddr,
}

impl Setup {
    fn start(api_type: &str, resources: &[Value], front: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let dir = folder.path().join("resources");
        fs::create_dir(&dir).expect("a folder can be made");
        write(&dir, "all.json", resources);
        let mut command = Command::new(peer::python());
        command.arg(peer::script("foreign_xds.py")).arg(&dir);
        let server = Process::start(&mut command, &folder.path().join("server.log"));
        let port = wait::until("the foreign server's port", Duration::from_secs(30), || {
            let first: Value = serde_json::from_str(server.output().lines().next()?).ok()?;
            first["port"].as_u64()
        });
        let bootstrap = json!({
            "node": {"id": "test", "cluster": "test"},
            "admin": {"address": address(0)},
            "dynamic_resources": {
                "ads_config": {"api_type": api_type, "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]},
                "cds_config": ads(), "lds_config": ads(),
            },
            "static_resources": {"clusters": [{
                "name": "xds", "type": "STATIC", "connect_timeout": "1s",
                "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": format!("{TYPE}extensions.upstreams.http.v3.HttpProtocolOptions"),
                    "explicit_http_config": {"http2_protocol_options": {}},
                }},
                "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port as u16)}}]}]},
            }]},
        });
        let file = folder.path().join("bootstrap.json");
        fs::write(&file, bootstrap.to_string()).expect("the bootstrap can be written");
        let admin_file = folder.path().join("admin");
        let mut command = Command::new(peer::mesh());
        command.args(["proxy", "--concurrency", "2", "-c"]).arg(&file).arg("--admin-address-path").arg(&admin_file);
        let mut proxy = Process::start(&mut command, &folder.path().join("proxy.log"));
        let admin = wait::until("the proxy's admin address", SOON, || {
            assert!(proxy.ended().is_none(), "{}", proxy.output());
            fs::read_to_string(&admin_file).ok()?.trim().parse().ok()
        });
        Self { folder, server, proxy, front: (Ipv4Addr::LOCALHOST, front).into(), admin }
    }

    fn change(&self, resources: &[Value]) {
        write(&self.folder.path().join("resources"), "all.json", resources);
    }

    fn answer(&self) -> Option<String> {
        let answer = process::get(self.front, "any", "/", &[]).ok()?;
        Some(if answer.status == 200 { answer.body } else { answer.status.to_string() })
    }

    fn becomes(&self, what: &str, answer: &str) {
        wait::until(&format!("{what}\n{}\n{}", self.server.output(), self.proxy.output()), SOON, || {
            (self.answer().as_deref() == Some(answer)).then_some(())
        });
    }

    fn events(&self, event: &str) -> Vec<Value> {
        let lines = self.server.output();
        lines.lines().filter_map(|l| serde_json::from_str(l).ok()).filter(|v: &Value| v["event"] == event).collect()
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a port").port()
}

fn drive(api_type: &str) {
    let (a, b, front, second) = (backend("a"), backend("b"), free_port(), free_port());
    let base = [listener("front", front), routes("one"), cluster("one"), endpoints("one", &[a])];
    let mut setup = Setup::start(api_type, &base, front);
    setup.becomes("the first configuration", "a");

    setup.change(&[listener("front", front), routes("one"), cluster("one"), endpoints("one", &[b])]);
    setup.becomes("another endpoint", "b");

    let two = [
        listener("front", front),
        routes("two"),
        cluster("one"),
        cluster("two"),
        endpoints("one", &[b]),
        endpoints("two", &[a]),
    ];
    setup.change(&two);
    setup.becomes("another route and cluster", "a");

    // A listener more.
    let mut more = two.to_vec();
    more.push(listener("second", second));
    setup.change(&more);
    wait::until("a second listener", SOON, || {
        process::get((Ipv4Addr::LOCALHOST, second).into(), "any", "/", &[]).ok().filter(|a| a.status == 200)
    });

    // One that cannot be carried is refused by name, and the rest stays.
    let mut bad = more.clone();
    let mut refused = listener("bad", free_port());
    refused["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][0]["typed_config"]["start_child_span"] =
        json!(true);
    refused["filter_chains"][0]["filters"][0]["typed_config"]["proxy_status_config"] =
        json!({"set_recommended_response_code": true});
    bad.push(refused);
    setup.change(&bad);
    let nack = wait::until("a NACK", SOON, || setup.events("nack").into_iter().next_back());
    let message = nack["message"].as_str().expect("a message");
    assert!(message.contains("bad") && message.contains("proxy_status_config"), "{message}");
    assert_eq!(setup.answer().as_deref(), Some("a"));

    // Listener removed: its port closes.
    setup.change(&two);
    wait::until("the second listener is gone", SOON, || {
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, second)).is_err().then_some(())
    });

    // The server goes away: traffic goes on.
    setup.server.signal("KILL");
    setup.server.wait(SOON);
    for _ in 0..10 {
        assert_eq!(setup.answer().as_deref(), Some("a"));
    }
    assert_eq!(process::get(setup.admin, "admin", "/ready", &[]).expect("admin answers").status, 200);
    let dump = process::get(setup.admin, "admin", "/config_dump?include_eds", &[]).expect("admin answers");
    assert!(dump.body.contains("\"front\"") && dump.body.contains("\"two\""), "{}", dump.body);

    setup.proxy.signal("TERM");
    assert!(setup.proxy.wait(Duration::from_secs(20)).success(), "{}", setup.proxy.output());
}

#[test]
fn delta() {
    drive("DELTA_GRPC");
}

#[test]
fn state_of_the_world() {
    drive("GRPC");
}
