//! REST and JSON, asked by hand over HTTP/1.1.
#![cfg(all(feature = "server", feature = "client", feature = "test-util"))]
#![allow(clippy::unwrap_used)] // helpers of a test

mod common;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use common::{cluster, endpoints};
use mesh_xds::{
    Node, Resource,
    server::{ListenConfig, PeerInfo, ServerBuilder, ServerLimits, StreamAuthorizer, StreamEvent, XdsServer, serve},
    store::{Batch, Refusal, SingleView, View},
    testing::RecordingObserver,
};
use mesh_xds_api::{envoy::service::cluster::v3::cluster_discovery_service_client, google::protobuf::Any};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A server of gRPC and REST on one port, HTTP/1.1 included.
struct Rest {
    server: XdsServer,
    address: SocketAddr,
}

impl Rest {
    async fn start(builder: ServerBuilder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = builder.build();
        let router = server.routes().into_axum_router().merge(server.rest_router());
        let config = ListenConfig { http1: true, drain_timeout: Duration::from_millis(50), ..Default::default() };
        // Not ended by `shutdown`, so that it can be asked what it answers then.
        tokio::spawn(serve(listener, None, router.into(), config, std::future::pending()));
        Self { server, address }
    }

    async fn over(view: &Arc<View>) -> Self {
        Self::start(XdsServer::builder(SingleView(view.clone()))).await
    }

    async fn post(&self, kind: &str, message: &Value) -> (u16, Value) {
        self.ask("POST", kind, "application/json", &message.to_string()).await
    }

