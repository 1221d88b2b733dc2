//! The normal form of both variants' messages, and the way to and from the wire.

use std::{collections::BTreeMap, time::Duration};

use mesh_xds_api::{
    envoy::service::discovery::v3 as proto,
    google::{protobuf::Any, rpc::Status},
};

use crate::{Nonce, Resource, ResourceName, TypeUrl, Version};

/// gRPC's `INVALID_ARGUMENT`: the code of a refusal.
const INVALID_ARGUMENT: i32 = 3;

/// A request in normal form. The node travels beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The type asked for.
    pub type_url: TypeUrl,
    /// SotW: every name wanted. Delta: names to add.
    pub names: Vec<ResourceName>,
    /// Delta: names to drop. Empty in SotW.
    pub unsubscribe: Vec<ResourceName>,
    /// Delta, first request: what the client holds. Empty in SotW.
    pub initial_versions: BTreeMap<ResourceName, Version>,
    /// SotW: the version last accepted. `None` in delta, or if nothing was accepted.
    pub version: Option<Version>,
    /// The response that is answered, if any.
    pub nonce: Option<Nonce>,
    /// Why that response is refused, if it is.
    pub error: Option<String>,
}

/// What a client receives, in normal form.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The type.
    pub type_url: TypeUrl,
    /// To be given back.
    pub nonce: Nonce,
    /// SotW: version of the response.
    pub version: Version,
    /// The resources.
    pub resources: Vec<Resource>,
    /// Resources that come without content: only their time to live starts anew.
    pub heartbeats: Vec<Heartbeat>,
    /// Delta: names that do not exist, or no longer.
    pub removed: Vec<ResourceName>,
}

/// A `envoy.service.discovery.v3.Resource` without content ("TTL" in the protocol's text).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The name.
    pub name: ResourceName,
    /// The version it speaks of. May be empty in SotW: then it is the response's.
    pub version: Version,
    /// How long the resource may be kept from now on; `None`: for ever.
    pub ttl: Option<Duration>,
}

/// A response that cannot be read. It is to be refused as a whole, under its nonce.
#[derive(Debug, thiserror::Error)]
#[error("resource {index} of the response: {reason}")]
#[non_exhaustive]
pub struct DecodeError {
    /// The type of the response.
    pub type_url: TypeUrl,
    /// Its nonce.
    pub nonce: Nonce,
    /// Place of the first bad resource, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl From<proto::DiscoveryRequest> for Request {
    fn from(request: proto::DiscoveryRequest) -> Self {
        Self {
            type_url: request.type_url.into(),
            names: names(request.resource_names),
            unsubscribe: Vec::new(),
            initial_versions: BTreeMap::new(),
            version: Some(request.version_info).filter(|v| !v.is_empty()).map(Version::from),
            nonce: Some(request.response_nonce).filter(|n| !n.is_empty()).map(Nonce::from),
            error: request.error_detail.map(|e| e.message),
        }
    }
}

impl From<proto::DeltaDiscoveryRequest> for Request {
    fn from(request: proto::DeltaDiscoveryRequest) -> Self {
        Self {
            type_url: request.type_url.into(),
            names: names(request.resource_names_subscribe),
            unsubscribe: names(request.resource_names_unsubscribe),
            initial_versions: request
                .initial_resource_versions
                .into_iter()
                .map(|(n, v)| (n.into(), v.into()))
                .collect(),
            version: None,
            nonce: Some(request.response_nonce).filter(|n| !n.is_empty()).map(Nonce::from),
            error: request.error_detail.map(|e| e.message),
        }
    }
}

impl Request {
    /// The SotW message, without a node.
    #[must_use]
    pub fn into_sotw(self) -> proto::DiscoveryRequest {
        proto::DiscoveryRequest {
            version_info: self.version.map(String::from).unwrap_or_default(),
            resource_names: self.names.into_iter().map(String::from).collect(),
            type_url: self.type_url.as_str().to_owned(),
            response_nonce: self.nonce.map(String::from).unwrap_or_default(),
            error_detail: self.error.map(refusal),
            ..Default::default()
        }
    }

    /// The delta message, without a node.
    #[must_use]
    pub fn into_delta(self) -> proto::DeltaDiscoveryRequest {
        proto::DeltaDiscoveryRequest {
            type_url: self.type_url.as_str().to_owned(),
            resource_names_subscribe: self.names.into_iter().map(String::from).collect(),
            resource_names_unsubscribe: self.unsubscribe.into_iter().map(String::from).collect(),
            initial_resource_versions: self.initial_versions.into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
            response_nonce: self.nonce.map(String::from).unwrap_or_default(),
            error_detail: self.error.map(refusal),
            ..Default::default()
        }
    }
}

