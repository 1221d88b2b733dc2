//! mesh-ca through its public API, with OpenSSL and rustls as peers.
#![allow(clippy::unwrap_used)] // tests say what must hold by unwrapping

mod agent;
mod authn;
mod crash;
mod crl;
mod example;
mod federation;
mod fixture;
mod fleet;
mod health;
mod issuing;
mod joining;
mod jwt;
mod jwt_keys;
mod keys;
mod keys_of_others;
mod locks;
mod openssl;
mod plugged_in;
mod profile;
mod properties;
mod refused;
mod rotation;
mod server;
mod simulation;
mod sink;
mod streams;
mod tls;
mod web;
mod workload;
