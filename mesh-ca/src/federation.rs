//! Trust across domains: publishing the own bundle, following those of others (SPIFFE_Federation.md).
//!
//! ```text
//!  own roots and keys ─▸ BundlePublisher ─▸ BundleEndpoint ══ https ══▸ FederationClient ─▸ FederationWatch
//!                        (sequence, hint)    (any router)               (one poller each)      │
//!                                                   verifiers, Workload API, SDS ◂─────────────┘
//! ```
//!
//! - [`BundlePublisher`] numbers each change of a bundle, [`BundleEndpoint`] serves the newest one to anybody.
//! - [`FederationClient`] polls the endpoints of foreign trust domains: by public authorities (`https_web`) or by SPIFFE id
//!   (`https_spiffe`). [`Poller`] decides when, without IO.
//! - [`FederatedSource`] gives verifiers the bundle of each trust domain beside the own one. Bundles are never merged: the
//!   roots of one domain say nothing about ids of another (section 4.2).

mod cache;
mod client;
mod endpoint;
mod poller;
mod publisher;
mod relationship;
mod source;
mod state;

pub use crate::fetch::{FetchError, HttpsUrl, HttpsUrlError, WebRoots, WebRootsError};
pub use crate::refresh::PollAction;
pub use cache::{BundleCache, CacheError};
pub use client::{FederationClient, FederationError};
pub use endpoint::{BundleEndpoint, serve_bundle};
pub use poller::{FederationConfig, FederationFailure, Poller};
pub use publisher::BundlePublisher;
pub use relationship::{EndpointProfile, Relationship, RelationshipError};
pub use source::FederatedSource;
pub use state::{FederatedDomain, FederationState, FederationWatch};
