//! xDS for both ends of the wire, to be entered at the height you need.
//!
//! | layer | modules | feature |
//! |---|---|---|
//! | protocol | [`protocol`]: subscription state machines, server and client, state-of-the-world and delta; no IO, no clock | always |
//! | server | `store`: resources by view, versions from content; `server`: gRPC services over it, with identity check, limits, status; `resources`: a folder as a store | `server` |
//! | client | `client`: reconnects, resumes, and lets its user accept or reject each update | `client` |
//! | translation | mesh configuration into Envoy resources | `translate` |
//!
//! What a resource is and how it is named is common to all: [`Resource`], [`ResourceName`], [`Version`], [`TypeUrl`],
//! [`Node`]. The API messages themselves are in `mesh-xds-api`.
//!
//! The rules followed are those of Envoy's
//! [xDS protocol page](https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol); where the code follows a
//! named section, it says so.

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "translate")]
pub mod discovery;
mod ids;
mod node;
pub mod protocol;
mod resource;
#[cfg(feature = "server")]
pub mod resources;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "test-util")]
pub mod testing;
#[cfg(feature = "translate")]
pub mod translate;

pub use ids::{NodeId, Nonce, ResourceName, Version};
pub use mesh_xds_api::TypeUrl;
pub use node::Node;
pub use resource::{NameError, Origin, Reference, Resource, ResourceKey};
