//! Istio's CSR API on the wire, `istio.v1.auth.IstioCertificateService` (istio/api security/v1alpha1/ca.proto), and the
//! SPIFFE [Workload API](workload) (spiffe/spiffe standards/workloadapi.proto).
//!
//! Generated from `proto/ca.proto` and `proto/workload.proto`, where each field is described.

#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub)] // generated: proto/ca.proto documents it
mod generated {
    include!(concat!(env!("OUT_DIR"), "/istio.v1.auth.rs"));
}

pub use generated::{
    IstioCertificateRequest, IstioCertificateResponse, istio_certificate_service_client,
    istio_certificate_service_server,
};

/// `SpiffeWorkloadAPI`, which is of no package.
#[allow(missing_docs, clippy::all, rustdoc::all, unreachable_pub)] // generated: proto/workload.proto documents it
pub mod workload {
    include!(concat!(env!("OUT_DIR"), "/_.rs"));
}
