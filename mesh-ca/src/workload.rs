//! The SPIFFE Workload API on a Unix socket: workloads of this machine get their identities, without a secret to begin with.
//!
//! ```text
//!  process ── /run/mesh/workload.sock ──▸ WorkloadApi ── who is it? ──▸ Authenticator (UnixPeerAuthenticator)
//!                                             │ ── its certificates ──▸ IdentityPool ──▸ CertSource (renewed here)
//!                                             │ ── its tokens ────────▸ JwtIssuer
//!                                             └ ── whom to believe ───▸ BundleSet, published as it changes
//! ```
//!
//! What a stream has been sent is sent again, whole, whenever a part of it changes: a renewed certificate, a root that comes
//! or goes, a revocation list (SPIFFE_Workload_API.md section 4.3). A certificate that has ended is never sent.
//!
//! Serve it with tonic:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use mesh_ca::workload::{SocketLimits, WorkloadApi, unix_incoming};
//! # async fn serve(api: WorkloadApi) -> Result<(), Box<dyn std::error::Error>> {
//! let incoming = unix_incoming("/run/mesh/workload.sock".as_ref(), SocketLimits::default())?;
//! tonic::transport::Server::builder().add_service(api.into_server()).serve_with_incoming(incoming).await?;
//! # Ok(())
//! # }
//! ```

mod authority;
mod bundles;
mod delivery;
mod pool;
mod responses;
mod service;
mod socket;
mod stream;

pub use bundles::BundleSet;
pub use pool::{IdentityPool, IdentityPoolConfig, PoolFull};
pub use service::{WorkloadApi, WorkloadApiConfig};
pub use socket::{SocketLimits, UnixPeerInfo, UnixPeerStream, unix_incoming};
