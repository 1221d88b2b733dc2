//! The sample services: a front page that calls `details` and `reviews`; `reviews` v2 and v3 call `ratings`.
//!
//! They know nothing of the mesh: each calls a service by its name at the address where its sidecar listens.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt as _,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::plan::{Plan, SERVICE_PORT, Workload};

/// Headers that an application passes on so that traces and tests can follow a request.
const PASSED_ON: [&str; 4] = ["x-request-id", "traceparent", "end-user", "b3"];

/// Most bytes an answer may have.
const ANSWER_LIMIT: usize = 1 << 20;

/// How long a call of another service may take: longer than anything the mesh is configured to wait.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Calls services through a sidecar.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    client: Client<HttpConnector, Empty<Bytes>>,
    outbound: SocketAddr,
}

impl Caller {
    pub(crate) fn new(outbound: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(256).build(connector), outbound }
    }

    /// `GET http://SERVICE:9080PATH`. An error means that no answer came at all.
    pub(crate) async fn get(&self, service: &str, path: &str, headers: &HeaderMap) -> Result<(u16, Value), String> {
        let mut request = http::Request::get(format!("http://{}{path}", self.outbound))
            .header("host", format!("{service}:{SERVICE_PORT}"))
            .body(Empty::new())
            .map_err(|e| e.to_string())?;
        for name in PASSED_ON {
            if let Some(value) = headers.get(name) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        let exchange = async {
            let response = self.client.request(request).await.map_err(|e| format!("{service}: {e}"))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_LIMIT)
                .collect()
                .await
                .map_err(|e| format!("{service}: {e}"))?;
            let body = body.to_bytes();
            let value = serde_json::from_slice(&body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body)));
            Ok((status, value))
        };
        tokio::time::timeout(CALL_TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| Err(format!("{service}: no answer in {CALL_TIMEOUT:?}")))
    }
}

struct App {
    version: &'static str,
    caller: Caller,
}

/// Serves `workload`'s application until the task is dropped.
pub(crate) async fn serve(plan: &Plan, workload: &Workload) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let listener: TcpListener = crate::net::bind((plan.app(workload), SERVICE_PORT).into(), "--dir").await?;
    let caller = Caller::new((plan.outbound(workload), SERVICE_PORT).into());
    let app = Arc::new(App { version: workload.version, caller });
    let router = match workload.app {
        "productpage" => Router::new().route("/productpage", get(product_page)),
        "details" => Router::new().route("/details/{id}", get(details)),
        "reviews" => Router::new().route("/reviews/{id}", get(reviews)),
        "ratings" => Router::new().route("/ratings/{id}", get(ratings)),
        _ => Router::new(),
    };
    let router = router.with_state(app);
    // Small answers must not wait for the acknowledgement of the ones before.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
    });
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "a sample service ended");
        }
    }))
}

async fn product_page(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let (details, reviews) = tokio::join!(
        app.caller.get("details", "/details/0", &headers),
        app.caller.get("reviews", "/reviews/0", &headers),
    );
    Json(json!({ "details": outcome(details), "reviews": outcome(reviews) })).into_response()
}

async fn details() -> Json<Value> {
    Json(json!({ "id": 0, "author": "William Shakespeare", "year": 1595, "pages": 200 }))
}

async fn reviews(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let reviews = json!(["An extremely entertaining play.", "Absolutely fun and entertaining."]);
    if app.version == "v1" {
        return Json(json!({ "version": app.version, "reviews": reviews })).into_response();
    }
    let color = if app.version == "v2" { "black" } else { "red" };
    let ratings = outcome(app.caller.get("ratings", "/ratings/0", &headers).await);
    Json(json!({ "version": app.version, "reviews": reviews, "color": color, "ratings": ratings })).into_response()
}

async fn ratings() -> Response {
    (StatusCode::OK, Json(json!({ "ratings": { "Reviewer1": 5, "Reviewer2": 4 } }))).into_response()
}

/// What the page shows of a call: its status (0 = no answer) and its answer.
fn outcome(result: Result<(u16, Value), String>) -> Value {
    match result {
        Ok((status, body)) => json!({ "status": status, "body": body }),
        Err(error) => json!({ "status": 0, "body": error }),
    }
}
