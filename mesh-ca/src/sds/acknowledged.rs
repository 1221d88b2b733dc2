//! [`Acknowledged`]: what proxies have acknowledged is what a rotation waits for.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::SystemTime,
};

use mesh_xds::{
    Resource, Version,
    protocol::server::{ResourceReport, ResourceState},
    server::{Observer, ServerBuilder, Status, StreamEvent, StreamInfo, XdsServer},
};

use crate::{
    clock::Clock,
    issuer::rotation::{
        RootId, RotationFeed,
        receivers::{Holding, Receivers, Receiving},
    },
};

/// Versions of a secret whose meaning is known. A proxy that is further behind counts with what it had before.
const KNOWN_VERSIONS: usize = 32;

/// What a version of a secret stands for.
#[derive(Debug, Clone)]
pub(super) enum Meaning {
    /// The CA's bundle of this number.
    Bundle(u64),
    /// A certificate that ends at this root, if it is one of the CA's; and when it ends.
    Certificate(Option<RootId>, SystemTime),
}

/// Shared by the servers of one [`SdsServer`](super::SdsServer).
#[derive(Debug)]
pub(super) struct Acknowledged {
    receivers: Arc<Receivers>,
    meanings: Mutex<BTreeMap<String, VecDeque<(Version, Meaning)>>>,
    servers: Mutex<Vec<Weak<Streams>>>,
}

impl Acknowledged {
    pub(super) fn new(feed: &RotationFeed, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { receivers: Receivers::new(feed, clock), meanings: Mutex::default(), servers: Mutex::default() })
    }

    /// A secret is about to be put into the view. The same content may come to mean a later bundle.
    pub(super) fn note(&self, secret: &Resource, meaning: Meaning) {
        let mut meanings = self.meanings.lock().unwrap_or_else(PoisonError::into_inner);
        let known = meanings.entry(secret.name().as_str().to_owned()).or_default();
        known.retain(|(version, _)| version != secret.version());
        known.push_back((secret.version().clone(), meaning));
        if known.len() > KNOWN_VERSIONS {
            known.pop_front();
        }
    }

    fn meaning(&self, report: &ResourceReport) -> Option<Meaning> {
        let meanings = self.meanings.lock().unwrap_or_else(PoisonError::into_inner);
        let known = meanings.get(report.name.as_str())?;
        known.iter().find(|(version, _)| *version == report.version).map(|(_, meaning)| meaning.clone())
    }

    /// The view has changed. A proxy that has what it holds now already is not sent it again, and so acknowledges nothing.
    pub(super) fn refresh(&self) {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        servers.iter().filter_map(Weak::upgrade).for_each(|streams| streams.refresh());
    }

    /// The server, whose streams are followed from now on.
    pub(super) fn build(self: &Arc<Self>, builder: ServerBuilder) -> XdsServer {
        let streams = Arc::new(Streams { shared: Arc::clone(self), status: OnceLock::new(), open: Mutex::default() });
        let observer = Arc::clone(&streams);
        let server =
            builder.observer(move |stream: &StreamInfo, event: &StreamEvent| observer.observe(stream, event)).build();
        // Set once, here.
        let _ = streams.status.set(server.status());
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|s| s.strong_count() > 0);
        servers.push(Arc::downgrade(&streams));
        drop(servers);
        server
    }
}

/// What one stream has acknowledged, by secret.
#[derive(Debug)]
struct Stream {
    receiving: Receiving,
    bundles: BTreeMap<String, u64>,
    certificates: BTreeMap<String, (Option<RootId>, SystemTime)>,
}

#[derive(Debug)]
struct Streams {
    shared: Arc<Acknowledged>,
    status: OnceLock<Status>,
    open: Mutex<HashMap<u64, Stream>>,
}

impl Streams {
    fn refresh(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(status) = self.status.get() else { return };
        for report in status.streams() {
            if let Some(known) = open.get_mut(&report.info.id) {
                known.read(&self.shared, report.types.into_iter().flat_map(|t| t.resources));
            }
        }
    }
}

impl Observer for Streams {
    fn observe(&self, stream: &StreamInfo, event: &StreamEvent) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            StreamEvent::Connected => {
                let receiving = self.shared.receivers.open(&name(stream));
                let (bundles, certificates) = (BTreeMap::new(), BTreeMap::new());
                open.insert(stream.id, Stream { receiving, bundles, certificates });
            }
            StreamEvent::Disconnected { .. } => {
                open.remove(&stream.id);
            }
            StreamEvent::Protocol(_) | StreamEvent::Nacked(_) => {
                let (Some(known), Some(status)) = (open.get_mut(&stream.id), self.status.get()) else { return };
                let report = status.node(stream.node.id().as_str()).into_iter().find(|s| s.info.id == stream.id);
                let resources = report.into_iter().flat_map(|r| r.types).flat_map(|t| t.resources);
                known.read(&self.shared, resources);
            }
            _ => {}
        }
    }
}

impl Stream {
    fn read(&mut self, shared: &Acknowledged, resources: impl Iterator<Item = ResourceReport>) {
        let (mut bundles, mut certificates, mut sent) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for resource in resources {
            let name = resource.name.as_str().to_owned();
            let acknowledged = resource.state == ResourceState::Acked;
            let before = (self.bundles.get(&name).copied(), self.certificates.get(&name).cloned());
            match (shared.meaning(&resource), before) {
                (Some(Meaning::Bundle(sequence)), (before, _)) => {
                    bundles.insert(name, if acknowledged { sequence } else { before.unwrap_or(0) });
                }
                (Some(Meaning::Certificate(root, until)), _) if acknowledged => {
                    certificates.insert(name, (root, until));
                }
                (Some(Meaning::Certificate(root, until)), (_, before)) => {
                    // It may be in use before the answer is here.
                    sent.push((root, until));
                    certificates.extend(before.map(|before| (name, before)));
                }
                // Of a version from long ago: what it had before stays.
                (None, (bundle, certificate)) => {
                    bundles.extend(bundle.map(|sequence| (name.clone(), sequence)));
                    certificates.extend(certificate.map(|c| (name, c)));
                }
            }
        }
        (self.bundles, self.certificates) = (bundles, certificates);
        let held = || self.certificates.values().chain(&sent);
        let holding = Holding {
            sequence: self.bundles.values().copied().min(),
            roots: held().filter_map(|(root, _)| root.clone()).collect(),
            until: held().map(|(_, until)| *until).max(),
        };
        self.receiving.update(|all| *all = holding);
    }
}

/// What a stream is called in answers. Streams of one node are one receiver; one without a name is its own.
fn name(stream: &StreamInfo) -> String {
    match stream.node.id().as_str() {
        "" => format!("SDS stream {} since {:?}", stream.id, stream.connected_at),
        node => format!("{node} (SDS)"),
    }
}
