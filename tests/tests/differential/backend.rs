//! Back ends that remember what they got, and do as a request's `x-do` header says.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, request};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, runtime::Handle};

use crate::case::NAME;

/// Names of the back ends; `bootstrap.yaml` names their ports `$NAME`.
pub(crate) const NAMES: [&str; 8] = ["a", "b", "c", "mirror", "hash1", "hash2", "hash3", "hash4"];

/// A request as a back end got it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) backend: &'static str,
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, Vec<String>>,
    pub(crate) body: String,
}

/// What was seen, by the name of the request.
type Record = Arc<Mutex<HashMap<String, Vec<Seen>>>>;

/// All back ends.
pub(crate) struct Backends {
    addresses: Vec<(&'static str, SocketAddr)>,
    record: Record,
}

impl Backends {
    pub(crate) fn start(runtime: &Handle) -> Self {
        let record = Record::default();
        let start = |name| (name, start(runtime, name, record.clone()));
        Self { addresses: NAMES.into_iter().map(start).collect(), record: record.clone() }
    }

    pub(crate) fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    /// What was seen of a request, in the order it came.
    pub(crate) fn seen(&self, name: &str) -> Vec<Seen> {
        self.record.lock().get(name).cloned().unwrap_or_default()
    }

    /// Waits until no request arrives any more: copies come when they like.
    pub(crate) fn settle(&self) {
        let count = || self.record.lock().values().map(Vec::len).sum::<usize>();
        let mut last = count();
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(150));
            let now = count();
            if now == last {
                return;
            }
            last = now;
        }
    }
}

fn start(runtime: &Handle, name: &'static str, record: Record) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("a listener has an address");
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let record = record.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| answer(name, record.clone(), request));
                // The proxy goes away when it likes.
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// A broken connection instead of an answer.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken off as asked")
    }
}
impl std::error::Error for Broken {}

async fn answer(
    backend: &'static str,
    record: Record,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Broken> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let name = text(&parts.headers, NAME);
    let what = text(&parts.headers, "x-do");
    let seen = seen(backend, &parts, &body);
    let reply = format!("{backend} {}", seen.line);
    let times = {
        let mut record = record.lock();
        let list = record.entry(name).or_default();
        list.push(seen);
        list.iter().filter(|s| s.backend != "mirror").count()
    };
    let mut response = Response::new(Full::new(Bytes::from(reply)));
    response.headers_mut().insert("x-backend", backend.parse().expect("a header value"));
    response.headers_mut().insert("server", "backend".parse().expect("a header value"));
    obey(&what, times, &mut response).await?;
    if parts.method == http::Method::HEAD || matches!(response.status().as_u16(), 204 | 304) {
        *response.body_mut() = Full::default();
    }
    Ok(response)
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).unwrap_or_default()
}

fn seen(backend: &'static str, parts: &request::Parts, body: &Bytes) -> Seen {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if let Some(authority) = parts.uri.authority() {
        headers.insert(":authority".into(), vec![authority.to_string()]);
    }
    for (name, value) in &parts.headers {
        let name = if name == "host" { ":authority" } else { name.as_str() };
        headers.entry(name.to_owned()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    let target = parts.uri.path_and_query().map_or("", |p| p.as_str());
    Seen {
        backend,
        line: format!("{:?} {} {target}", parts.version, parts.method),
        headers,
        body: String::from_utf8_lossy(body).into_owned(),
    }
}

/// `what`: commands separated by semicolons, each perhaps with `@N`: only for the first N attempts.
async fn obey(what: &str, times: usize, response: &mut Response<Full<Bytes>>) -> Result<(), Broken> {
    for command in what.split(';').filter(|c| !c.is_empty()) {
        let (command, limit) = command.split_once('@').unwrap_or((command, "999"));
        if times > limit.parse().unwrap_or(0) {
            continue;
        }
        let (verb, argument) = command.split_once('=').unwrap_or((command, ""));
        match verb {
            "break" => return Err(Broken),
            "slow" => tokio::time::sleep(Duration::from_millis(argument.parse().unwrap_or(0))).await,
            "status" => *response.status_mut() = argument.parse().unwrap_or(StatusCode::OK),
            name => {
                if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), argument.parse()) {
                    response.headers_mut().append(name, value);
                }
            }
        }
    }
    Ok(())
}
