//! gRPC services over views: a control plane's outward side.
//!
//! ```no_run
//! # async fn run() -> std::io::Result<()> {
//! use mesh_xds::{server::{ListenConfig, XdsServer, serve}, store::{SingleView, View}};
//!
//! let view = View::new();
//! let server = XdsServer::builder(SingleView(view.clone())).build();
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:15010").await?;
//! serve(listener, None, server.routes(), ListenConfig::default(), server.stopped()).await
//! # }
//! ```
//!
//! A stream's life: first request ─► [`Shed`] (is there room) ─► [`StreamAuthorizer`] (who is it, may it) ─► its turn
//! ([`AdmissionLimits`]) ─► [`ViewSource`] (what does it see) ─► protocol core over the view, until either side ends. What happens is told to an [`Observer`], counted in [`Metrics`],
//! and can be asked for at any time through [`Status`].
//!
//! A slow client costs its protocol state and one push; what changes meanwhile is merged. What all clients together have
//! not read yet is bounded ([`PushLimits`]). Each update of a view is pushed at once to whoever is ready; for a producer
//! that changes in bursts, [`crate::store::Debouncer`] and [`crate::store::DebouncedView`] gather.

mod admission;
mod age;
mod authorize;
mod budget;
mod codec;
mod csds;
mod fetch;
mod incoming;
mod limits;
mod listen;
mod load;
mod metrics;
mod observe;
mod outbox;
mod peer;
mod rest;
mod services;
mod status;
mod stream;
mod tell;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use self::{
    admission::Admission,
    budget::Budget,
    metrics::{ByType, CONVERGENCE_TIMES, Histogram},
};
pub use self::{
    admission::{AdmissionLimits, NeverShed, ServerLoad, Shed, ShedImbalance},
    authorize::{AllowAll, NodeIdentity, StreamAuthorizer},
    budget::PushLimits,
    limits::ServerLimits,
    listen::{HandshakeErrors, ListenConfig, serve},
    load::{
        LoadClusters, LoadObserver, LoadReporter, LoadReporting, LoadSettings, LoadTotal, LoadTotals, NoLoadObserver,
    },
    metrics::{HistogramSnapshot, Labels, Metrics, MetricsSnapshot, TypeMetrics, prometheus},
    observe::{Nack, NackedResource, NoObserver, Observer, StreamEvent},
    peer::{ConnectionHandle, PeerInfo},
    status::{Status, StreamInfo, StreamReport},
};
use crate::{protocol::server::StreamLimits, store::ViewSource};

/// An xDS server. Cheap to clone.
#[derive(Clone)]
pub struct XdsServer {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    source: Box<dyn ViewSource>,
    authorizer: Box<dyn StreamAuthorizer>,
    observer: Box<dyn Observer>,
    shed: Box<dyn Shed>,
    limits: ServerLimits,
    /// [`ServerLimits::stream`], shared by all streams.
    stream_limits: Arc<StreamLimits>,
    admission: Admission,
    budget: Budget,
    metrics: Metrics,
    by_type: ByType,
    convergence: Histogram,
    status: Status,
    stop: CancellationToken,
    next_stream: AtomicU64,
    /// Sets this server's nonces apart from those of an earlier process.
    nonce_seed: u64,
}

/// A server to be.
#[must_use]
pub struct ServerBuilder {
    source: Box<dyn ViewSource>,
    authorizer: Box<dyn StreamAuthorizer>,
    observer: Box<dyn Observer>,
    shed: Box<dyn Shed>,
    limits: ServerLimits,
}

impl std::fmt::Debug for XdsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("XdsServer").field("limits", &self.inner.limits).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl XdsServer {
    /// A server whose clients see what `source` gives them. Everyone may connect until
    /// [`ServerBuilder::authorizer`] says otherwise.
    pub fn builder(source: impl ViewSource) -> ServerBuilder {
        ServerBuilder {
            source: Box::new(source),
            authorizer: Box::new(AllowAll),
            observer: Box::new(NoObserver),
            shed: Box::new(NeverShed),
            limits: ServerLimits::default(),
        }
    }

    /// Every discovery service, to be served alone: ADS, CDS, EDS, LDS, RDS, SRDS, VHDS, SDS, ECDS and RTDS.
    #[must_use]
    pub fn routes(&self) -> tonic::service::Routes {
        let mut builder = tonic::service::Routes::builder();
        self.add_to(&mut builder);
        builder.routes()
    }

