//! Copies of requests sent to other clusters; their answers are dropped (`RequestMirrorPolicy`).

use std::{rc::Rc, time::Duration};

use http::{HeaderValue, Request, Version, header::HOST};

use super::{stream::Stream, target};
use crate::{
    balancer::PickContext,
    body::Body,
    model::{Forward, Mirror},
    upstream::LocalCluster,
};

/// Longest life of a copy when the route has no timeout.
const LONGEST: Duration = Duration::from_secs(60);

/// Sends the copies that the route asks for. A copy of a request with a body is sent when the body has arrived; it is not
/// sent if the body is longer than the listener's buffer limit or ends early.
pub(super) fn send(stream: &Stream, forward: &Forward) {
    for mirror in &forward.mirrors {
        if !drawn(mirror, stream) {
            continue;
        }
        let Some(cluster) = stream.chain.worker.upstreams.cluster(&mirror.cluster) else { continue };
        let life = if forward.timeout.is_zero() { LONGEST } else { forward.timeout };
        let mut request = copy(stream);
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

fn drawn(mirror: &Mirror, stream: &Stream) -> bool {
    let random = stream.chain.worker.random();
    mirror.fraction.is_none_or(|f| random % u64::from(f.denominator.max(1)) < u64::from(f.numerator))
}

/// The request with `-shadow` added to its host, as Envoy does.
fn copy(stream: &Stream) -> Request<Body> {
    let original = &stream.request;
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = original.method.clone();
    *request.uri_mut() = original.uri.clone();
    *request.headers_mut() = original.headers.clone();
    *request.version_mut() = original.version;
    let (host, port) = super::rewrite::host_and_port(target::authority(original));
    let shadow = match port {
        Some(port) => format!("{host}-shadow:{port}"),
        None => format!("{host}-shadow"),
    };
    if let Ok(value) = HeaderValue::try_from(shadow) {
        let mut uri = original.uri.clone();
        target::into_origin_form(&mut uri, request.headers_mut());
        *request.uri_mut() = uri;
        request.headers_mut().insert(HOST, value);
    }
    request
}

async fn exchange(cluster: Rc<LocalCluster>, mut request: Request<Body>) {
    let Ok(_permit) = cluster.admit_request(false, false) else { return };
    let pick = PickContext::default();
    let Ok(host) = cluster.pick(&pick) else { return };
    let Ok(sender) = cluster.http(&host, Some(request.version()), false).await else { return };
    if sender.is_http2() {
        let (mut uri, mut headers) = (request.uri().clone(), std::mem::take(request.headers_mut()));
        target::into_absolute_form(&mut uri, &mut headers, "http");
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        *request.version_mut() = Version::HTTP_2;
    }
    if let Ok(response) = sender.send(request).await {
        let mut body = response.into_body();
        while let Some(Ok(_)) = http_body_util::BodyExt::frame(&mut body).await {}
    }
}