    async fn ask(&self, method: &str, kind: &str, media_type: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "{method} /v3/discovery:{kind} HTTP/1.1\r\nhost: xds\r\nconnection: close\r\ncontent-type: {media_type}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that refuses may have closed already.
        let _ = stream.write_all(body.as_bytes()).await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(!head.contains("chunked"), "{head}");
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

fn names(answer: &Value) -> Vec<&str> {
    let resources = answer["resources"].as_array().unwrap();
    resources.iter().map(|r| r["name"].as_str().or(r["cluster_name"].as_str()).unwrap()).collect()
}

#[tokio::test]
async fn polls_see_changes_and_are_told_when_there_are_none() {
    let view = View::new();
    view.replace([cluster("a", "1"), cluster("b", "1"), endpoints("a")]);
    let rest = Rest::over(&view).await;
    let node = json!({"id": "n", "field_of_next_year": 1});
    let (status, first) = rest.post("clusters", &json!({ "node": node })).await;
    assert_eq!((status, names(&first)), (200, vec!["a", "b"]));
    assert_eq!(first["type_url"], "type.googleapis.com/envoy.config.cluster.v3.Cluster");
    assert_eq!(first["resources"][0]["@type"], "type.googleapis.com/envoy.config.cluster.v3.Cluster");
    assert_eq!(first["resources"][0]["alt_stat_name"], "1");

    let again = json!({ "node": node, "versionInfo": first["version_info"] });
    assert_eq!(rest.post("clusters", &again).await, (304, Value::Null));
    view.update(Batch::new().put(cluster("a", "2")));
    let (status, second) = rest.post("clusters", &again).await;
    assert_eq!((status, &second["resources"][0]["alt_stat_name"]), (200, &json!("2")));
    assert_ne!(first["version_info"], second["version_info"]);
    let metrics = rest.server.metrics();
    assert_eq!((metrics.fetches, metrics.fetches_unchanged, metrics.streams_total), (3, 1, 0));
}

#[tokio::test]
async fn only_what_is_named_of_types_that_are_named() {
    let view = View::new();
    view.replace([endpoints("a"), endpoints("b")]);
    let rest = Rest::over(&view).await;
    let (status, answer) = rest.post("endpoints", &json!({ "resource_names": ["b", "x"] })).await;
    assert_eq!((status, names(&answer)), (200, vec!["b"]));
    // Nothing there is an answer too: the client may be waiting for it.
    let (status, answer) = rest.post("endpoints", &json!({ "resource_names": ["x"] })).await;
    assert_eq!((status, &answer["resources"]), (200, &json!([])));
    assert_eq!(rest.post("endpoints", &json!({})).await.0, 400);
}

#[tokio::test]
async fn bad_questions_are_refused_by_name() {
    let limits = ServerLimits { max_request_bytes: 1000, ..Default::default() };
    let rest = Rest::start(XdsServer::builder(SingleView(View::new())).limits(limits)).await;
    let large = json!({ "resource_names": ["x".repeat(2000)] }).to_string();
    let json = "application/json";
    for (method, kind, media_type, body, expected) in [
        ("POST", "clusters", json, large.as_str(), 413),
        ("POST", "clusters", json, "{", 400),
        ("POST", "clusters", json, r#"{"resource_names": 1}"#, 400),
        ("POST", "clusters", json, r#"{"type_url": "type.googleapis.com/envoy.config.listener.v3.Listener"}"#, 400),
        ("POST", "clusters", "text/plain", "{}", 415),
        ("GET", "clusters", json, "", 405),
        // gRPC's own "unimplemented" is a 200, as everything is there.
        ("POST", "sheep", json, "{}", 200),
    ] {
        let (status, answer) = rest.ask(method, kind, media_type, body).await;
        assert_eq!(status, expected, "{method} {kind} {body}: {answer}");
        if status >= 400 && status != 405 {
            assert_eq!(answer["code"], 3, "{answer}");
            assert!(answer["message"].as_str().unwrap().len() > 5, "{answer}");
        }
    }
}

struct OnlyGood;

#[async_trait::async_trait]
impl StreamAuthorizer for OnlyGood {
    async fn authorize(&self, peer: &PeerInfo, node: &Node) -> Result<Option<String>, Refusal> {
        assert!(peer.remote_addr.is_some());
        if node.id() == "good" { Ok(None) } else { Err(Refusal::Denied("you are not good".into())) }
    }
}

#[tokio::test]
async fn clients_are_decided_on_and_observed() {
    let observer = RecordingObserver::default();
    let builder = XdsServer::builder(SingleView(View::new())).authorizer(OnlyGood).observer(observer.clone());
    let rest = Rest::start(builder).await;
    let (status, answer) = rest.post("clusters", &json!({ "node": {"id": "bad"} })).await;
    assert_eq!((status, answer), (403, json!({ "code": 7, "message": "you are not good" })));
    assert_eq!(rest.server.metrics().streams_refused, 1);
    assert_eq!(rest.post("clusters", &json!({ "node": {"id": "good"} })).await.0, 200);
    let events = observer.events();
    assert!(matches!(&events[0].1, StreamEvent::Refused { reason } if reason == "you are not good"), "{events:?}");
    assert!(matches!(&events[1].1, StreamEvent::Fetched { resources: 0, unchanged: false, .. }), "{events:?}");
    rest.server.shutdown();
    assert_eq!(rest.post("clusters", &json!({ "node": {"id": "good"} })).await.0, 503);
}

#[tokio::test]
async fn what_has_no_json_form_is_an_error_and_not_left_out() {
    let view = View::unchecked();
    let any = Any { type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".into(), value: vec![0xff].into() };
    view.replace([cluster("a", "1"), Resource::new("broken", any)]);
    let (status, answer) = Rest::over(&view).await.post("clusters", &json!({})).await;
    assert_eq!((status, &answer["code"]), (500, &json!(13)));
}

#[tokio::test]
async fn grpc_is_served_beside_it() {
    let view = View::unchecked();
    view.replace([cluster("a", "1")]);
    let rest = Rest::over(&view).await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", rest.address)).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut cds = cluster_discovery_service_client::ClusterDiscoveryServiceClient::new(channel);
    let fetched = cds.fetch_clusters(mesh_xds_api::envoy::service::discovery::v3::DiscoveryRequest::default()).await;
    assert_eq!(fetched.unwrap().into_inner().resources.len(), 1);
}
