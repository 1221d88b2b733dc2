//! One question, one answer: what a new state-of-the-world stream would be sent first. The unary form of gRPC, and REST.

use std::{sync::Arc, time::Instant};

use mesh_xds_api::envoy::service::discovery::v3::DiscoveryRequest;
use tonic::Status;
use tracing::debug;

use super::{
    Inner, PeerInfo, StreamEvent,
    metrics::add,
    stream::{self, Admitted},
};
use crate::{
    Node, TypeUrl,
    protocol::{
        Content, Push, Request, Variant,
        server::{Revision, ServerStream, Violation},
    },
};

/// What a fetch is answered with.
pub(super) enum Fetched {
    /// All that is asked for.
    Push(Push),
    /// The client has it already: its `version_info` says so.
    Unchanged,
}

/// Answers `message`, of type `only`. The client is decided on as if it opened a stream.
///
/// # Errors
/// The reason, for the client.
pub(super) async fn fetch(
    inner: &Arc<Inner>,
    only: Option<&TypeUrl>,
    peer: &PeerInfo,
    mut message: DiscoveryRequest,
) -> Result<Fetched, Status> {
    let node = message.node.take().map(Node::from).unwrap_or_default();
    let mut request = Request::from(message);
    add(&inner.metrics.requests, 1);
    add(&inner.metrics.fetches, 1);
    set_type(&mut request, only)?;
    let held = request.version.take();
    // There is no earlier answer that a fetch could refer to.
    (request.nonce, request.error) = (None, None);
    let Admitted { info, view, starting: _starting } = stream::admit(inner, Variant::Sotw, peer, node).await?;
    let mut core = ServerStream::new(Variant::Sotw, inner.nonce_seed, inner.stream_limits.clone());
    let now = Instant::now();
    let push = view.read(|ledger| {
        core.handle(&request, ledger, now)?;
        Ok::<_, Violation>(core.poll(ledger, Revision::MAX, now))
    });
    let push = match push {
        Ok(Some(push)) => push,
        Ok(None) => return Err(Status::invalid_argument("the request asks for nothing")),
        Err(violation) => return Err(Status::invalid_argument(violation.to_string())),
    };
    let Content { type_url, version, resources, .. } = &*push.content;
    let unchanged = held.as_ref() == Some(version);
    let (node, resources) = (info.node.id().as_str(), resources.len());
    debug!(node, type_url = type_url.as_str(), resources, unchanged, "xDS fetch");
    let event = StreamEvent::Fetched { type_url: type_url.clone(), resources, unchanged };
    inner.observer.observe(&info, &event);
    if unchanged {
        add(&inner.metrics.fetches_unchanged, 1);
        return Ok(Fetched::Unchanged);
    }
    Ok(Fetched::Push(push))
}

/// A service of one type has that type, named or not.
pub(super) fn set_type(request: &mut Request, only: Option<&TypeUrl>) -> Result<(), Status> {
    match only {
        Some(only) if request.type_url.as_str().is_empty() => request.type_url = only.clone(),
        Some(only) if request.type_url != *only => {
            return Err(Status::invalid_argument(format!("this service has {only}, not {}", request.type_url)));
        }
        _ => {}
    }
    Ok(())
}