impl Response {
    /// Reads a SotW response. Names come from the resources, versions from their bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if a resource has no name or another type than the response.
    pub fn from_sotw(response: proto::DiscoveryResponse) -> Result<Self, DecodeError> {
        let head = Head { type_url: response.type_url.into(), nonce: response.nonce.into() };
        let (resources, heartbeats) = head.read(response.resources, Item::of_sotw)?;
        let version = response.version_info.into();
        let removed = Vec::new();
        Ok(Self { type_url: head.type_url, nonce: head.nonce, version, resources, heartbeats, removed })
    }

    /// Reads a delta response.
    ///
    /// # Errors
    /// [`DecodeError`] if a resource has neither content nor name, or another type than the response.
    pub fn from_delta(response: proto::DeltaDiscoveryResponse) -> Result<Self, DecodeError> {
        let head = Head { type_url: response.type_url.into(), nonce: response.nonce.into() };
        let (resources, heartbeats) = head.read(response.resources, Item::of_delta)?;
        let version = response.system_version_info.into();
        let removed = names(response.removed_resources);
        Ok(Self { type_url: head.type_url, nonce: head.nonce, version, resources, heartbeats, removed })
    }
}

/// One element of a response.
enum Item {
    Resource(Resource),
    Heartbeat(Heartbeat),
}

impl Item {
    fn of_delta(wrapped: proto::Resource) -> Result<Self, String> {
        let ttl = ttl_of(&wrapped);
        match wrapped.resource {
            Some(any) => {
                Ok(Self::Resource(Resource::with_version(wrapped.name, wrapped.version.into(), any).with_ttl(ttl)))
            }
            None => Self::heartbeat(wrapped.name, wrapped.version, ttl),
        }
    }

    /// "SotW TTL": a resource may come in a wrapper.
    fn of_sotw(any: Any) -> Result<Self, String> {
        if !mesh_xds_api::any::is::<proto::Resource>(&any) {
            return Resource::from_any(any).map(Self::Resource).map_err(|e| e.reason);
        }
        let wrapped: proto::Resource = mesh_xds_api::any::unpack(&any).map_err(|e| e.to_string())?;
        let ttl = ttl_of(&wrapped);
        if wrapped.resource.is_none() {
            return Self::heartbeat(wrapped.name, wrapped.version, ttl);
        }
        let resource = Resource::from_any(any).map_err(|e| e.reason)?;
        Ok(Self::Resource(resource.with_ttl(ttl)))
    }

    fn heartbeat(name: String, version: String, ttl: Option<Duration>) -> Result<Self, String> {
        if name.is_empty() {
            return Err("it has neither content nor name".into());
        }
        Ok(Self::Heartbeat(Heartbeat { name: name.into(), version: version.into(), ttl }))
    }
}

/// A negative time has run out at once.
fn ttl_of(resource: &proto::Resource) -> Option<Duration> {
    resource.ttl.map(|ttl| Duration::try_from(ttl).unwrap_or_default())
}

struct Head {
    type_url: TypeUrl,
    nonce: Nonce,
}

impl Head {
    fn read<T>(
        &self,
        items: Vec<T>,
        read: impl Fn(T) -> Result<Item, String>,
    ) -> Result<(Vec<Resource>, Vec<Heartbeat>), DecodeError> {
        let (mut resources, mut heartbeats) = (Vec::with_capacity(items.len()), Vec::new());
        for (index, item) in items.into_iter().enumerate() {
            match read(item).map_err(|reason| self.error(index, reason))? {
                Item::Resource(resource) if resource.type_url() != &self.type_url => {
                    return Err(self.error(index, format!("its type is {}", resource.type_url())));
                }
                Item::Resource(resource) => resources.push(resource),
                Item::Heartbeat(heartbeat) => heartbeats.push(heartbeat),
            }
        }
        Ok((resources, heartbeats))
    }

    fn error(&self, index: usize, reason: String) -> DecodeError {
        DecodeError { type_url: self.type_url.clone(), nonce: self.nonce.clone(), index, reason }
    }
}

fn names(list: Vec<String>) -> Vec<ResourceName> {
    list.into_iter().map(ResourceName::from).collect()
}

fn refusal(message: String) -> Status {
    Status { code: INVALID_ARGUMENT, message, details: Vec::new() }
}
