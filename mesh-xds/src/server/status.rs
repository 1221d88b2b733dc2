//! What each client holds, asked of the streams themselves: nothing is kept twice.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use parking_lot::Mutex;
use serde_json::json;

use crate::{
    Node, TypeUrl,
    protocol::{
        Variant,
        server::{ResourceState, ServerStream, TypeReport},
    },
    store::View,
};

/// Who is at the other end of a stream.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    /// Numbers the streams of a server, from 1.
    pub id: u64,
    /// Who the client says it is.
    pub node: Node,
    /// Who it has proven to be.
    pub identity: Option<String>,
    /// Where it connects from.
    pub peer_addr: Option<SocketAddr>,
    /// The variant it speaks.
    pub variant: Variant,
    /// When the stream was opened.
    pub connected_at: SystemTime,
}

/// A stream, with what its client holds.
#[derive(Debug, Clone)]
pub struct StreamReport {
    /// Who.
    pub info: StreamInfo,
    /// What, by type in the order of pushes.
    pub types: Vec<TypeReport>,
    /// When the oldest push without an answer was sent.
    pub unanswered_since: Option<Instant>,
}

/// The streams of a server. Cheap to clone.
#[derive(Clone, Default)]
pub struct Status {
    streams: Arc<Mutex<BTreeMap<u64, Arc<Entry>>>>,
}

pub(super) struct Entry {
    pub(super) info: StreamInfo,
    pub(super) core: Mutex<ServerStream>,
    pub(super) view: Arc<View>,
    /// When each type was last refused.
    pub(super) refused: Mutex<BTreeMap<TypeUrl, SystemTime>>,
}

/// Takes an entry out when the stream ends.
pub(super) struct Registered {
    status: Status,
    id: u64,
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").field("streams", &self.streams.lock().len()).finish()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.status.streams.lock().remove(&self.id);
    }
}

impl Status {
    pub(super) fn register(&self, entry: Arc<Entry>) -> Registered {
        let id = entry.info.id;
        self.streams.lock().insert(id, entry);
        Registered { status: self.clone(), id }
    }

    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.streams.lock().values().cloned().collect()
    }

    /// How many streams are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.lock().len()
    }

    /// Whether no stream is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every open stream.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamReport> {
        self.entries().iter().map(|e| e.report()).collect()
    }

    /// The streams of one node: usually one, but two while it reconnects.
    #[must_use]
    pub fn node(&self, id: &str) -> Vec<StreamReport> {
        self.entries().iter().filter(|e| e.info.node.id().as_str() == id).map(|e| e.report()).collect()
    }

    /// Everything as JSON, for `/debug/syncz` and its like: a list of
    /// `{node, cluster, identity, address, variant, connected_at, types: {CDS: {state, error, wildcard, names, pushes,
    /// acks, nacks, stale_nonces, pending, resources: {NAME: {state, version, error}}}}}`.
    /// `state` is `ACKED`, `NACKED` or `STALE`; `connected_at` is in seconds since 1970. Types without a short name have
    /// their URL as key.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        self.streams().iter().map(StreamReport::to_json).collect()
    }
}

impl Entry {
    /// Remembers that a push of the type was refused just now.
    pub(super) fn note_refusal(&self, type_url: &TypeUrl) {
        self.refused.lock().insert(type_url.clone(), SystemTime::now());
    }

    pub(super) fn refused_at(&self, type_url: &TypeUrl) -> Option<SystemTime> {
        self.refused.lock().get(type_url).copied()
    }

    pub(super) fn report(&self) -> StreamReport {
        let core = self.core.lock();
        let types = self.view.read(|ledger| core.report(ledger));
        StreamReport { info: self.info.clone(), types, unanswered_since: core.unanswered_since() }
    }
}

impl StreamReport {
    /// As in [`Status::to_json`].
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let info = &self.info;
        let since = info.connected_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let types: serde_json::Map<_, _> = self
            .types
            .iter()
            .map(|t| (t.type_url.short().unwrap_or(t.type_url.as_str()).to_owned(), type_to_json(t)))
            .collect();
        json!({
            "node": info.node.id().as_str(),
            "cluster": info.node.cluster(),
            "identity": info.identity,
            "address": info.peer_addr.map(|a| a.to_string()),
            "variant": info.variant.as_str(),
            "connected_at": since.as_secs_f64(),
            "types": types,
        })
    }
}

fn type_to_json(report: &TypeReport) -> serde_json::Value {
    let resources: serde_json::Map<_, _> = report
        .resources
        .iter()
        .map(|r| {
            let mut value = json!({ "state": r.state.as_str(), "version": r.version.as_str() });
            if let ResourceState::Nacked(message) = &r.state {
                value["error"] = message.as_ref().into();
            }
            (r.name.as_str().to_owned(), value)
        })
        .collect();
    json!({
        "state": report.state().as_str(),
        "error": report.last_error.as_deref(),
        "wildcard": report.wildcard,
        "names": report.names,
        "pushes": report.pushes,
        "acks": report.acks,
        "nacks": report.nacks,
        "stale_nonces": report.stale_nonces,
        "pending": report.pending,
        "resources": resources,
    })
}
