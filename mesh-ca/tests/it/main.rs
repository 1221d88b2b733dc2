//! mesh-ca through its public API, with OpenSSL and rustls as peers.
#![allow(clippy::unwrap_used)] // tests say what must hold by unwrapping

mod agent;
mod authn;
mod crash;
mod fixture;
mod health;
mod issuing;
mod jwt;
mod keys;
mod openssl;
mod plugged_in;
mod profile;
mod properties;
mod server;
mod tls;
mod workload;
