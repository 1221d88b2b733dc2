//! What most scenarios begin with: a management server, backends and a client.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use mesh_xds::store::Batch;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{
    backend::Backend,
    grpc::{Grpc, Implementation},
    management::Management,
    resources::{cluster, endpoints, listener, route_to},
};

/// The node that clients say they are.
pub(crate) const NODE: &str = "grpc-client";

/// Everything of a scenario. Ends when dropped.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) management: Management,
    pub(crate) runtime: Runtime,
}

impl World {
    /// An empty view, served in the clear.
    pub(crate) fn new() -> Self {
        Self::managed_by(|runtime| Management::start(runtime, None))
    }

    /// An empty view, served as `start` does it.
    pub(crate) fn managed_by(start: impl FnOnce(&Handle) -> Management) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { folder: tempfile::tempdir().unwrap(), management: start(runtime.handle()), runtime }
    }

    /// A backend that answers `name`.
    pub(crate) fn backend(&self, name: &'static str) -> Backend {
        self.secure_backend(name, None)
    }

    /// As [`World::backend`], behind TLS.
    pub(crate) fn secure_backend(&self, name: &'static str, tls: Option<Arc<rustls::ServerConfig>>) -> Backend {
        Backend::start(self.runtime.handle(), name, tls)
    }

    /// `xds:///NAME`: a listener, a route, a cluster and its endpoints, all of this name.
    pub(crate) fn service(&self, name: &str, addresses: &[SocketAddr]) {
        let resources = [listener(name, name), route_to(name, name), cluster(name), endpoints(name, addresses)];
        self.update(Batch::from_iter(resources));
    }

    pub(crate) fn update(&self, batch: Batch) {
        assert!(!self.management.view.update(batch).is_empty(), "the update changes something");
    }

    /// A client of the management server.
    pub(crate) fn client(&self, implementation: Implementation) -> Grpc {
        self.client_with(implementation, &json!({"xds_servers": [plaintext(self.management.address)]}))
    }

    /// A client whose bootstrap has these fields besides the node.
    pub(crate) fn client_with(&self, implementation: Implementation, fields: &Value) -> Grpc {
        let mut bootstrap = json!({"node": {"id": NODE, "cluster": "c", "locality": {"region": "r", "zone": "z0"}}});
        bootstrap.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        implementation.start(&self.file("bootstrap.json", &bootstrap.to_string()))
    }

    /// Writes a file.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

/// A management server in a bootstrap, without TLS.
pub(crate) fn plaintext(address: SocketAddr) -> Value {
    json!({"server_uri": address.to_string(), "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]})
}
