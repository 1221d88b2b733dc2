//! What an operator asks of the authority: the state of the root's rotation, its steps, and revocation.

use axum::{
    Json, Router,
    extract::{Path, Query, State as Extract},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use mesh_ca::issuer::{RevocationReason, RotatingCa, RotatingCaError, rotation::RotationStatus};

use super::State;
use crate::{authority::Ca, net::ADMIN_HEADER};

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/ca/rotation", get(status))
        .route("/ca/rotation/{step}", post(step))
        .route("/ca/revoke", post(revoke))
}

#[derive(serde::Deserialize)]
struct Form {
    output: Option<String>,
}

impl Form {
    fn answer(&self, status: &RotationStatus) -> Response {
        match self.output.as_deref() {
            Some("text") => status.to_string().into_response(),
            _ => Json(status).into_response(),
        }
    }
}

type Refused = Box<Response>;

fn refused(code: StatusCode, reason: impl std::fmt::Display) -> Refused {
    Box::new((code, format!("{reason}\n")).into_response())
}

fn own(state: &State) -> Result<&RotatingCa, Refused> {
    match &state.ca {
        Ca::Own(ca) => Ok(ca),
        Ca::PluggedIn(_) => Err(refused(
            StatusCode::CONFLICT,
            "the authority is plugged in by --ca-dir: change its files, first the roots (old and new ones together), then the \
             signing certificate, and last, when the old certificates have ended, take the old root out; what is revoked \
             stands in ca-crl.pem",
        )),
    }
}

/// Whoever makes a browser of this machine send something cannot set this.
fn asked_on_purpose(headers: &HeaderMap) -> Result<(), Refused> {
    let missing = || refused(StatusCode::FORBIDDEN, format!("the header {ADMIN_HEADER} is missing"));
    headers.get(ADMIN_HEADER).map(|_| ()).ok_or_else(missing)
}

fn outcome<T>(done: Result<T, RotatingCaError>) -> Result<T, Refused> {
    done.map_err(|error| match error {
        RotatingCaError::Refused(_) => refused(StatusCode::CONFLICT, error),
        RotatingCaError::UnknownSerial(_) => refused(StatusCode::NOT_FOUND, error),
        _ => refused(StatusCode::INTERNAL_SERVER_ERROR, error),
    })
}

async fn status(Extract(state): Extract<State>, Query(form): Query<Form>) -> Response {
    match own(&state) {
        Ok(ca) => form.answer(&ca.status().await),
        Err(refused) => *refused,
    }
}

async fn step(
    Extract(state): Extract<State>,
    Path(step): Path<String>,
    Query(form): Query<Form>,
    headers: HeaderMap,
) -> Response {
    let done = async {
        asked_on_purpose(&headers)?;
        let ca = own(&state)?;
        match step.as_str() {
            "start" => outcome(ca.start().await),
            "abort" => outcome(ca.abort().await),
            "approve" => outcome(ca.approve().await),
            other => Err(refused(StatusCode::NOT_FOUND, format!("{other} is no step; start, abort and approve are"))),
        }
    };
    done.await.map_or_else(|refused| *refused, |status| form.answer(&status))
}

#[derive(serde::Deserialize)]
struct What {
    serial: String,
    reason: Option<String>,
}

async fn revoke(Extract(state): Extract<State>, Query(what): Query<What>, headers: HeaderMap) -> Response {
    let done = async {
        asked_on_purpose(&headers)?;
        let reason = what.reason.as_deref().unwrap_or("unspecified").parse::<RevocationReason>();
        let reason = reason.map_err(|error| refused(StatusCode::BAD_REQUEST, error))?;
        outcome(own(&state)?.revoke(&what.serial, reason).await)
    };
    done.await.map_or_else(|refused| *refused, |()| "revoked\n".into_response())
}
