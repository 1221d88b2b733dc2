//! One resource: a named message with a version made from its content.

mod reference;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use mesh_xds_api::{TypeUrl, envoy::service::discovery::v3::Resource as Wrapped, google::protobuf::Any};
use prost::{
    Message, Name,
    encoding::{DecodeContext, WireType, decode_key, skip_field, string},
};

pub use self::reference::Reference;
use self::reference::References;
use crate::{ResourceName, Version};

/// A resource as it is stored, sent and received. Cloning shares the encoded bytes.
#[derive(Clone, PartialEq)]
pub struct Resource {
    name: ResourceName,
    version: Version,
    any: Any,
    type_url: TypeUrl,
    origin: Option<Origin>,
    ttl: Option<Duration>,
    references: References,
}

/// Type and name: what identifies a resource within a view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    /// The type.
    pub type_url: TypeUrl,
    /// The name among those of the type.
    pub name: ResourceName,
}

impl ResourceKey {
    /// The key of a resource of this type and name.
    pub fn new(type_url: TypeUrl, name: impl Into<ResourceName>) -> Self {
        Self { type_url, name: name.into() }
    }
}

/// As in `CDS/reviews`.
impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.type_url.short().unwrap_or_else(|| self.type_url.message_name()), self.name)
    }
}

/// The user's object a resource was made from, such as `VirtualService default/reviews`. A refusal is traced to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Arc<str>);

