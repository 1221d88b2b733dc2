//! Rotation of the root as a supervised state machine.
//!
//! ```text
//!            start            proof: every leaf's holder        settled            proof: no leaf ends
//!            (new root        has the bundle of both                               at the old root
//!             stored)
//!  Steady ───────────▸ Distributing ─────────▸ Activated ─────────▸ Tainted ─────────▸ Steady
//!                      old signs               new signs            all are told        old root
//!                      old + new believed      old + new believed   to renew            withdrawn
//!            ◂───────────┘ abort                    └──── abort ────▸ Tainted: roles swapped, the old root signs again
//! ```
//!
//! So at no time does a workload hold a certificate that the bundle of another one does not verify, whoever crashes when:
//!
//! - [`RotationState`] decides, without IO: it is asked with the time and with who is behind, and names the step to make.
//! - [`RotatingCa`] is the [`CertIssuer`](super::CertIssuer): it stores a step, whole, in the one item that also holds the
//!   keys ([`StoreItem::SigningCa`](super::StoreItem::SigningCa)), and only then makes it. A crash leaves the step before or
//!   the step after.
//! - [`BundleHolders`] gives the proof. [`HolderTable`] knows each certificate that was issued and has not ended (from
//!   [`IssuedRecords`](super::IssuedRecords)), and what streams have acknowledged: SDS and Workload API tell it by a
//!   [`RotationFeed`].
//! - [`RotatingCa::supervise`] drives it; [`RotationStatus`] is for people and scripts.

mod encoding;
mod error;
mod feed;
mod holders;
mod keys;
mod machine;
pub(crate) mod receivers;
mod root_ca;
mod status;
mod supervisor;

pub use error::{RotatingCaError, RotationRefused};
pub use feed::RotationFeed;
pub use holders::{BundleHolders, HolderStream, HolderTable, Laggards, MAX_NAMES};
pub use keys::RootKeys;
pub use machine::{Decision, Question, RootFacts, RootId, RootPhase, RootRotationConfig, RotationState, Transition};
pub use root_ca::{Published, RotatingCa, RotatingCaConfig};
pub use status::{RotationStatus, Waiting};
pub use supervisor::Supervision;
