//! Clusters at run time: their hosts, and what is known about each host.
//!
//! ```text
//!   model::Cluster ─▸ ClusterHandle ──▸ HostSet (immutable, swapped) ──▸ Host ──▸ HostState (lives on over updates)
//!                        │ shared by all workers
//!                        ├─ Breakers    how much may be under way
//!                        ├─ outlier     who is ejected, and for how long (pure; `now` is an argument)
//!                        └─ dns         names ─▸ addresses (control thread)
//! ```
//!
//! A [`ClusterHandle`] is shared by every worker and by the control thread. Readers never lock: they load the current
//! [`HostSet`] and compare [`ClusterHandle::generation`] to learn that something changed.

mod breakers;
mod dns;
mod handle;
mod host;
mod hosts;
mod maintain;
mod outlier;
mod stats;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use breakers::{Breakers, Overflow};
pub use handle::{ClusterDeps, ClusterHandle};
pub use host::{Host, HostState, SocketIndex};
pub use hosts::{HostSet, LocalityGroup, PriorityGroup};
pub use outlier::{EjectionCause, Outcome};
pub use stats::ClusterStats;

pub(crate) use breakers::{BreakerKind, BreakerPermit};
