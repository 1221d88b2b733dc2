//! What the targets share: small worlds, and choices read from the fuzzer's bytes.

use mesh_xds::{Resource, TypeUrl};
use mesh_xds_api::google::protobuf::Any;

/// Types with all kinds of rules, and one without.
pub const TYPES: [&str; 6] = [
    "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    "type.googleapis.com/envoy.config.listener.v3.Listener",
    "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
    "type.googleapis.com/acme.Thing",
];

/// Names, `*` among them.
pub const NAMES: [&str; 6] = ["a", "b", "c", "d", "", "*"];

/// Choices. When the bytes are used up, every choice is the first.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn index(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    pub fn type_url(&mut self) -> TypeUrl {
        TYPES[self.index(TYPES.len())].into()
    }

    pub fn name(&mut self) -> &'static str {
        NAMES[self.index(NAMES.len())]
    }

    /// Up to four names.
    pub fn names(&mut self) -> Vec<&'static str> {
        (0..self.index(5)).map(|_| self.name()).collect()
    }
}

/// A resource that only has a name, and content to differ by.
pub fn resource(type_url: &TypeUrl, name: &str, content: u8) -> Resource {
    // Field 1 is the name, as in every resource type; another field is the content.
    let mut value = vec![0x0a, u8::try_from(name.len()).unwrap_or(0)];
    value.extend(name.as_bytes());
    value.extend([0xf8, 0x3f, content & 0x7f]);
    Resource::new(name, Any { type_url: type_url.as_str().into(), value: value.into() })
}
