//! Envoy's v3 API as Rust types.
//!
//! Everything here is generated at build time from one checked-in descriptor set (`descriptors.bin`), so that messages,
//! their JSON form, and their validation rules never disagree:
//!
//! - [`envoy`], [`xds`], [`udpa`], [`google`]: prost messages and tonic services. Maps are ordered: **equal messages
//!   encode to equal bytes**, in every process; content versions rest on this.
//! - [`google::protobuf::Any`] holds [`bytes::Bytes`]: one encoding is shared by all who hold it.
//! - [`any`]: packing and unpacking.
//! - [`json`]: JSON and YAML in protobuf's canonical mapping, both ways, `Any` expanded.
//! - [`descriptor_pool`]: the same set for reflection, with the `validate.rules` options kept.
//! - [`validate`]: those rules, enforced on encoded messages.
//! - [`references`]: the resources that an encoded message names.
//! - [`type_url`]: names of resource types.
//!
//! It is data and codecs only: no protocol and no policy. See `mesh-xds` and `mesh-proxy` for those.

pub mod any;
mod descriptors;
mod encoded;
pub mod json;
pub mod references;
pub mod type_url;
pub mod validate;

pub use descriptors::{DESCRIPTOR_SET, descriptor_pool, file_descriptors};
pub use type_url::TypeUrl;

#[allow(missing_docs, rustdoc::all, clippy::all, unreachable_pub, dead_code)] // generated: Envoy's own pages document it
mod generated {
    include!(concat!(env!("OUT_DIR"), "/api.rs"));
}
pub use generated::{envoy, google, udpa, xds};