    /// Adds every discovery service to a server that has others besides.
    pub fn add_to(&self, builder: &mut tonic::service::RoutesBuilder) {
        services::add_all(&self.inner, builder);
    }

    /// Fetch by REST and JSON, for clients whose `ApiConfigSource.api_type` is `REST`: `POST /v3/discovery:clusters`, and
    /// `endpoints`, `listeners`, `routes`, `secrets`, `extension_configs`, `runtime`, as the protocol page's "REST-JSON
    /// polling subscriptions" has it. To be merged with others, or served by [`serve`] (it converts into
    /// [`tonic::service::Routes`]) with [`ListenConfig::http1`] for clients that do not speak HTTP/2.
    ///
    /// Each question is decided on as a stream is. One whose `version_info` names what it would be sent is answered with
    /// `304`. A refusal is a `google.rpc.Status` in JSON. There is no answer to an answer here: a client that refuses what
    /// it gets asks again, and nobody hears of it. A view that is made for its clients ([`crate::store::FilledViews`]) and
    /// has no stream is made anew for each question.
    pub fn rest_router(&self) -> axum::Router {
        rest::router(&self.inner)
    }

    /// Adds CSDS, which tells whoever reaches it what every client holds, but for the content of secrets. It belongs on a
    /// listener for operators.
    pub fn add_status_to(&self, builder: &mut tonic::service::RoutesBuilder) {
        csds::add(&self.inner, builder);
    }

    /// Adds LRS, which takes what clients report of their load. Clients are decided on by this server's authorizer, and
    /// bound by its limits.
    ///
    /// Where clients find it is their configuration's business: `cluster_manager.load_stats_config` in Envoy's bootstrap,
    /// `lrs_server` in a cluster for gRPC.
    pub fn add_load_reporting_to(&self, builder: &mut tonic::service::RoutesBuilder, reporting: LoadReporting) {
        load::add(&self.inner, reporting, builder);
    }

    /// What each client holds.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.status.clone()
    }

    /// The counters as of now.
    #[must_use]
    pub fn metrics(&self) -> MetricsSnapshot {
        self.inner.metrics.snapshot()
    }

    /// The counters of each type of resource as of now.
    #[must_use]
    pub fn metrics_by_type(&self) -> Vec<TypeMetrics> {
        self.inner.by_type.snapshot()
    }

    /// Seconds from a change of a client's view to its last answer.
    #[must_use]
    pub fn convergence_time(&self) -> HistogramSnapshot {
        self.inner.convergence.snapshot()
    }

    /// Ends every stream (`UNAVAILABLE`: clients try again, elsewhere perhaps) and lets no new one in. A push that was made
    /// is sent before.
    pub fn shutdown(&self) {
        self.inner.stop.cancel();
    }

    /// Resolves after [`XdsServer::shutdown`].
    pub fn stopped(&self) -> WaitForCancellationFutureOwned {
        self.inner.stop.clone().cancelled_owned()
    }
}

impl ServerBuilder {
    /// Decides who may connect. Default [`AllowAll`].
    pub fn authorizer(mut self, authorizer: impl StreamAuthorizer) -> Self {
        self.authorizer = Box::new(authorizer);
        self
    }

    /// Is told what happens. Default [`NoObserver`].
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Turns clients away when the server has enough to do. Default [`NeverShed`]: only the limits do.
    pub fn shed(mut self, shed: impl Shed) -> Self {
        self.shed = Box::new(shed);
        self
    }

    /// Bounds.
    pub fn limits(mut self, limits: ServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The server.
    #[must_use]
    pub fn build(self) -> XdsServer {
        let Self { source, authorizer, observer, shed, limits } = self;
        let inner = Inner {
            source,
            authorizer,
            observer,
            shed,
            admission: Admission::new(&limits.admission, stream::clock()),
            budget: Budget::new(&limits.pushes),
            stream_limits: Arc::new(limits.stream.clone()),
            limits,
            metrics: Metrics::default(),
            by_type: ByType::default(),
            convergence: Histogram::new(CONVERGENCE_TIMES),
            status: Status::default(),
            stop: CancellationToken::new(),
            next_stream: AtomicU64::new(1),
            nonce_seed: rand::random(),
        };
        XdsServer { inner: Arc::new(inner) }
    }
}

impl Inner {
    fn stream_id(&self) -> u64 {
        self.next_stream.fetch_add(1, Ordering::Relaxed)
    }
}