impl Origin {
    /// An origin shown as `text`.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// An origin shown as `Kind namespace/name`.
    #[must_use]
    pub fn object(kind: &str, namespace: &str, name: &str) -> Self {
        Self(format!("{kind} {namespace}/{name}").into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message from which no resource name can be read.
#[derive(Debug, thiserror::Error)]
#[error("{type_url}: {reason}")]
#[non_exhaustive]
pub struct NameError {
    /// The type of the message.
    pub type_url: TypeUrl,
    /// What is wrong.
    pub reason: String,
}

impl Resource {
    /// A resource of an encoded message. The version is the hash of the bytes.
    pub fn new(name: impl Into<ResourceName>, any: Any) -> Self {
        let version = Version::of(&any.value);
        Self::with_version(name, version, any)
    }

    /// A resource whose version somebody else chose, as a client receives it.
    pub fn with_version(name: impl Into<ResourceName>, version: Version, any: Any) -> Self {
        let type_url = TypeUrl::from(any.type_url.as_str());
        Self { name: name.into(), version, any, type_url, origin: None, ttl: None, references: References::default() }
    }

    /// A resource of `message` under `name`.
    pub fn pack<M: Message + Name>(name: impl Into<ResourceName>, message: &M) -> Self {
        Self::new(name, mesh_xds_api::any::pack(message))
    }

    /// A resource of an encoded message that carries its own name, as clusters, listeners, routes, endpoints, secrets
    /// and extension configurations do. A `envoy.service.discovery.v3.Resource` around the message is taken off.
    ///
    /// # Errors
    /// [`NameError`] if the bytes are malformed or hold no name.
    pub fn from_any(any: Any) -> Result<Self, NameError> {
        if mesh_xds_api::any::is::<Wrapped>(&any) {
            return Self::from_wrapped(any);
        }
        let name = name_of(&any.value).map_err(|reason| NameError { type_url: any.type_url.clone().into(), reason })?;
        Ok(Self::new(name, any))
    }

    fn from_wrapped(any: Any) -> Result<Self, NameError> {
        let fail = |reason: String| NameError { type_url: any.type_url.clone().into(), reason };
        let wrapped: Wrapped = mesh_xds_api::any::unpack(&any).map_err(|e| fail(e.to_string()))?;
        let inner = wrapped.resource.ok_or_else(|| fail("the wrapper holds no resource".into()))?;
        // Wrappers within wrappers would be a way to exhaust the stack.
        if mesh_xds_api::any::is::<Wrapped>(&inner) {
            return Err(fail("the wrapper holds a wrapper".into()));
        }
        match wrapped.name.as_str() {
            "" => Self::from_any(inner),
            name => Ok(Self::new(name, inner)),
        }
    }

    /// The same resource, made from `origin`.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The same resource, of which clients let go `ttl` after they last heard of it (`Resource.ttl`; "TTL" in the
    /// protocol's text). The server repeats it in time, without its content, for as long as it is there. Not part of the
    /// version. `None`, the default: for ever.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Option<Duration>) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long a client keeps the resource without hearing of it.
    #[must_use]
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &ResourceName {
        &self.name
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The type of the message.
    #[must_use]
    pub fn type_url(&self) -> &TypeUrl {
        &self.type_url
    }

    /// The message, encoded.
    #[must_use]
    pub fn any(&self) -> &Any {
        &self.any
    }

    /// The bytes of the message, shared.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.any.value
    }

    /// What the resource was made from, if its producer said.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Type and name.
    #[must_use]
    pub fn key(&self) -> ResourceKey {
        ResourceKey::new(self.type_url.clone(), self.name.clone())
    }

    /// The resources that this one names, and where, as [`mesh_xds_api::references`] finds them: in the order of the
    /// message, a resource once for each place. Found when first asked for, and kept; clones made from then on share it.
    #[must_use]
    pub fn references(&self) -> &[Reference] {
        self.references.of(&self.any)
    }

    #[cfg(feature = "server")]
    pub(crate) fn shared_references(&self) -> Arc<[Reference]> {
        self.references.of(&self.any).clone()
    }

    /// The message, decoded.
    ///
    /// # Errors
    /// As [`mesh_xds_api::any::unpack`].
    pub fn unpack<M: Message + Name + Default>(&self) -> Result<M, mesh_xds_api::any::UnpackError> {
        mesh_xds_api::any::unpack(&self.any)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key(), self.version)
    }
}

/// Field 1 as text: where every resource type of the API has its name. If it is there more than once the last counts, as
/// for every decoder.
fn name_of(bytes: &Bytes) -> Result<String, String> {
    let mut rest = bytes.clone();
    let mut name = String::new();
    let context = DecodeContext::default();
    while !rest.is_empty() {
        let (tag, wire) = decode_key(&mut rest).map_err(|e| e.to_string())?;
        if tag == 1 && wire == WireType::LengthDelimited {
            string::merge(wire, &mut name, &mut rest, context.clone()).map_err(|e| e.to_string())?;
        } else {
            skip_field(wire, tag, &mut rest, context.clone()).map_err(|e| e.to_string())?;
        }
    }
    if name.is_empty() { Err("the message has no name".into()) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use mesh_xds_api::envoy::{
        config::{cluster::v3::Cluster, endpoint::v3::ClusterLoadAssignment},
        extensions::transport_sockets::tls::v3::Secret,
    };

    use super::*;

    fn named(any: Any) -> String {
        Resource::from_any(any).unwrap().name().to_string()
    }

    #[test]
    fn name_is_read_from_the_bytes() {
        let pack_cluster = mesh_xds_api::any::pack(&Cluster { name: "c".into(), ..Default::default() });
        assert_eq!(named(pack_cluster), "c");
        let eds = ClusterLoadAssignment { cluster_name: "e".into(), ..Default::default() };
        assert_eq!(named(mesh_xds_api::any::pack(&eds)), "e");
        assert_eq!(named(mesh_xds_api::any::pack(&Secret { name: "s".into(), ..Default::default() })), "s");
    }

    #[test]
    fn wrapper_is_taken_off() {
        let inner = mesh_xds_api::any::pack(&Cluster { name: "c".into(), ..Default::default() });
        let outer = Wrapped { name: "alias".into(), resource: Some(inner.clone()), ..Default::default() };
        let resource = Resource::from_any(mesh_xds_api::any::pack(&outer)).unwrap();
        assert_eq!(resource.name(), &"alias");
        assert_eq!(resource.any(), &inner);
    }

    #[test]
    fn wrappers_are_not_nested() {
        let mut any = mesh_xds_api::any::pack(&Cluster { name: "c".into(), ..Default::default() });
        for _ in 0..2 {
            any = mesh_xds_api::any::pack(&Wrapped { resource: Some(any), ..Default::default() });
        }
        assert!(Resource::from_any(any).unwrap_err().reason.contains("a wrapper"));
    }

    #[test]
    fn the_last_name_counts_as_for_every_decoder() {
        let value = Bytes::from_static(&[0x0a, 1, b'x', 0x0a, 1, b'y']);
        let any = Any { type_url: Cluster::type_url(), value: value.clone() };
        assert_eq!(named(any), Cluster::decode(value).unwrap().name);
    }

    #[test]
    fn malformed_and_nameless_are_errors() {
        let any = |value: &'static [u8]| Any { type_url: Cluster::type_url(), value: Bytes::from_static(value) };
        assert!(Resource::from_any(any(&[0x0a, 0x7f])).is_err());
        assert!(Resource::from_any(any(&[])).is_err());
    }
}
