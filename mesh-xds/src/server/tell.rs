//! What happens on a stream: logged, counted, told to the observer.
//!
//! What a client says is logged as text fields, which are written quoted: it can forge no line of the log.

use std::sync::Arc;

use tracing::{debug, info, warn};

use super::{Inner, Nack, NackedResource, StreamEvent, StreamInfo, metrics::add};
use crate::{
    Resource,
    protocol::server::{Event, Ledger, Sent},
};

/// Logs, counts and tells.
pub(super) fn tell(inner: &Inner, stream: &StreamInfo, event: &StreamEvent) {
    let metrics = &inner.metrics;
    let (node, stream_id) = (stream.node.id().as_str(), stream.id);
    match event {
        StreamEvent::Protocol(Event::Pushed { type_url, nonce, resources, removed, bytes }) => {
            add(&metrics.pushes, 1);
            add(&metrics.resources_pushed, *resources);
            add(&metrics.removals_pushed, *removed);
            add(&metrics.bytes_pushed, *bytes);
            inner.by_type.pushed(type_url, *bytes);
            debug!(
                node,
                stream = stream_id,
                type_url = type_url.as_str(),
                nonce = nonce.as_str(),
                resources,
                removed,
                "xDS push"
            );
        }
        StreamEvent::Protocol(Event::Acked { type_url, nonce, after }) => {
            add(&metrics.acks, 1);
            inner.by_type.acked(type_url, *after);
            debug!(
                node,
                stream = stream_id,
                type_url = type_url.as_str(),
                nonce = nonce.as_str(),
                ?after,
                "xDS push accepted"
            );
        }
        StreamEvent::Protocol(Event::StaleNonce { type_url, nonce }) => {
            add(&metrics.stale_nonces, 1);
            inner.by_type.stale_nonce(type_url);
            info!(
                node,
                stream = stream_id,
                type_url = type_url.as_str(),
                nonce = nonce.as_str(),
                "stale nonce: answer dropped"
            );
        }
        StreamEvent::Protocol(Event::HoldExpired { type_url }) => {
            add(&metrics.holds_expired, 1);
            warn!(
                node,
                stream = stream_id,
                type_url = type_url.as_str(),
                "sent although what it depends on was not acknowledged in time"
            );
        }
        StreamEvent::Nacked(nack) => {
            add(&metrics.nacks, 1);
            inner.by_type.nacked(&nack.type_url);
            let culprits: Vec<String> = nack
                .culprits()
                .map(|r| match &r.origin {
                    Some(origin) => format!("{} (from {origin})", r.name),
                    None => r.name.to_string(),
                })
                .collect();
            warn!(node, stream = stream_id, type_url = nack.type_url.as_str(),
                    nonce = nack.nonce.as_str(), reason = &*nack.message, resources = ?culprits, "xDS push refused");
        }
        _ => {}
    }
    inner.observer.observe(stream, event);
}

/// The core's event as the outside sees it: a refusal is traced to where its resources came from.
pub(super) fn to_stream_event(event: Event, ledger: &Ledger) -> StreamEvent {
    let Event::Nacked { type_url, nonce, message, resources } = event else { return StreamEvent::Protocol(event) };
    let resource = |Sent { name, version, named }: Sent| {
        let origin = ledger.get(&type_url, name.as_str()).and_then(|r: &Arc<Resource>| r.origin().cloned());
        NackedResource { named, origin, version, name }
    };
    let resources = resources.into_iter().map(resource).collect();
    StreamEvent::Nacked(Nack { type_url, nonce, message, resources })
}
