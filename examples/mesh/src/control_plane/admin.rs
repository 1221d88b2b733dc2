//! The control plane's admin port: readiness, metrics, what it knows, and what an operator asks of its authority.

mod rotation;

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use axum::{
    Json, Router,
    extract::{Query, State as Extract},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use mesh_ca::{
    agent::IdentityWatch,
    health::{Health, HealthPolicy},
    server::ServiceMetrics,
};
use mesh_xds::{
    server::{XdsServer, prometheus},
    translate::ProxyNode,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::mesh::Mesh;
use crate::authority::Ca;

/// What the port tells of.
#[derive(Clone)]
pub(super) struct State {
    mesh: Mesh,
    servers: Vec<XdsServer>,
    certificates: Arc<ServiceMetrics>,
    ca: Ca,
    own: IdentityWatch,
    failed_handshakes: Arc<AtomicU64>,
}

impl State {
    pub(super) fn new(
        mesh: Mesh,
        servers: Vec<XdsServer>,
        certificates: Arc<ServiceMetrics>,
        (ca, own): (Ca, IdentityWatch),
        failed_handshakes: Arc<AtomicU64>,
    ) -> Self {
        Self { mesh, servers, certificates, ca, own, failed_handshakes }
    }

    fn health(&self) -> Health {
        Health::of(&*self.ca.issuer(), Some(&self.own), &HealthPolicy::default(), SystemTime::now())
    }
}

/// Serves for as long as the process runs.
pub(super) async fn serve(listener: TcpListener, state: State) {
    let router = Router::new()
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/debug/syncz", get(syncz))
        .route("/debug/configz", get(configz))
        .route("/debug/config_dump", get(config_dump))
        .merge(rotation::routes())
        .with_state(state);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the admin port ended");
    }
}

/// 200 when the configuration was read, and the authority and the own certificate are not about to end.
async fn ready(Extract(state): Extract<State>) -> Response {
    let unready = |reason: String| (StatusCode::SERVICE_UNAVAILABLE, reason).into_response();
    if state.mesh.current().is_none() {
        return unready("the configuration has not been read yet\n".into());
    }
    let health = state.health();
    if !health.is_ready() {
        return unready(format!("{}\n", health.reasons().join("; ")));
    }
    (StatusCode::OK, "ready\n").into_response()
}

/// What each proxy has acknowledged.
async fn syncz(Extract(state): Extract<State>) -> Json<Value> {
    let mut proxies: Vec<Value> = Vec::new();
    for server in &state.servers {
        for stream in server.status().streams() {
            let mut proxy = stream.to_json();
            proxy["name"] = workload(stream.info.node.id().as_str()).into();
            proxies.push(proxy);
        }
    }
    proxies.sort_by(|a, b| a["node"].as_str().cmp(&b["node"].as_str()));
    Json(Value::Array(proxies))
}

/// `NAME` of `TYPE~IP~NAME.NAMESPACE~DOMAIN`, or the whole id.
fn workload(id: &str) -> &str {
    id.split('~').nth(2).and_then(|n| n.rsplit_once('.')).map_or(id, |(name, _)| name)
}

/// The configuration in force and its findings.
async fn configz(Extract(state): Extract<State>) -> Json<Value> {
    let Some(configured) = state.mesh.current() else { return Json(json!({"ready": false, "diagnostics": []})) };
    let objects: Vec<String> = configured.state.snapshot.iter().map(|o| o.key().to_string()).collect();
    Json(json!({
        "ready": true,
        "version": configured.state.snapshot.version(),
        "source_failed": configured.state.source_failed,
        "diagnostics": configured.diagnostics,
        "objects": objects,
    }))
}

#[derive(serde::Deserialize)]
struct Which {
    node: String,
}

/// What a node is (or would be) sent: `?node=ID`.
async fn config_dump(Extract(state): Extract<State>, Query(which): Query<Which>) -> Response {
    let connected = state.servers.iter().flat_map(|s| s.status().node(&which.node)).next();
    let node = match connected {
        Some(stream) => ProxyNode::from_node(stream.info.node.message()),
        None => ProxyNode::from_id(&which.node),
    };
    match (node, state.mesh.current()) {
        (Err(error), _) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
        (_, None) => (StatusCode::SERVICE_UNAVAILABLE, "the configuration has not been read yet\n").into_response(),
        (Ok(node), Some(configured)) => Json(configured.context.translate(&node).to_json()).into_response(),
    }
}

async fn metrics(Extract(state): Extract<State>) -> Response {
    let labels = [[("port", "tls")], [("port", "plaintext")]];
    let mut text = prometheus(state.servers.iter().zip(labels.iter().map(|l| &l[..])));
    // Writing to a String cannot fail.
    let failed = state.failed_handshakes.load(Ordering::Relaxed);
    let _ = writeln!(text, "mesh_tls_handshakes_failed_total {failed}");
    let issued = state.certificates.snapshot();
    let refused = [
        ("unauthenticated", issued.unauthenticated),
        ("permission_denied", issued.permission_denied),
        ("invalid_argument", issued.invalid_argument),
        ("resource_exhausted", issued.resource_exhausted),
        ("unavailable", issued.unavailable),
        ("internal", issued.internal),
    ];
    let _ = writeln!(text, "citadel_server_csr_count {}", issued.issued + refused.iter().map(|(_, n)| n).sum::<u64>());
    for (reason, count) in refused {
        let _ = writeln!(text, "mesh_ca_requests_refused_total{{reason=\"{reason}\"}} {count}");
    }
    let _ = writeln!(text, "citadel_server_success_cert_issuance_count {}", issued.issued);
    text.push_str(&state.health().to_prometheus());
    if let Ca::Own(ca) = &state.ca {
        text.push_str(&ca.status().await.to_prometheus());
    }
    if let Some(configured) = state.mesh.current() {
        let errors = configured.diagnostics.iter().filter(|d| d.is_error()).count();
        let _ = writeln!(text, "mesh_config_objects {}", configured.state.snapshot.len());
        let _ = writeln!(text, "mesh_config_errors {errors}");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
