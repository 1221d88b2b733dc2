//! Mesh configuration and services as Envoy resources, for one proxy at a time.
//!
//! ```text
//! Snapshot + Registry --Translator::prepare--> MeshContext --translate(node)--> Translation
//!                         once per change                    once per proxy
//! ```
//!
//! The result is what Istio's control plane would send, in Istio's names, so that tools made for Istio understand it. It
//! is pure: no IO, no clock, and equal inputs give equal bytes. An object that cannot be carried out as written is
//! reported as a [`Notice`] and never spoils another.
//!
//! Two layouts are made, chosen by the node's `INTERCEPTION_MODE`:
//! - `REDIRECT` (default): two listeners take what the kernel redirects, as on Kubernetes.
//! - `NONE`: each port is a listener of its own, for machines without interception. Callers address `OUTBOUND_BIND`.
//!
//! Inside, each generator sees only a key struct with all it depends on: `cluster::OutboundKey`, `route::RouteKey`,
//! `http::HttpKey`, `rbac::rule::RuleKey` and so on; `view` is where keys are made.

mod authn;
mod cluster;
mod coverage;
mod destination;
mod endpoint;
mod http;
mod listener;
pub mod names;
mod node;
mod options;
mod proto;
mod rbac;
mod render;
mod resources;
mod route;
mod secret;

mod tls;
mod translation;
mod upstream_tls;
mod view;
mod virtual_host;

use std::sync::Arc;

use mesh_config::{Snapshot, model::Object, precedence::oldest_first};

pub use node::{Interception, NodeError, NodeKind, ProxyNode};
pub use options::{MeshOptions, OutboundPolicy};
pub use translation::Translation;

use crate::discovery::{Notice, Registry, Service};

/// Translates configuration with fixed mesh options.
#[derive(Debug, Clone, Default)]
pub struct Translator {
    options: Arc<MeshOptions>,
}

/// Configuration and services, indexed for translation. Shared by all proxies; made once per change.
#[derive(Debug)]
pub struct MeshContext {
    options: Arc<MeshOptions>,
    snapshot: Snapshot,
    registry: Registry,
    destinations: destination::Destinations,
    virtual_services: Vec<view::VirtualServiceEntry>,
    gateways: Vec<Arc<Object>>,
    peer_modes: authn::PeerModes,
    policies: rbac::Policies,
    notices: Vec<Notice>,
}

impl Translator {
    /// A translator for a mesh with these options.
    #[must_use]
    pub fn new(options: MeshOptions) -> Self {
        Self { options: Arc::new(options) }
    }

    /// Indexes configuration and services. Costs the number of objects.
    #[must_use]
    pub fn prepare(&self, snapshot: &Snapshot, registry: &Registry) -> MeshContext {
        let mut gateways: Vec<_> =
            snapshot.all::<mesh_config::model::Gateway>().map(|g| Arc::clone(g.object)).collect();
        gateways.sort_by(|one, other| oldest_first(one, other));
        MeshContext {
            options: Arc::clone(&self.options),
            snapshot: snapshot.clone(),
            registry: registry.clone(),
            destinations: destination::Destinations::read(snapshot, &self.options),
            virtual_services: view::virtual_services(snapshot, &self.options.cluster_domain),
            gateways,
            peer_modes: authn::PeerModes::read(snapshot, &self.options),
            policies: rbac::Policies::read(snapshot, &self.options),
            notices: coverage::notices(snapshot),
        }
    }

    /// What `node` is to be sent. For several nodes use [`Translator::prepare`] once.
    #[must_use]
    pub fn translate(&self, snapshot: &Snapshot, registry: &Registry, node: &ProxyNode) -> Translation {
        self.prepare(snapshot, registry).translate(node)
    }
}

impl MeshContext {
    /// What `node` is to be sent.
    #[must_use]
    pub fn translate(&self, node: &ProxyNode) -> Translation {
        resources::translate(&view::View::new(self, node))
    }

    /// What of the configuration is not carried out for any node.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &MeshOptions {
        &self.options
    }
}

/// Sorts services as [`oldest_first`] sorts objects.
fn service_age(service: &Service) -> (&str, &str, &crate::discovery::ServiceKey) {
    (&service.created, &service.name, &service.key)
}

/// Path of an object in Istio's form, by which a route or cluster in a dump is traced to it.
fn config_path(object: &Object) -> String {
    let kind = match object.kind() {
        mesh_config::Kind::VirtualService => "virtual-service",
        mesh_config::Kind::DestinationRule => "destination-rule",
        _ => "object",
    };
    format!("/apis/networking.istio.io/v1/namespaces/{}/{kind}/{}", object.namespace(), object.name())
}

/// [`config_path`] as metadata.
fn config_metadata(object: &Object) -> mesh_xds_api::envoy::config::core::v3::Metadata {
    proto::metadata([("istio", proto::object([("config", proto::text(config_path(object)))]))]).unwrap_or_default()
}
