//! xDS for both ends of the wire.
#[cfg(feature = "translate")]
pub mod discovery;
