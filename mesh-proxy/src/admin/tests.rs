use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use ::http::{Method, Uri};
use http_body_util::BodyExt as _;
use mesh_xds_api::json as proto;
use serde_json::json;

use super::*;
use crate::{
    cluster::testing,
    model::{Address, SecretValue},
    stats::Stats,
};

struct Fake {
    live: bool,
    quits: AtomicUsize,
}

fn at() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(1_795_369_529_468_441)
}

fn version(value: Value) -> ResourceVersion {
    ResourceVersion { version: "v7".into(), config: proto::any_from_value(&value).unwrap(), updated: at() }
}

impl AdminState for Fake {
    fn server_state(&self) -> ServerState {
        if self.live { ServerState::Live } else { ServerState::PreInitializing }
    }

    fn config(&self) -> ConfigDump {
        let cluster = json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "c"});
        let listener = json!({"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "l"});
        let secret = json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "name": "s",
            "tls_certificate": {
                "certificate_chain": {"inline_string": "PEM"},
                "private_key": {"inline_bytes": "c2VjcmV0"}, "password": {"inline_string": "geheim"},
            },
        });
        let error = ResourceError { config: None, version: "v8".into(), at: at(), details: "no".into() };
        let one = |resource: ResourceDump| TypeDump { version: "v7".into(), resources: vec![resource] };
        ConfigDump {
            clusters: one(ResourceDump {
                name: "c".into(),
                active: Some(version(cluster)),
                error: Some(error),
                ..Default::default()
            }),
            listeners: one(ResourceDump { name: "l".into(), warming: Some(version(listener)), ..Default::default() }),
            secrets: one(ResourceDump {
                name: "s".into(),
                is_static: true,
                active: Some(version(secret)),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn clusters(&self) -> Vec<ClusterStatus> {
        let handle = testing::handle(testing::cluster(&["127.0.0.1:9".parse().unwrap()]));
        vec![ClusterStatus { handle, added_via_api: true }]
    }

    fn listeners(&self) -> Vec<ListenerStatus> {
        vec![ListenerStatus { name: "l".into(), addresses: vec![Address::Tcp("127.0.0.1:80".parse().unwrap())] }]
    }

    fn secrets(&self) -> Vec<Arc<Secret>> {
        let names = vec!["spiffe.example".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let value =
            SecretValue::Validation { roots: vec![made.cert.der().clone()], crls: Vec::new(), rules: Arc::default() };
        vec![Arc::new(Secret { name: "ROOTCA".into(), value })]
    }

    fn drain_listeners(&self, request: DrainRequest) {
        assert!(request.graceful && request.inbound_only && !request.skip_exit);
    }

    fn quit(&self) {
        self.quits.fetch_add(1, Ordering::Relaxed);
    }

    fn reopen_logs(&self) {}
}

async fn call(live: bool, method: Method, uri: &str) -> (u16, String) {
    let stats = Stats::default();
    stats.counter("cluster.c.upstream_rq_total").inc();
    let info = ServerInfo {
        version: "mesh-proxy/1".into(),
        started: Instant::now(),
        concurrency: 2,
        drain_time: Duration::from_secs(600),
        node: Node { id: "n".into(), ..Node::default() },
    };
    let admin = Admin::new(stats, Arc::new(Fake { live, quits: AtomicUsize::new(0) }), info);
    let response = handler::answer(&admin, &method, &uri.parse::<Uri>().unwrap());
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(uri: &str) -> (u16, String) {
    call(true, Method::GET, uri).await
}

async fn get_json(uri: &str) -> Value {
    let (status, body) = get(uri).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn readiness() {
    assert_eq!(get("/ready").await, (200, "LIVE\n".into()));
    assert_eq!(call(false, Method::GET, "/ready").await, (503, "PRE_INITIALIZING\n".into()));
    assert_eq!(get_json("/server_info").await["state"], "LIVE");
}

#[tokio::test]
async fn what_changes_something_wants_post() {
    for path in ["/quitquitquit", "/drain_listeners", "/logging", "/reopen_logs"] {
        assert_eq!(get(path).await, (405, "Method GET not allowed, POST required.".into()));
    }
    assert_eq!(call(true, Method::POST, "/quitquitquit").await, (200, "OK\n".into()));
    assert_eq!(call(true, Method::POST, "/drain_listeners?graceful&inboundonly").await, (200, "OK\n".into()));
    assert_eq!(call(true, Method::POST, "/drain_listeners?skip_exit").await.0, 400);
    assert_eq!(call(true, Method::POST, "/logging?level=debug").await.0, 400);
    assert_eq!(get("/nosuch").await.0, 404);
}

#[tokio::test]
async fn statistics() {
    assert_eq!(get("/stats?usedonly").await, (200, "cluster.c.upstream_rq_total: 1\n".into()));
    assert_eq!(get("/stats?filter=nothing").await, (200, String::new()));
    assert_eq!(get_json("/stats?usedonly&format=json").await["stats"][0]["value"], 1);
    let (_, text) = get("/stats/prometheus?usedonly").await;
    assert!(text.contains("envoy_cluster_upstream_rq_total{envoy_cluster_name=\"c\"} 1"), "{text}");
    assert_eq!(text, get("/stats?format=prometheus&usedonly").await.1);
    for bad in ["/stats?filter=(", "/stats?type=Foo", "/stats?format=foo"] {
        assert_eq!(get(bad).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn configuration() {
    let dump = get_json("/config_dump").await;
    let kinds: Vec<_> = dump["configs"].as_array().unwrap().iter().map(|c| c["@type"].as_str().unwrap()).collect();
    let kind = |name: &str| format!("type.googleapis.com/envoy.admin.v3.{name}ConfigDump");
    assert_eq!(kinds, ["Clusters", "Listeners", "Routes", "Secrets"].map(kind));
    let cluster = &dump["configs"][0]["dynamic_active_clusters"][0];
    assert_eq!(cluster["version_info"], "v7");
    assert_eq!(cluster["cluster"]["@type"], "type.googleapis.com/envoy.config.cluster.v3.Cluster");
    assert_eq!(cluster["last_updated"], "2026-11-22T17:45:29.468Z");
    assert_eq!((&cluster["client_status"], &cluster["error_state"]["details"]), (&json!("NACKED"), &json!("no")));
    let listener = &dump["configs"][1]["dynamic_listeners"][0];
    assert_eq!((&listener["name"], &listener["warming_state"]["listener"]["name"]), (&json!("l"), &json!("l")));
    let endpoints = get_json("/config_dump?include_eds").await;
    assert_eq!(endpoints["configs"][1]["@type"], kind("Endpoints"));
    let one = get_json("/config_dump?resource=dynamic_active_clusters").await;
    assert_eq!(one["configs"][0]["@type"], "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.DynamicCluster");
    assert_eq!(one["configs"][0]["cluster"]["name"], "c");
    assert_eq!(get_json("/config_dump?resource=dynamic_active_clusters&name_regex=x").await["configs"], json!([]));
    assert_eq!(get("/config_dump?resource=bogus").await, (404, "bogus not found in config dump".into()));
    assert_eq!(get("/config_dump?mask=bootstrap").await.0, 400);
}

#[tokio::test]
async fn keys_are_not_shown() {
    let (_, text) = get("/config_dump").await;
    assert!(!text.contains("c2VjcmV0") && !text.contains("geheim"), "{text}");
    let secret = &get_json("/config_dump?resource=static_secrets").await["configs"][0]["secret"];
    assert_eq!(secret["tls_certificate"]["private_key"]["inline_bytes"], "W3JlZGFjdGVkXQ==");
    assert_eq!(secret["tls_certificate"]["password"]["inline_string"], "[redacted]");
    assert_eq!(secret["tls_certificate"]["certificate_chain"]["inline_string"], "PEM");
}

#[tokio::test]
async fn clusters_and_listeners() {
    let (_, text) = get("/clusters").await;
    for line in [
        "default_priority::max_connections::1024\n",
        "added_via_api::true\n",
        "::127.0.0.1:9::cx_active::0\n",
        "::127.0.0.1:9::health_flags::healthy\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let json = get_json("/clusters?format=json").await;
    let host = &json["cluster_statuses"][0]["host_statuses"][0];
    assert_eq!(host["address"]["socket_address"], json!({"address": "127.0.0.1", "port_value": 9}));
    assert_eq!(host["health_status"]["eds_health_status"], "HEALTHY");
    assert_eq!(get("/listeners").await.1, "l::127.0.0.1:80\n");
    let json = get_json("/listeners?format=json").await;
    assert_eq!(json["listener_statuses"][0]["local_address"]["socket_address"]["port_value"], 80);
    assert_eq!(get("/listeners?format=xml").await.0, 400);
}

#[tokio::test]
async fn certificates() {
    let certs = get_json("/certs").await;
    let root = &certs["certificates"][0]["ca_cert"][0];
    assert_eq!((&root["path"], &root["subject_alt_names"]), (&json!("ROOTCA"), &json!([{"dns": "spiffe.example"}])));
    assert!(root["days_until_expiration"].as_str().unwrap().parse::<u64>().unwrap() > 1000);
}

#[tokio::test]
async fn served_over_http() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let info = ServerInfo {
        version: "x".into(),
        started: Instant::now(),
        concurrency: 1,
        drain_time: Duration::ZERO,
        node: Node::default(),
    };
    let admin = Admin::new(Stats::default(), Arc::new(Fake { live: true, quits: AtomicUsize::new(0) }), info);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(admin.serve(listener, async { drop(stopped.await) }));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("LIVE\n"), "{answer}");
    drop(stop);
    server.await.unwrap().unwrap();
}
