//! Who is let in: by the first request of a stream.

use std::{error::Error, sync::Arc};

use futures::{StreamExt, stream::BoxStream};
use tonic::{Code as GrpcCode, Status as Code};
use tracing::warn;

use super::{Incoming, Newcomer, STOPPED, Session};
use crate::{
    Node,
    protocol::Variant,
    server::{
        Inner, PeerInfo, StreamEvent, StreamInfo,
        admission::{self, Starting},
        metrics::add,
    },
    store::{Attach, Refusal, ViewHandle},
};

/// Counts an open stream.
pub(super) struct Open(Arc<Inner>);

impl Open {
    fn new(inner: &Arc<Inner>) -> Result<Self, Code> {
        use std::sync::atomic::Ordering::Relaxed;
        let open = inner.metrics.streams_open.fetch_add(1, Relaxed);
        let counted = Self(inner.clone());
        if open >= inner.limits.max_streams {
            return Err(Code::resource_exhausted("too many streams; try another server"));
        }
        add(&inner.metrics.streams_total, 1);
        Ok(counted)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.streams_open.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Waits for the first request and decides by it. `None` if the client has gone away before.
pub(super) async fn admit_first(
    inner: &Arc<Inner>,
    newcomer: Box<Newcomer>,
    requests: &mut BoxStream<'static, Incoming>,
) -> Result<Option<Box<Session>>, Code> {
    // Who it is nobody knows before the first request.
    let turned_away =
        |code| refuse(inner, &stream_info(inner, newcomer.variant, &newcomer.peer, Node::default()), code);
    let open = Open::new(inner).map_err(turned_away)?;
    let admitting = async {
        let first = tokio::time::timeout(inner.limits.first_request_timeout, requests.next());
        let (node, request) = match first.await {
            Err(_) => return Err(turned_away(Code::deadline_exceeded("no request came"))),
            Ok(None) => return Ok(None),
            Ok(Some(Ok(first))) => first,
            Ok(Some(Err(code))) => return Err(bad_message(inner, &code).map_or(code, turned_away)),
        };
        let mut session = Session::admit(inner, &newcomer, node.unwrap_or_default(), open).await?;
        session.take(request)?;
        Ok(Some(session))
    };
    tokio::select! {
        biased;
        () = inner.stop.cancelled() => Err(turned_away(Code::unavailable(STOPPED))),
        admitted = admitting => admitted,
    }
}

/// A client that was let in.
pub(in crate::server) struct Admitted {
    pub(in crate::server) info: StreamInfo,
    pub(in crate::server) view: ViewHandle,
    /// Its place, unless getting the view took too long for one.
    pub(in crate::server) starting: Option<Starting>,
}

/// Decides on a client by its first request. A refusal is logged, counted and told.
pub(in crate::server) async fn admit(
    inner: &Arc<Inner>,
    variant: Variant,
    peer: &PeerInfo,
    node: Node,
) -> Result<Admitted, Code> {
    if node.id().as_str().len() > inner.limits.stream.max_name_bytes {
        let info = stream_info(inner, variant, peer, Node::default());
        let limit = inner.limits.stream.max_name_bytes;
        let code = Code::invalid_argument(format!("node.id is too long, at most {limit} bytes are read"));
        return Err(refuse(inner, &info, code));
    }
    let mut info = stream_info(inner, variant, peer, node);
    let admitted = async {
        admission::welcome(inner)?;
        info.identity = inner.authorizer.authorize(peer, &info.node).await?;
        let attach = Attach { node: info.node.clone(), identity: info.identity.clone(), peer_addr: info.peer_addr };
        let starting = admission::enter(inner).await?;
        let (view, starting) = admission::keep(starting, inner.source.attach(&attach)).await;
        Ok((view?, starting))
    };
    match admitted.await {
        Ok((view, starting)) => Ok(Admitted { info, view, starting }),
        Err(refusal) => Err(refuse(inner, &info, refusal_code(&refusal))),
    }
}

fn stream_info(inner: &Inner, variant: Variant, peer: &PeerInfo, node: Node) -> StreamInfo {
    let connected_at = std::time::SystemTime::now();
    StreamInfo { id: inner.stream_id(), node, identity: None, peer_addr: peer.remote_addr, variant, connected_at }
}

/// Logs, counts and tells a refusal, and gives back what the client is told.
fn refuse(inner: &Inner, info: &StreamInfo, code: Code) -> Code {
    add(&inner.metrics.streams_refused, 1);
    let reason = code.message().to_owned();
    warn!(node = info.node.id().as_str(), peer = ?info.peer_addr, identity = info.identity.as_deref(), reason,
        "xDS stream refused");
    inner.observer.observe(info, &StreamEvent::Refused { reason });
    code
}

/// What a client is told whose message could not be read. `None` if it was the connection that failed.
pub(super) fn bad_message(inner: &Inner, code: &Code) -> Option<Code> {
    match code.code() {
        // tonic says OUT_OF_RANGE, other gRPC stacks RESOURCE_EXHAUSTED.
        GrpcCode::OutOfRange | GrpcCode::ResourceExhausted => Some(Code::resource_exhausted(format!(
            "the request is too large, at most {} bytes are read",
            inner.limits.max_request_bytes
        ))),
        // A stream that is reset comes as INTERNAL too, with the reset as its cause: some clients end theirs so.
        GrpcCode::Internal | GrpcCode::InvalidArgument if code.source().is_none() => {
            Some(Code::invalid_argument(format!("the request cannot be read: {}", code.message())))
        }
        _ => None,
    }
}

/// What the client is told.
pub(in crate::server) fn refusal_code(refusal: &Refusal) -> Code {
    let reason = refusal.to_string();
    match refusal {
        Refusal::Denied(_) => Code::permission_denied(reason),
        Refusal::Unauthenticated(_) => Code::unauthenticated(reason),
        Refusal::NotReady(_) => Code::unavailable(reason),
    }
}
