//! An xDS client: keeps one aggregated stream up, resumes it, and lets its user accept or reject each update.
//!
//! ```no_run
//! # async fn run(node: mesh_xds_api::envoy::config::core::v3::Node) {
//! use mesh_xds::{TypeUrl, client::{Client, Rejection, TcpConnect, WatchEvent}, protocol::Subscription};
//!
//! let client = Client::builder(node, TcpConnect::new("127.0.0.1:15010")).spawn();
//! let mut clusters = client.watch(TypeUrl::CLUSTER, Subscription::Wildcard);
//! while let Some(event) = clusters.next().await {
//!     match event {
//!         WatchEvent::Update(update) if update.added().is_empty() => update.accept(),
//!         WatchEvent::Update(update) => update.reject(Rejection::new("no clusters wanted")),
//!         WatchEvent::Overdue { names, .. } => eprintln!("no answer for {names:?}"),
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! - Updates have one form in SotW and delta: what is new or changed, and what is gone. After a reconnect only the
//!   difference is told; what a watch holds stays valid while the server is away.
//! - One update per type is in the user's hands at a time. Its answer becomes the acknowledgement: to answer late (when
//!   clusters are warm, say) holds back what the server orders behind it. Other types go on.
//! - The first requests of a stream go out in the order CDS, EDS, LDS, RDS, SDS.
//! - Other servers can stand in for one that is away ([`ClientBuilder::fallback`]).
//! - What was accepted can be kept on disk for a start without a server ([`ClientBuilder::last_good`]).
//! - Names can be added and dropped at any time ([`Watch::subscribe`], [`Subscriber`]), and one name can be asked for on
//!   demand ([`Client::fetch_one`]).
//! - Nothing is queued without bound: what cannot be taken is not read from the stream.
//!
//! Load reports are a client of their own: [`lrs`].
//!
//! Everything runs in one future ([`Driver::run`]), also on a single-threaded runtime.

mod backoff;
mod channel;
mod connect;
mod driver;
mod fetch;
pub mod lrs;
mod probe;
mod servers;
mod session;
mod shared;
mod snapshot;
mod status;
mod storing;
mod stream;
mod watch;

use std::{fmt, sync::Arc, time::Duration};

use mesh_xds_api::envoy::config::core::v3::Node as NodeMessage;

pub use self::{
    backoff::BackoffConfig,
    connect::{BoxedIo, Connect, TcpConnect},
    driver::Driver,
    fetch::FetchError,
    snapshot::{LastGood, LastGoodStatus, SnapshotError},
    status::{ClientStatus, Connection},
    watch::{Rejection, Subscriber, Update, Watch, WatchEvent},
};
use self::{
    channel::ChannelConfig,
    shared::{Handle, Shared},
    snapshot::Keeper,
};
pub use crate::protocol::client::{Source, TypeStatus};
use crate::{
    TypeUrl,
    protocol::{Subscription, Variant, client::ClientState},
};

/// What a client may be told besides its node and its transport.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The variant spoken. Default delta.
    pub variant: Variant,
    /// Uses the discovery service of this one type (CDS, EDS, LDS, RDS, SDS) instead of the aggregated one. Only that type
    /// may then be watched or fetched. Default `None`.
    pub service: Option<TypeUrl>,
    /// `:authority` of the requests. Default `xds`.
    pub authority: String,
    /// Waiting between attempts.
    pub backoff: BackoffConfig,
    /// How long an attempt to connect may take. Default 10 s.
    pub connect_timeout: Duration,
    /// HTTP/2 pings on a silent connection: how often, and the same again for the answer. Default 20 s.
    pub keepalive: Duration,
    /// The largest response that is taken. Default 256 MiB: a cold start comes in one message.
    pub max_message_bytes: usize,
    /// How long a watch waits for its first answer before it is told so. Zero waits for ever. Default 15 s, as Envoy's
    /// `initial_fetch_timeout`.
    pub initial_fetch_timeout: Duration,
    /// Names that may wait for an answer to [`Client::fetch_one`] at a time. Default 1024.
    pub max_fetches: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            variant: Variant::Delta,
            service: None,
            authority: "xds".into(),
            backoff: BackoffConfig::default(),
            connect_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(20),
            max_message_bytes: 256 << 20,
            initial_fetch_timeout: Duration::from_secs(15),
            max_fetches: 1024,
        }
    }
}

