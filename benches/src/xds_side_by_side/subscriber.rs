//! One subscriber: a connection of its own with one ADS stream, which takes and acknowledges what comes.
//!
//! It subscribes as Envoy does: to all clusters, and to the assignment of each cluster it is told of.

use std::{rc::Rc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use h2::{RecvStream, SendStream, client::ResponseFuture};

use super::{
    connection::{self, Counting},
    progress::{Progress, Seen},
    wire::{self, Kind, Piece, Reader, RequestParts, Variant},
};

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(60);

/// What a subscriber wants, and what it holds from before.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) variant: Variant,
    /// Clusters asked for by name, `cluster-0` and on; `None`: all there are.
    pub(crate) named: Option<usize>,
    /// What an earlier stream left.
    pub(crate) resume: Option<Rc<Resume>>,
}

/// What a stream is told to hold already.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resume {
    pub(crate) clusters: usize,
    /// Delta: `initial_resource_versions`, encoded, of clusters and of assignments.
    pub(crate) initial: [Bytes; 2],
    /// SotW: `version_info` of both.
    pub(crate) version: [Bytes; 2],
}

/// Runs one subscriber until its stream ends, which is an error.
pub(crate) async fn run(
    id: usize,
    addr: std::net::SocketAddr,
    subscription: Subscription,
    progress: Rc<Progress>,
) -> anyhow::Result<()> {
    let turn = progress.turn().await;
    let opening = connection::open(addr, subscription.variant, Counting { turn, progress: progress.clone() });
    let (sender, responses) = tokio::time::timeout(CONNECT, opening).await.context("connecting")??;
    let mut stream = Stream::new(id, sender, subscription, progress);
    stream.begin()?;
    stream.progress.opened();
    stream.serve(responses).await
}

/// An open stream.
struct Stream {
    id: usize,
    sender: SendStream<Bytes>,
    subscription: Subscription,
    progress: Rc<Progress>,
    seen: Seen,
    /// Clusters there are, as far as is known: `cluster-0` and on.
    clusters: usize,
    /// Clusters whose assignments are subscribed.
    subscribed: usize,
    node_sent: bool,
    response: Response,
    /// SotW: version and nonce of the last response with assignments.
    last_endpoints: (Bytes, Bytes),
}

/// What is known of the response that is being read.
#[derive(Debug, Default)]
struct Response {
    kind: Option<Kind>,
    version: Bytes,
    nonce: Bytes,
    clusters: usize,
    highest: usize,
    lowest_removed: Option<usize>,
}

impl Stream {
    fn new(id: usize, sender: SendStream<Bytes>, subscription: Subscription, progress: Rc<Progress>) -> Self {
        Self {
            id,
            sender,
            subscription,
            progress,
            seen: Seen::default(),
            clusters: 0,
            subscribed: 0,
            node_sent: false,
            response: Response::default(),
            last_endpoints: Default::default(),
        }
    }

    /// The first requests.
    fn begin(&mut self) -> anyhow::Result<()> {
        if let Some(resume) = self.subscription.resume.clone() {
            (self.clusters, self.subscribed) = (resume.clusters, resume.clusters);
            let names = self.progress.names(0..resume.clusters);
            for (kind, i) in [(Kind::Cluster, 0), (Kind::Endpoint, 1)] {
                let mut shared = resume.initial[i].to_vec();
                if kind == Kind::Endpoint || self.subscription.named.is_some() {
                    shared.extend_from_slice(&names);
                }
                self.send(kind, &resume.version[i], &[], shared.into())?;
            }
            return Ok(());
        }
        let shared = self.subscription.named.map(|count| self.progress.names(0..count)).unwrap_or_default();
        self.send(Kind::Cluster, &[], &[], shared)
    }

