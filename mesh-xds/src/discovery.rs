//! What exists: services and the endpoints behind them, in a form no platform owns.
//!
//! A [`DiscoverySource`] reports services and their endpoints; a [`Registry`] is one immutable view of all of them, cheap
//! to clone and indexed for translation. Ready-made: [`MemorySource`], and [`registry_of`], which reads Kubernetes
//! `Service`, `EndpointSlice`, `Pod` and Istio `ServiceEntry`, `WorkloadEntry` out of a configuration snapshot.
//!
//! ```
//! use mesh_xds::discovery::{Endpoint, Protocol, Registry, Service, ServicePort};
//!
//! let mut service = Service::new("reviews.default.svc.cluster.local", "default");
//! service.ports.push(ServicePort::new("http", 9080, Protocol::Http));
//! let endpoint = Endpoint::new("10.0.0.7", 9080, "http");
//! let registry = Registry::builder().service(service, vec![endpoint]).build();
//! assert_eq!(registry.services().count(), 1);
//! ```

mod endpoint;
mod kube;
mod labels;
mod protocol;
mod registry;
mod service;
mod service_entry;
mod snapshot;
mod source;
mod workload;

#[cfg(feature = "test-util")]
pub mod conformance;

pub use endpoint::{Endpoint, Health, Locality, TlsMode};
pub use labels::Labels;
pub use protocol::Protocol;
pub use registry::{Registry, RegistryBuilder, ServiceRecord};
pub use service::{ExportTo, Platform, Resolution, Service, ServiceKey, ServicePort, TargetPort};
pub use snapshot::{Notice, RegistryOptions, registry_of};
pub use source::{DiscoveryEvent, DiscoverySource, MemoryHandle, MemorySource};
pub use workload::Workload;
