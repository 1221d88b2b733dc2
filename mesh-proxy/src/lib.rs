//! An embeddable data plane that takes Envoy's v3 API.
//!
//! ```text
//!   bytes ─▸ config (the only place that sees protobuf) ─▸ model (validated values) ─▸ state (immutable snapshot)
//!                                                                                          │ watched by
//!            control thread: xds, secrets, DNS, health ─────────────────────────────┐      ▼
//!                                                                                   └▸ workers: one single-threaded
//!   downstream ▸ listener ▸ filter chain ▸ network filters ▸ HTTP filters ▸ route ▸ cluster ▸ host ▸ upstream   runtime each
//! ```
//!
//! - [`config`]: messages into the model, or a rejection that names the field.
//! - [`Proxy`]: the whole, built from a [`Bootstrap`](config::Bootstrap).
//! - [`model`]: what configuration means, as plain values. No protobuf.
//! - [`route`]: from a request to its route.
//! - [`state`]: the snapshot workers see.
//! - [`filter`]: the traits that users and the built-in filters implement.
//! - [`cluster`]: hosts at run time, circuit breakers, outlier detection, names.
//! - [`balancer`]: which host gets the next request.
//! - [`dial`]: connections to hosts.
//! - [`tls`]: TLS by rustls with secrets that swap live.
//! - [`filters`]: the built-in filters.
//! - [`stats`]: counters, gauges and histograms under Envoy's names.
//! - [`admin`]: the administration interface.
//! - [`istio`]: Istio's standard metrics.
//! - [`access_log`]: lines about streams, with Envoy's command operators.

pub mod access_log;
pub mod admin;
pub mod balancer;
mod base64;
mod body;
pub mod cluster;
pub mod config;
pub mod dial;
mod drain;
pub mod filter;
pub mod filters;
mod hash;
mod http;
pub mod istio;
mod listener;
pub mod model;
mod proxy;
mod proxy_protocol;
pub mod route;
mod rt;
pub mod state;
pub mod stats;
mod tcp;
#[cfg(test)]
mod testing;
pub mod tls;
mod upstream;
mod worker;
mod xds;

pub use proxy::{Proxy, ProxyBuilder, ProxyError, ProxyHandle};
