//! Copies of requests sent to other clusters; their answers are dropped (`RequestMirrorPolicy`).

use std::{net::UdpSocket, rc::Rc, sync::OnceLock, time::Duration};

use http::{
    HeaderName, HeaderValue, Request, Version,
    header::{HOST, TRANSFER_ENCODING},
};

use super::{edits, headers, stream::Stream, target, wire};
use crate::{
    access_log::LogContext,
    balancer::PickContext,
    body::Body,
    model::{ClusterName, Forward, Mirror, MirrorEdit},
    upstream::LocalCluster,
};

/// Longest life of a copy when the route has no timeout.
const LONGEST: Duration = Duration::from_secs(60);

const ENVOY_INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");

/// Sends the copies that the route asks for. A copy of a request with a body is sent when the body has arrived; it is not
/// sent if the body is longer than the buffer limit or ends early.
pub(super) fn send(stream: &Stream, forward: &Forward) {
    for mirror in &forward.mirrors {
        let Some(cluster) = cluster(mirror, stream) else { continue };
        if !drawn(mirror, stream) {
            continue;
        }
        let life = if forward.timeout.is_zero() { LONGEST } else { forward.timeout };
        let mut request = copy(stream, mirror);
        let body = stream.upload.as_ref().map(|upload| upload.copy());
        tokio::task::spawn_local(async move {
            if let Some(body) = body {
                let Ok(chunks) = body.await else { return };
                *request.body_mut() = Body::Chunks(chunks);
            }
            // What the mirror says, or that it does not, is no concern of the client's.
            let _ = tokio::time::timeout(life, exchange(cluster, request)).await;
        });
    }
}

fn cluster(mirror: &Mirror, stream: &Stream) -> Option<Rc<LocalCluster>> {
    let name = match &mirror.cluster {
        ClusterName::Fixed(name) => name,
        ClusterName::Header(header) => stream.request.headers.get(header)?.to_str().ok()?,
    };
    stream.chain.worker.upstreams.cluster(name)
}

fn drawn(mirror: &Mirror, stream: &Stream) -> bool {
    let random = stream.chain.worker.random();
    mirror.fraction.is_none_or(|f| random % u64::from(f.denominator.max(1)) < u64::from(f.numerator))
}

/// The request as the mirror gets it: marked as internal, as Envoy does, its host with `-shadow` added, then changed as the
/// policy says.
fn copy(stream: &Stream, mirror: &Mirror) -> Request<Body> {
    let original = &stream.request;
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = original.method.clone();
    *request.version_mut() = original.version;
    let (mut uri, mut all) = (original.uri.clone(), original.headers.clone());
    target::into_origin_form(&mut uri, &mut all);
    if let Ok(host) = HeaderValue::try_from(host(mirror, target::authority(original))) {
        all.insert(HOST, host);
    }
    all.insert(ENVOY_INTERNAL, HeaderValue::from_static("true"));
    headers::append(&mut all, headers::X_FORWARDED_FOR, own_address(), ",");
    wire::frame(&original.method, stream.upload.is_some(), &mut all);
    for edit in &mirror.edits {
        match edit {
            MirrorEdit::Remove(name) => {
                all.remove(name);
            }
            MirrorEdit::Set(edit) => {
                let context = LogContext {
                    info: &stream.info,
                    request: Some(target::view(original)),
                    response: None,
                    trailers: None,
                };
                let values = edits::values([edit], &context, &stream.chain.worker);
                edits::set(&mut all, values);
            }
        }
    }
    *request.uri_mut() = uri;
    *request.headers_mut() = all;
    request
}

/// This machine's address, as the system would choose it to reach others; a copy counts as a request of its own.
fn own_address() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(|| {
        // Connecting a UDP socket sends nothing. The other end is an address for documentation (RFC 5737).
        let address = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
            socket.connect("192.0.2.1:9")?;
            socket.local_addr()
        });
        address.map_or_else(|_| "127.0.0.1".to_owned(), |address| address.ip().to_string())
    })
}

fn host(mirror: &Mirror, authority: &str) -> String {
    if let Some(host) = &mirror.host {
        return host.clone();
    }
    if mirror.keep_host {
        return authority.to_owned();
    }
    match super::rewrite::host_and_port(authority) {
        (host, Some(port)) => format!("{host}-shadow:{port}"),
        (host, None) => format!("{host}-shadow"),
    }
}

async fn exchange(cluster: Rc<LocalCluster>, mut request: Request<Body>) {
    let Ok(_permit) = cluster.admit_request(false, false) else { return };
    let pick = PickContext::default();
    let Ok(host) = cluster.pick(&pick) else { return };
    let Ok(sender) = cluster.http(&host, Some(request.version()), false).await else { return };
    if sender.is_http2() {
        let (mut uri, mut headers) = (request.uri().clone(), std::mem::take(request.headers_mut()));
        headers.remove(TRANSFER_ENCODING);
        target::into_absolute_form(&mut uri, &mut headers, "http");
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        *request.version_mut() = Version::HTTP_2;
    } else {
        *request.version_mut() = Version::HTTP_11;
    }
    if let Ok(response) = sender.send(request).await {
        let mut body = response.into_body();
        while let Some(Ok(_)) = http_body_util::BodyExt::frame(&mut body).await {}
    }
}
