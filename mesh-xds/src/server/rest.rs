//! The REST-JSON form of the protocol ("REST-JSON polling subscriptions"): `POST /v3/discovery:TYPE` with a
//! `DiscoveryRequest`, answered with a `DiscoveryResponse`, both in protobuf's JSON.

use std::{future::Future, sync::Arc};

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use mesh_xds_api::json;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tracing::warn;

use super::{
    Inner, PeerInfo,
    fetch::{Fetched, fetch},
    stream::STOPPED,
};
use crate::{TypeUrl, protocol::Push};

/// What follows `/v3/discovery:`, as in the `google.api.http` options of the services.
const TYPES: &[(&str, TypeUrl)] = &[
    ("clusters", TypeUrl::CLUSTER),
    ("endpoints", TypeUrl::ENDPOINT),
    ("listeners", TypeUrl::LISTENER),
    ("routes", TypeUrl::ROUTE),
    ("secrets", TypeUrl::SECRET),
    ("extension_configs", TypeUrl::EXTENSION_CONFIG),
    ("runtime", TypeUrl::RUNTIME),
];

/// The services. They have no fallback, so that they can be merged into others.
pub(super) fn router(inner: &Arc<Inner>) -> Router {
    let mut router = Router::new();
    for (path, type_url) in TYPES {
        let inner = inner.clone();
        let handler = post(move |request: Request| async move {
            answer(&inner, type_url, request).await.unwrap_or_else(|problem| problem.into_response())
        });
        router = router.route(&format!("/v3/discovery:{path}"), handler);
    }
    router
}

/// Why a request got no resources.
enum Problem {
    Http(StatusCode, String),
    Grpc(Status),
}

async fn answer(inner: &Arc<Inner>, type_url: &TypeUrl, request: Request) -> Result<Response, Problem> {
    if inner.stop.is_cancelled() {
        return Err(Problem::Grpc(Status::unavailable(STOPPED)));
    }
    let peer = request.extensions().get::<PeerInfo>().cloned().unwrap_or_default();
    check_media_type(&request)?;
    let body = read(inner, request.into_body()).await?;
    let bad = |reason: String| Problem::Grpc(Status::invalid_argument(reason));
    let value: Value = serde_json::from_slice(&body).map_err(|e| bad(format!("the body is no JSON: {e}")))?;
    let message = json::from_peer_value(&value).map_err(|e| bad(e.to_string()))?;
    match fetch(inner, Some(type_url), &peer, message).await.map_err(Problem::Grpc)? {
        Fetched::Unchanged => Ok(StatusCode::NOT_MODIFIED.into_response()),
        Fetched::Push(push) => respond(&push),
    }
}

fn check_media_type(request: &Request) -> Result<(), Problem> {
    let Some(told) = request.headers().get(header::CONTENT_TYPE) else { return Ok(()) };
    let media_type = told.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::Http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json".into()))
}

/// The body, which comes in time and is not too large.
async fn read(inner: &Inner, body: Body) -> Result<Bytes, Problem> {
    let limit = inner.limits.max_request_bytes;
    let body = in_time(inner, to_bytes(body, limit)).await?;
    body.map_err(|e| match std::error::Error::source(&e) {
        Some(cause) if cause.is::<http_body_util::LengthLimitError>() => {
            Problem::Http(StatusCode::PAYLOAD_TOO_LARGE, format!("at most {limit} bytes are read"))
        }
        _ => Problem::Http(StatusCode::BAD_REQUEST, "the body did not arrive".into()),
    })
}

async fn in_time<T>(inner: &Inner, reading: impl Future<Output = T>) -> Result<T, Problem> {
    let read = tokio::time::timeout(inner.limits.first_request_timeout, reading).await;
    read.map_err(|_| Problem::Http(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".into()))
}

fn respond(push: &Push) -> Result<Response, Problem> {
    let resources: Result<Vec<Value>, _> =
        push.content.resources.iter().map(|r| json::any_to_peer_value(r.any())).collect();
    let resources = resources.map_err(|error| {
        // The producer's mistake. A resource that is left out would be deleted by the client.
        warn!(type_url = push.content.type_url.as_str(), %error, "a resource cannot be served by REST");
        Problem::Grpc(Status::internal(error.to_string()))
    })?;
    let response = json!({
        "version_info": push.content.version.as_str(),
        "type_url": push.content.type_url.as_str(),
        "resources": resources,
        "nonce": push.nonce.as_str(),
    });
    Ok(Json(response).into_response())
}

impl IntoResponse for Problem {
    /// A `google.rpc.Status` in JSON, under the status that [the code's own page] maps it to.
    ///
    /// [the code's own page]: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
    fn into_response(self) -> Response {
        let (http, code, message) = match self {
            Self::Http(http, message) => (http, Code::InvalidArgument, message),
            Self::Grpc(status) => (http_status(status.code()), status.code(), status.message().to_owned()),
        };
        (http, Json(json!({ "code": code as i32, "message": message }))).into_response()
    }
}

fn http_status(code: Code) -> StatusCode {
    match code {
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
