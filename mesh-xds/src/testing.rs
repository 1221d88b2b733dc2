//! Doubles, and suites that anyone's implementation of this crate's traits can run. Feature `test-util`.
//!
//! A suite panics, as a test does, with what does not hold.

#[cfg(all(feature = "server", feature = "client"))]
pub mod conformance;
#[cfg(feature = "client")]
mod connect;
#[cfg(feature = "server")]
mod load;
#[cfg(feature = "server")]
mod observer;
#[cfg(feature = "server")]
mod server;

#[cfg(feature = "client")]
pub use connect::connect_suite;
#[cfg(feature = "server")]
pub use load::RecordingLoadObserver;
#[cfg(feature = "server")]
pub use observer::RecordingObserver;
#[cfg(feature = "server")]
pub use server::{TestServer, authorizer_suite, view_source_suite};
