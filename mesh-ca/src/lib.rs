//! Workload identity.

pub mod api;
pub mod audit;
pub mod authn;
pub mod clock;
pub mod issuer;
pub mod server;
pub mod spiffe;
