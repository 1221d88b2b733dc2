//! What the whole-mesh tests share: real peers, processes, and waiting for what must come true.

pub mod bootstrapped;
pub mod breach;
pub mod certs;
pub mod client;
pub mod control_plane;
pub mod data_plane;
pub mod demo;
pub mod envoy;
pub mod example;
pub mod fetch;
pub mod file_envoy;
pub mod lab;
pub mod load;
pub mod peer;
pub mod process;
pub mod recorder;
pub mod shop;
pub mod upstream;
pub mod wait;
pub mod xds;