impl ClientConfig {
    fn channel(&self) -> ChannelConfig {
        ChannelConfig {
            authority: self.authority.clone(),
            connect_timeout: self.connect_timeout,
            keepalive: self.keepalive,
        }
    }
}

/// A handle on a client. Cheap to clone. The client ends with its last handle and its last [`Watch`].
#[derive(Debug, Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// A client to be.
pub struct ClientBuilder {
    node: NodeMessage,
    servers: Vec<Arc<dyn Connect>>,
    config: ClientConfig,
    last_good: Option<LastGood>,
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("node", &self.node.id)
            .field("servers", &self.servers.len())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client that introduces itself as `node`, sent with the first request of each stream, and reaches the server
    /// through `connect`.
    pub fn builder(node: NodeMessage, connect: impl Connect) -> ClientBuilder {
        ClientBuilder { node, servers: vec![Arc::new(connect)], config: ClientConfig::default(), last_good: None }
    }

    /// Watches a type, with the client's `initial_fetch_timeout`. A later watch of the same type takes the place of the
    /// earlier one, which ends.
    #[must_use]
    pub fn watch(&self, type_url: TypeUrl, subscription: Subscription) -> Watch {
        self.watch_with_timeout(type_url, subscription, self.handle.shared.initial_fetch_timeout())
    }

    /// As [`Client::watch`], with its own time to wait for a first answer. Zero waits for ever.
    #[must_use]
    pub fn watch_with_timeout(&self, type_url: TypeUrl, subscription: Subscription, timeout: Duration) -> Watch {
        Watch::new(self.handle.clone(), type_url, subscription, timeout)
    }

    /// The state of connection and types, and its changes.
    #[must_use]
    pub fn status(&self) -> tokio::sync::watch::Receiver<ClientStatus> {
        self.handle.shared.status.subscribe()
    }

    /// Ends the client: the stream is closed and every watch ends.
    pub fn shutdown(&self) {
        self.handle.shared.stop.cancel();
    }
}

impl ClientBuilder {
    /// Adds a server, reached through `connect`, for when those before it cannot be reached (gRFC A71).
    ///
    /// - It is used if the server in use cannot be reached, or ends its stream without an answer, while something is
    ///   subscribed that no server has answered yet. While everything is answered nothing is asked of it.
    /// - Servers before the one in use are tried further, with their own back-off. The first that answers is used again.
    /// - What watches hold stays in force until the other server's answers replace it. Versions are not taken along.
    #[must_use]
    pub fn fallback(mut self, connect: impl Connect) -> Self {
        self.servers.push(Arc::new(connect));
        self
    }

    /// Keeps what watches have accepted on disk, for a start at which no server can be reached: see [`LastGood`].
    #[must_use]
    pub fn last_good(mut self, last_good: LastGood) -> Self {
        self.last_good = Some(last_good);
        self
    }

    /// Takes another configuration as a whole.
    #[must_use]
    pub fn config(mut self, config: ClientConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the variant. Default delta.
    #[must_use]
    pub fn variant(mut self, variant: Variant) -> Self {
        self.config.variant = variant;
        self
    }

    /// Sets the waiting between attempts.
    #[must_use]
    pub fn backoff(mut self, backoff: BackoffConfig) -> Self {
        self.config.backoff = backoff;
        self
    }

    /// The client, and the future that makes it work.
    pub fn build(mut self) -> (Client, Driver) {
        declare_features(&mut self.node, self.config.variant);
        let keeper = self.last_good.take().map(|config| Keeper::new(config, &self.node.id));
        let shared = Arc::new(Shared::new(ClientState::new(self.config.variant), &self.config, keeper));
        let client = Client { handle: Arc::new(Handle { shared: shared.clone() }) };
        (client, Driver::new(shared, self.node, self.servers, self.config))
    }

    /// The client, its future spawned on the current tokio runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`tokio::spawn`].
    #[must_use]
    pub fn spawn(self) -> Client {
        let (client, driver) = self.build();
        tokio::spawn(driver.run());
        client
    }
}

/// What the client can do, for servers that ask ("TTL" in the protocol's text).
fn declare_features(node: &mut NodeMessage, variant: Variant) {
    let features: &[&str] = match variant {
        Variant::Delta => &["xds.config.supports-resource-ttl"],
        Variant::Sotw => &["xds.config.supports-resource-ttl", "xds.config.supports-resource-in-sotw"],
    };
    for feature in features {
        if !node.client_features.iter().any(|f| f == feature) {
            node.client_features.push((*feature).to_owned());
        }
    }
}
