//! Doubles shared by the tests of this folder: a server on loopback, a client that can be moved, small resources.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mesh_xds::{
    Resource, TypeUrl,
    client::{BackoffConfig, Client, Connect, Update, Watch, WatchEvent},
    protocol::Variant,
    server::{ListenConfig, ServerBuilder, XdsServer, serve},
};
use mesh_xds_api::envoy::config::{
    cluster::v3::Cluster, core::v3::Node, endpoint::v3::ClusterLoadAssignment, listener::v3::Listener,
    route::v3::RouteConfiguration,
};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything here takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn cluster(name: &str, content: &str) -> Resource {
    Resource::pack(name, &Cluster { name: name.into(), alt_stat_name: content.into(), ..Default::default() })
}

pub fn endpoints(name: &str) -> Resource {
    Resource::pack(name, &ClusterLoadAssignment { cluster_name: name.into(), ..Default::default() })
}

pub fn listener(name: &str, content: &str) -> Resource {
    Resource::pack(name, &Listener { name: name.into(), stat_prefix: content.into(), ..Default::default() })
}

pub fn route(name: &str) -> Resource {
    Resource::pack(name, &RouteConfiguration { name: name.into(), ..Default::default() })
}

pub fn node(id: &str) -> Node {
    Node { id: id.into(), ..Default::default() }
}

/// A server on a free port of loopback. Ends when dropped.
pub struct Running {
    pub server: XdsServer,
    pub address: SocketAddr,
}

impl Running {
    pub async fn start(builder: ServerBuilder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = builder.build();
        let mut routes = tonic::service::Routes::builder();
        server.add_to(&mut routes);
        server.add_status_to(&mut routes);
        let config = ListenConfig { drain_timeout: Duration::from_millis(50), ..Default::default() };
        tokio::spawn(serve(listener, None, routes.routes(), config, server.stopped()));
        Self { server, address }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.shutdown();
    }
}

/// Where a client connects to: may change while it runs.
#[derive(Clone)]
pub struct Target(Arc<Mutex<SocketAddr>>);

impl Target {
    pub fn new(address: SocketAddr) -> Self {
        Self(Arc::new(Mutex::new(address)))
    }

    pub fn move_to(&self, address: SocketAddr) {
        *self.0.lock() = address;
    }

    /// Connects to wherever it points to.
    pub fn connect(&self) -> impl Connect + use<> {
        let target = self.clone();
        move || {
            let address = *target.0.lock();
            async move { TcpStream::connect(address).await }
        }
    }

    pub fn client(&self, id: &str, variant: Variant) -> Client {
        let backoff = BackoffConfig { base: Duration::from_millis(20), max: Duration::from_millis(50) };
        Client::builder(node(id), self.connect()).variant(variant).backoff(backoff).spawn()
    }
}

/// The next event, which must be an update.
pub async fn update(watch: &mut Watch) -> Update {
    match tokio::time::timeout(PATIENCE, watch.next()).await.expect("an update in time") {
        Some(WatchEvent::Update(update)) => update,
        other => panic!("expected an update, got {other:?}"),
    }
}

pub fn added(update: &Update) -> Vec<&str> {
    update.added().iter().map(|r| r.name().as_str()).collect()
}

pub fn removed(update: &Update) -> Vec<&str> {
    update.removed().iter().map(|n| n.as_str()).collect()
}

/// The state of one resource as the server knows it, e.g. `ACKED`.
pub fn state_of(server: &XdsServer, node: &str, type_url: &TypeUrl, name: &str) -> Option<&'static str> {
    let report = server.status().node(node).pop()?;
    let of_type = report.types.iter().find(|t| t.type_url == *type_url)?;
    of_type.resources.iter().find(|r| r.name == name).map(|r| r.state.as_str())
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}
