//! The control thread: configuration arrives, is warmed, and becomes the snapshot that workers follow.
//!
//! ```text
//!   bootstrap ─┐
//!   ADS, gRPC ─┤ driver ─ events, now ─▸ core (no IO, no clock) ─▸ answers (ACK, NACK), names wanted, snapshots
//!   files     ─┤                           │
//!   secrets   ─┘                           └ warming: clusters until endpoints and secrets are there, listeners until
//!                                            routes and secrets are; the last good state stays until then
//! ```
//!
//! As in Envoy: a resource that is refused keeps its last good version, and the rest of its response is applied;
//! listeners start once the first clusters are warm; what is removed is gone at once.

mod control;
mod core;
mod files;
mod secret_files;
mod sources;
mod streams;

#[cfg(test)]
mod tests;

pub(crate) use control::{ControlHandle, start};
