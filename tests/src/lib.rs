//! What the whole-mesh tests share: real peers, processes, and waiting for what must come true.

pub mod client;
pub mod control_plane;
pub mod demo;
pub mod peer;
pub mod process;
pub mod wait;
