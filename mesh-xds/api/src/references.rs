//! The resources that an encoded message names.
//!
//! A cluster names the endpoints it fetches, a listener its route table and its certificates, a route its clusters: [`of`]
//! finds every such place, also inside every [`Any`] whose type this crate knows, and inside lists and maps. Which fields
//! name a resource is one table (`references/table.rs`); tests hold it against the descriptors of the whole API.
//!
//! What counts:
//!
//! - **clusters** that are named outright: by routes and their mirrors, weighted or not, by the TCP proxy, by aggregate
//!   clusters, and by whatever calls a service (`EnvoyGrpc`, `HttpUri`, Zipkin's collector): access logs, authorization,
//!   rate limits, tracers, key sets;
//! - **endpoints, route tables, secrets, extension configurations, aggregate configurations** that come from the server
//!   which sent the message itself: their `ConfigSource` is `ads` or `self`. What comes from a file or over another
//!   connection is another's to provide. So is a secret without a source: it is one of the bootstrap's. A scope's
//!   route table has no source of its own, and is taken to come from this server;
//! - **internal listeners** that an address names.
//!
//! What does not: clusters chosen at run time (by a header, by a plug-in); the clusters of a `ConfigSource` (Envoy takes only
//! those of its bootstrap there); what is asked for on demand (virtual hosts, clusters of the on-demand filters); data
//! that merely describes (`Metadata`); extensions whose configuration is a `TypedStruct` or of a type unknown here.
//!
//! ```
//! use mesh_xds_api::{any, envoy::config::route::v3::{RouteAction, route_action::ClusterSpecifier}, references};
//!
//! let action = RouteAction { cluster_specifier: Some(ClusterSpecifier::Cluster("a".into())), ..Default::default() };
//! let found = references::of(&any::pack(&action));
//! assert_eq!((found[0].type_url.short(), &*found[0].name, &*found[0].path), (Some("CDS"), "a", "cluster"));
//! ```
//!
//! As in [`crate::validate`], what to look at in a message of each type is worked out once, on first use; bytes are then
//! read where they lie, and parts that cannot hold a reference are passed over.

mod compile;
mod place;
mod plan;
mod table;
mod walk;

use self::{plan::Registry, walk::Walker};
use crate::{TypeUrl, any::Any};

/// One place in a message that names a resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Reference {
    /// The type of the resource.
    pub type_url: TypeUrl,
    /// Its name. Never empty.
    pub name: String,
    /// The field that has the name, from the outermost message on, written as in [`crate::validate::Violation::path`].
    pub path: String,
}

/// What the message inside `any` names: elements of lists as they come, else by field number. Nothing for a type that this
/// crate does not know. A message, at any depth, that is no protobuf encoding names nothing, nor does one that lies deeper
/// than [`crate::validate::MAX_DEPTH`]: finding those is [`crate::validate`]'s part.
#[must_use]
pub fn of(any: &Any) -> Vec<Reference> {
    Walker::new(Registry::global()).all(any.type_url.rsplit('/').next().unwrap_or_default(), &any.value)
}

#[cfg(test)]
mod tests;