    async fn serve(&mut self, response: ResponseFuture) -> anyhow::Result<()> {
        let response = response.await.context("the stream was refused")?;
        anyhow::ensure!(response.status() == 200, "answered {}", response.status());
        let refusal = response.headers().get("grpc-message").cloned();
        let mut body: RecvStream = response.into_body();
        let mut reader = Reader::new(self.subscription.variant);
        while let Some(chunk) = body.data().await {
            let chunk = chunk.context("the stream broke")?;
            body.flow_control().release_capacity(chunk.len())?;
            let mut whole = 0;
            let mut outcome = Ok(());
            reader.feed(&chunk, &mut |piece| {
                if matches!(piece, Piece::End) {
                    whole += 1;
                    if outcome.is_ok() {
                        outcome = self.finish();
                    }
                } else {
                    self.piece(&piece);
                }
            })?;
            outcome?;
        }
        let trailers = body.trailers().await?;
        anyhow::bail!("the stream ended: {refusal:?} {trailers:?}")
    }

    fn piece(&mut self, piece: &Piece<'_>) {
        match *piece {
            Piece::Version(version) => self.response.version = Bytes::copy_from_slice(version),
            Piece::Nonce(nonce) => self.response.nonce = Bytes::copy_from_slice(nonce),
            Piece::TypeUrl(kind) => self.response.kind = Some(kind),
            Piece::Removed(index) => {
                let lowest = self.response.lowest_removed.get_or_insert(index);
                *lowest = index.min(*lowest);
            }
            Piece::Resource { kind, index, version, weight } => {
                if kind == Kind::Cluster {
                    self.response.clusters += 1;
                    self.response.highest = self.response.highest.max(index + 1);
                }
                self.progress.resource(&mut self.seen, self.id == 0, kind, index, version, weight);
            }
            Piece::End => {}
        }
    }

    /// Acknowledges a whole response, and asks for the assignments of clusters that are new.
    fn finish(&mut self) -> anyhow::Result<()> {
        let response = std::mem::take(&mut self.response);
        let kind = response.kind.context("a response without a type")?;
        let sotw = self.subscription.variant == Variant::Sotw;
        if self.id == 0 {
            self.progress.versioned(kind, &response.version);
        }
        let names = match kind {
            _ if !sotw => Bytes::new(),
            Kind::Cluster => self.subscription.named.map(|n| self.progress.names(0..n)).unwrap_or_default(),
            Kind::Endpoint => self.progress.names(0..self.subscribed),
        };
        let version = if sotw { response.version.clone() } else { Bytes::new() };
        self.send(kind, &version, &response.nonce, names)?;
        match kind {
            Kind::Endpoint => self.last_endpoints = (response.version, response.nonce),
            Kind::Cluster if sotw => {
                self.clusters = response.clusters;
                self.follow_sotw()?;
            }
            Kind::Cluster => {
                self.clusters = self.clusters.max(response.highest);
                self.clusters = response.lowest_removed.map_or(self.clusters, |lowest| lowest.min(self.clusters));
                self.follow_delta()?;
            }
        }
        if kind == Kind::Cluster {
            self.progress.counted(&mut self.seen, self.clusters);
        }
        self.progress.finished(&mut self.seen);
        Ok(())
    }

    fn follow_sotw(&mut self) -> anyhow::Result<()> {
        if self.subscribed == self.clusters {
            return Ok(());
        }
        self.subscribed = self.clusters;
        let (version, nonce) = self.last_endpoints.clone();
        self.send(Kind::Endpoint, &version, &nonce, self.progress.names(0..self.clusters))
    }

    fn follow_delta(&mut self) -> anyhow::Result<()> {
        let change = match (self.subscribed, self.clusters) {
            (old, new) if new > old => self.progress.names(old..new),
            (old, new) if new < old => wire::unsubscribed(new..old),
            _ => return Ok(()),
        };
        self.subscribed = self.clusters;
        self.send(Kind::Endpoint, &[], &[], change)
    }

    fn send(&mut self, kind: Kind, version: &[u8], nonce: &[u8], shared: Bytes) -> anyhow::Result<()> {
        let id = (!self.node_sent).then(|| format!("node-{}", self.id));
        self.node_sent = true;
        let parts = RequestParts { node: id.as_deref(), version, nonce, shared };
        let (own, shared) = wire::request(self.subscription.variant, kind, parts);
        self.sender.send_data(own, false)?;
        if !shared.is_empty() {
            self.sender.send_data(shared, false)?;
        }
        self.progress.sent();
        Ok(())
    }
}
