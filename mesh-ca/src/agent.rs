//! The workload's side: a key made here, a certificate fetched for it, renewed in time.
//!
//! ```text
//!            Fetch                 obtained
//!  NoCertificate ──────► Fetching ──────────► Valid { renew_at }
//!        ▲                  │ ▲                  │ half of its life is over, or a clock jumped
//!        │ expired   failed │ │ retry time       │
//!        │                  ▼ │                  ▼
//!        └───────────── BackingOff ◄──────── Fetching (the old certificate is still served)
//! ```
//!
//! [`Rotator`] is that machine, without IO. [`WorkloadIdentity`] drives it with a [`CertSource`] and publishes what is
//! in force as [`IdentityState`]; an [`IdentityWatch`] is a cheap handle to it that plugs into rustls ([`crate::tls`]).

#[cfg(feature = "test-util")]
pub mod conformance;
mod driver;
#[cfg(feature = "test-util")]
mod flaky;
mod remote;
mod rotator;
mod source;
mod state;

pub use driver::{AgentConfig, Renewer, WorkloadIdentity};
#[cfg(feature = "test-util")]
pub use flaky::{Behaviour, FlakySource};
pub use remote::{RemoteCa, RemoteCaConfig, TokenSource};
pub use rotator::{Action, RotationConfig, RotationPhase, Rotator};
pub use source::{CertRequest, CertSource, FetchedCertificate, IssuerSource, SourceError};
pub use state::{IdentityState, IdentityWatch};
