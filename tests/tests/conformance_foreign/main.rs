//! The conformance kit against foreign servers and clients, and what it says of them, checked in: a deviation that goes
//! away is as worth knowing as one that comes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod clients;
mod deviations;
mod servers;
