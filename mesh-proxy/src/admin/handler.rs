use std::{collections::HashMap, time::Instant};

use axum::{
    body::Body,
    extract::Query,
    http::{HeaderValue, Method, Response, StatusCode, Uri, header},
};
use regex::Regex;
use serde_json::{Value, json};

use super::{Admin, DrainRequest, ServerState, certs, clusters, dump, listeners};
use crate::stats::{StatKind, StatsQuery};

const TEXT: &str = "text/plain; charset=UTF-8";
const JSON: &str = "application/json";
/// The format of Prometheus that [`Stats::prometheus`](crate::stats::Stats::prometheus) writes.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

const HELP: &str = "admin commands are:
  /: this list
  /certs: print certs on machine
  /clusters: upstream cluster status; format=json
  /config_dump: dump current configs; resource=FIELD, name_regex=REGEX, include_eds
  /drain_listeners (POST): drain listeners; graceful, inboundonly, skip_exit
  /help: this list
  /listeners: print listener info; format=json
  /logging (POST): query or change the log level; level=LEVEL
  /quitquitquit (POST): exit the server
  /ready: print server state, return 200 if LIVE, otherwise return 503
  /reopen_logs (POST): reopen access logs
  /server_info: print server version, state and uptime
  /stats: print server stats; usedonly, filter=REGEX, format=(json|prometheus|text), type=(Counters|Gauges|Histograms|All)
  /stats/prometheus: print server stats in prometheus format; usedonly, filter=REGEX
";

/// What goes wrong with a request: status and text.
type Failure = (StatusCode, String);
type Answer = Result<(&'static str, String), Failure>;
type Params = HashMap<String, String>;

pub(super) fn answer(admin: &Admin, method: &Method, uri: &Uri) -> Response<Body> {
    let params = Query::<Params>::try_from_uri(uri).map(|query| query.0).unwrap_or_default();
    let mutates = matches!(uri.path(), "/drain_listeners" | "/logging" | "/quitquitquit" | "/reopen_logs");
    let answer = if mutates && method != Method::POST {
        Err((StatusCode::METHOD_NOT_ALLOWED, format!("Method {method} not allowed, POST required.")))
    } else {
        dispatch(admin, uri.path(), &params)
    };
    let (status, kind, body) = match answer {
        Ok((kind, body)) => (StatusCode::OK, kind, body),
        Err((status, body)) => (status, TEXT, body),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn dispatch(admin: &Admin, path: &str, params: &Params) -> Answer {
    match path {
        "/" | "/help" => Ok((TEXT, HELP.to_owned())),
        "/ready" => ready(admin.state.server_state()),
        "/server_info" => pretty(&admin.info.json(admin.state.server_state(), Instant::now())),
        "/stats" => stats(admin, params, params.get("format").map_or("text", String::as_str)),
        "/stats/prometheus" => stats(admin, params, "prometheus"),
        "/config_dump" => config_dump(admin, params),
        "/clusters" if wants_json(params)? => pretty(&clusters::json(&admin.state.clusters())),
        "/clusters" => Ok((TEXT, clusters::text(&admin.state.clusters()))),
        "/listeners" if wants_json(params)? => pretty(&listeners::json(&admin.state.listeners())),
        "/listeners" => Ok((TEXT, listeners::text(&admin.state.listeners()))),
        "/certs" => pretty(&certs::json(&admin.state.secrets(), std::time::SystemTime::now())),
        "/drain_listeners" => {
            let graceful = params.contains_key("graceful");
            let skip_exit = params.contains_key("skip_exit");
            if skip_exit && !graceful {
                return Err((StatusCode::BAD_REQUEST, "skip_exit requires graceful\n".to_owned()));
            }
            let inbound_only = params.contains_key("inboundonly");
            admin.state.drain_listeners(DrainRequest { graceful, skip_exit, inbound_only });
            ok()
        }
        "/quitquitquit" => {
            admin.state.quit();
            ok()
        }
        "/reopen_logs" => {
            admin.state.reopen_logs();
            ok()
        }
        "/logging" => match admin.state.log_level(params.get("level").map(String::as_str)) {
            Ok(levels) => Ok((TEXT, levels)),
            Err(reason) => Err((StatusCode::BAD_REQUEST, format!("{reason}\n"))),
        },
        _ => Err((StatusCode::NOT_FOUND, format!("invalid path. {HELP}"))),
    }
}

fn ok() -> Answer {
    Ok((TEXT, "OK\n".to_owned()))
}

fn ready(state: ServerState) -> Answer {
    let text = format!("{}\n", state.as_str());
    if state == ServerState::Live { Ok((TEXT, text)) } else { Err((StatusCode::SERVICE_UNAVAILABLE, text)) }
}

fn bad(text: impl Into<String>) -> Failure {
    (StatusCode::BAD_REQUEST, text.into())
}

fn wants_json(params: &Params) -> Result<bool, Failure> {
    match params.get("format").map(String::as_str) {
        None | Some("text" | "") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => Err(bad(format!("format {other:?} is not known: text or json\n"))),
    }
}

fn regex(params: &Params, name: &str) -> Result<Option<Regex>, Failure> {
    let Some(text) = params.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    Regex::new(text).map(Some).map_err(|error| bad(format!("Invalid regex: {error}\n")))
}

fn stats(admin: &Admin, params: &Params, format: &str) -> Answer {
    let kind = match params.get("type").map(String::as_str) {
        None | Some("All" | "") => None,
        Some("Counters") => Some(StatKind::Counters),
        Some("Gauges") => Some(StatKind::Gauges),
        Some("Histograms") => Some(StatKind::Histograms),
        Some(_) => return Err(bad("invalid &type= param")),
    };
    let query = StatsQuery { used_only: params.contains_key("usedonly"), filter: regex(params, "filter")?, kind };
    match format {
        "text" | "" => Ok((TEXT, admin.stats.text(&query))),
        "json" => Ok((JSON, admin.stats.json(&query).to_string())),
        "prometheus" => Ok((PROMETHEUS, admin.stats.prometheus(&query))),
        _ => Err(bad("usage: /stats?format=(json|prometheus|text)\n")),
    }
}

fn config_dump(admin: &Admin, params: &Params) -> Answer {
    if params.contains_key("mask") {
        return Err(bad("mask is not carried; use resource=FIELD\n"));
    }
    let names = regex(params, "name_regex")?;
    let dump = admin.state.config();
    let configs = dump::configs(&dump, names.as_ref(), params.contains_key("include_eds"));
    let configs = match params.get("resource").filter(|field| !field.is_empty()) {
        None => configs,
        // Named by its field, endpoints need no further word.
        Some(field) => dump::elements(&dump::configs(&dump, names.as_ref(), true), field)
            .ok_or_else(|| (StatusCode::NOT_FOUND, format!("{field} not found in config dump")))?,
    };
    pretty(&json!({ "configs": configs }))
}

/// Indented by one space, as Envoy writes it.
fn pretty(value: &Value) -> Answer {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // A Value always serialises, to UTF-8.
    let _ = serde::Serialize::serialize(value, &mut serializer);
    out.push(b'\n');
    Ok((JSON, String::from_utf8(out).unwrap_or_default()))
}
