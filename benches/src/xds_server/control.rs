//! The control port, HTTP/1.1.
//!
//! | request | what it does |
//! |---|---|
//! | `POST /bump?mode=all` | another weight for the endpoints of every assignment |
//! | `POST /bump?mode=one` | the same for `cluster-0` alone |
//! | `POST /add`, `POST /remove` | one cluster more or less at the end, with its assignment |
//! | `GET /version` | nothing |
//!
//! A change takes `weight=W`; without it another than the last is taken. The answer's body is the version that responses
//! with the changed assignments carry, as `version_info` or `system_version_info`; at first that of all assignments.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Mutex};

use super::content::Content;

/// Serves the control port until the process ends.
pub(crate) async fn run(listener: TcpListener, content: Content) {
    let content = Arc::new(Mutex::new(content));
    while let Ok((stream, _)) = listener.accept().await {
        let content = content.clone();
        let service = service_fn(move |request| answer(request, content.clone()));
        // A connection that breaks is its client's to notice.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(request: Request<Incoming>, content: Arc<Mutex<Content>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let query = request.uri().query().unwrap_or_default();
    let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let weight = value("weight").and_then(|w| w.parse().ok());
    let mut content = content.lock().await;
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/bump") if value("mode") == Some("one") => content.bump(1, weight),
        (&Method::POST, "/bump") => content.bump(usize::MAX, weight),
        (&Method::POST, "/add") => content.add(weight),
        (&Method::POST, "/remove") => content.remove(),
        (&Method::GET, "/version") => {}
        _ => return Ok(respond(StatusCode::NOT_FOUND, "POST to /bump, /add or /remove, or GET /version".into())),
    }
    Ok(respond(StatusCode::OK, content.version().to_string()))
}

fn respond(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
