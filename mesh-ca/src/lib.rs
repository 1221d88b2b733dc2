//! Workload identity.

pub mod api;
pub mod clock;
pub mod issuer;
pub mod spiffe;
