//! The agent's own port: readiness, identity, and the metrics of agent and data plane together.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use mesh_ca::agent::{IdentityState, IdentityWatch};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::net;

const READ_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Agent {
    identity: IdentityWatch,
    admin: SocketAddr,
}

/// Serves for as long as the process runs.
pub(super) async fn serve(listener: TcpListener, identity: IdentityWatch, admin: SocketAddr) {
    let router = Router::new()
        .route("/healthz/ready", get(ready))
        .route("/identity", get(who))
        .route("/stats/prometheus", get(metrics))
        .with_state(Agent { identity, admin });
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the status port ended");
    }
}

/// 200 when there is a certificate that is valid and the data plane has its first configuration.
async fn ready(State(agent): State<Agent>) -> Response {
    if agent.identity.svid().is_none() {
        let state = agent.identity.state();
        let reason = state.last_error.as_deref().unwrap_or("none was asked for yet");
        return (StatusCode::SERVICE_UNAVAILABLE, format!("no valid certificate: {reason}\n")).into_response();
    }
    match net::get(agent.admin, "/ready", READ_TIMEOUT).await {
        Ok((200, _)) => (StatusCode::OK, "ready\n").into_response(),
        Ok((_, body)) => (StatusCode::SERVICE_UNAVAILABLE, body).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("data plane: {error:#}\n")).into_response(),
    }
}

async fn who(State(agent): State<Agent>) -> Json<Value> {
    Json(describe(&agent.identity.state(), SystemTime::now()))
}

/// Public facts of an identity.
fn describe(state: &IdentityState, now: SystemTime) -> Value {
    let seconds =
        |from: Option<SystemTime>, to: Option<SystemTime>| Some(to?.duration_since(from?).ok()?.as_secs_f64());
    json!({
        "spiffe_id": state.svid.as_ref().map(|s| s.id().to_string()),
        "serial": state.svid.as_ref().map(|s| s.serial().to_owned()),
        // The first certificate is no rotation.
        "rotations": state.rotations.saturating_sub(1),
        "failures": state.failures,
        "last_error": state.last_error.as_deref(),
        "age_seconds": seconds(state.obtained_at, Some(now)),
        "expires_in_seconds": seconds(Some(now), state.not_after()),
    })
}

/// The data plane's metrics, and the agent's behind them.
async fn metrics(State(agent): State<Agent>) -> Response {
    let mut text = match net::get(agent.admin, "/stats/prometheus", READ_TIMEOUT).await {
        Ok((200, body)) => String::from_utf8_lossy(&body).into_owned(),
        Ok((status, _)) => return (StatusCode::BAD_GATEWAY, format!("data plane answered {status}\n")).into_response(),
        Err(error) => return (StatusCode::BAD_GATEWAY, format!("data plane: {error:#}\n")).into_response(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let state = agent.identity.state();
    let left =
        state.not_after().map_or(0.0, |end| end.duration_since(SystemTime::now()).map_or(0.0, |d| d.as_secs_f64()));
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "# TYPE cert_expiry_seconds gauge\ncert_expiry_seconds{{resource_name=\"default\"}} {left}\n\
         # TYPE mesh_agent_certificates_obtained_total counter\nmesh_agent_certificates_obtained_total {}\n\
         # TYPE mesh_agent_certificate_failures_total counter\nmesh_agent_certificate_failures_total {}\n",
        state.rotations, state.failures
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
