//! Requests and responses of both variants in one form, to and from the API's messages.

use std::{collections::BTreeMap, fmt, time::Duration};

use bytes::Bytes;
use mesh_xds_api::{
    envoy::{
        config::{
            cluster::v3::Cluster, core::v3::Node, endpoint::v3::ClusterLoadAssignment, listener::v3::Listener,
            route::v3::RouteConfiguration,
        },
        service::discovery::v3 as proto,
    },
    google::{protobuf::Any, rpc::Status},
    json::any_to_value,
};
use prost::Message;

use crate::{Resource, TypeUrl};

/// A request. In SotW `subscribe` is the whole list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ask {
    pub(super) type_url: TypeUrl,
    pub(super) node: Option<Node>,
    pub(super) subscribe: Vec<String>,
    pub(super) unsubscribe: Vec<String>,
    pub(super) held: BTreeMap<String, String>,
    pub(super) version: String,
    pub(super) nonce: String,
    pub(super) error: Option<Status>,
}

impl Ask {
    pub(super) fn new(type_url: &TypeUrl) -> Self {
        Self {
            type_url: type_url.clone(),
            node: None,
            subscribe: Vec::new(),
            unsubscribe: Vec::new(),
            held: BTreeMap::new(),
            version: String::new(),
            nonce: String::new(),
            error: None,
        }
    }

    pub(super) fn subscribe(mut self, names: &[&str]) -> Self {
        self.subscribe = names.iter().map(|n| (*n).to_owned()).collect();
        self
    }

    pub(super) fn unsubscribe(mut self, names: &[&str]) -> Self {
        self.unsubscribe = names.iter().map(|n| (*n).to_owned()).collect();
        self
    }

    pub(super) fn holding<'a>(mut self, held: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.held = held.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        self
    }

    pub(super) fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    pub(super) fn nonce(mut self, nonce: &str) -> Self {
        self.nonce = nonce.to_owned();
        self
    }

    pub(super) fn refuse(mut self, why: &str) -> Self {
        self.error = Some(Status { code: 3, message: why.to_owned(), details: Vec::new() });
        self
    }
}

impl From<Ask> for proto::DiscoveryRequest {
    fn from(ask: Ask) -> Self {
        Self {
            version_info: ask.version,
            node: ask.node,
            resource_names: ask.subscribe,
            type_url: ask.type_url.as_str().to_owned(),
            response_nonce: ask.nonce,
            error_detail: ask.error,
            ..Default::default()
        }
    }
}

impl From<Ask> for proto::DeltaDiscoveryRequest {
    fn from(ask: Ask) -> Self {
        Self {
            node: ask.node,
            type_url: ask.type_url.as_str().to_owned(),
            resource_names_subscribe: ask.subscribe,
            resource_names_unsubscribe: ask.unsubscribe,
            initial_resource_versions: ask.held,
            response_nonce: ask.nonce,
            error_detail: ask.error,
            ..Default::default()
        }
    }
}

impl From<proto::DiscoveryRequest> for Ask {
    fn from(request: proto::DiscoveryRequest) -> Self {
        Self {
            type_url: request.type_url.into(),
            node: request.node,
            subscribe: request.resource_names,
            unsubscribe: Vec::new(),
            held: BTreeMap::new(),
            version: request.version_info,
            nonce: request.response_nonce,
            error: request.error_detail,
        }
    }
}

impl From<proto::DeltaDiscoveryRequest> for Ask {
    fn from(request: proto::DeltaDiscoveryRequest) -> Self {
        Self {
            type_url: request.type_url.into(),
            node: request.node,
            subscribe: request.resource_names_subscribe,
            unsubscribe: request.resource_names_unsubscribe,
            held: request.initial_resource_versions,
            version: String::new(),
            nonce: request.response_nonce,
            error: request.error_detail,
        }
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) type_url: TypeUrl,
    pub(super) nonce: String,
    /// SotW: of the response.
    pub(super) version: String,
    pub(super) items: Vec<Item>,
    pub(super) removed: Vec<String>,
}

/// A resource of a response.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) name: String,
    /// Delta, and wrapped resources.
    pub(super) version: String,
    pub(super) ttl: Option<Duration>,
    /// `None` in a heartbeat.
    pub(super) any: Option<Any>,
}

impl Told {
    pub(super) fn new(type_url: &TypeUrl, nonce: &str) -> Self {
        let (items, removed) = (Vec::new(), Vec::new());
        Self { type_url: type_url.clone(), nonce: nonce.to_owned(), version: format!("v{nonce}"), items, removed }
    }

    pub(super) fn item(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|i| i.name == name)
    }
}

impl Item {
    /// Whether the content is `resource`'s. A server may encode a message anew, in another order of fields, at any depth:
    /// then what it says counts.
    pub(super) fn is(&self, resource: &Resource) -> bool {
        let Some(any) = &self.any else { return false };
        any.value == *resource.bytes() || any_to_value(any) == any_to_value(resource.any())
    }
}

impl From<&Resource> for Item {
    fn from(resource: &Resource) -> Self {
        Self {
            name: resource.name().as_str().to_owned(),
            version: resource.version().as_str().to_owned(),
            ttl: None,
            any: Some(resource.any().clone()),
        }
    }
}

impl From<proto::DiscoveryResponse> for Told {
    fn from(response: proto::DiscoveryResponse) -> Self {
        Self {
            type_url: response.type_url.into(),
            nonce: response.nonce,
            version: response.version_info,
            items: response.resources.into_iter().map(unwrap).collect(),
            removed: Vec::new(),
        }
    }
}

impl From<proto::DeltaDiscoveryResponse> for Told {
    fn from(response: proto::DeltaDiscoveryResponse) -> Self {
        Self {
            type_url: response.type_url.into(),
            nonce: response.nonce,
            version: response.system_version_info,
            items: response.resources.into_iter().map(item_of).collect(),
            removed: response.removed_resources,
        }
    }
}

impl From<Told> for proto::DiscoveryResponse {
    fn from(told: Told) -> Self {
        Self {
            version_info: told.version,
            resources: told.items.into_iter().filter_map(|i| i.any).collect(),
            type_url: told.type_url.as_str().to_owned(),
            nonce: told.nonce,
            ..Default::default()
        }
    }
}

impl From<Told> for proto::DeltaDiscoveryResponse {
    fn from(told: Told) -> Self {
        let wrap = |item: Item| proto::Resource {
            name: item.name,
            version: item.version,
            resource: item.any,
            ..Default::default()
        };
        Self {
            resources: told.items.into_iter().map(wrap).collect(),
            type_url: told.type_url.as_str().to_owned(),
            removed_resources: told.removed,
            nonce: told.nonce,
            ..Default::default()
        }
    }
}

fn item_of(resource: proto::Resource) -> Item {
    let ttl = resource.ttl.and_then(|ttl| ttl.try_into().ok());
    Item { name: resource.name, version: resource.version, ttl, any: resource.resource }
}

/// A resource of a SotW response: bare, or wrapped for its TTL.
fn unwrap(any: Any) -> Item {
    if any.type_url.ends_with("/envoy.service.discovery.v3.Resource")
        && let Ok(resource) = proto::Resource::decode(any.value.clone())
    {
        let inner = resource.resource.clone();
        let mut item = item_of(resource);
        if item.name.is_empty() {
            item.name = inner.map(|any| name_of(&any)).unwrap_or_default();
        }
        return item;
    }
    Item { name: name_of(&any), version: String::new(), ttl: None, any: Some(any) }
}

/// The name in a message of the types the kit plays with.
fn name_of(any: &Any) -> String {
    let value = any.value.clone();
    match TypeUrl::from(any.type_url.as_str()).short() {
        Some("CDS") => Cluster::decode(value).map(|m| m.name),
        Some("EDS") => ClusterLoadAssignment::decode(value).map(|m| m.cluster_name),
        Some("LDS") => Listener::decode(value).map(|m| m.name),
        Some("RDS") => RouteConfiguration::decode(value).map(|m| m.name),
        _ => Ok(String::new()),
    }
    .unwrap_or_default()
}

/// Whether the bytes are a message of a type the kit plays with.
pub(super) fn is_readable(type_url: &TypeUrl, bytes: &Bytes) -> bool {
    match type_url.short() {
        Some("CDS") => Cluster::decode(bytes.clone()).is_ok(),
        Some("EDS") => ClusterLoadAssignment::decode(bytes.clone()).is_ok(),
        Some("LDS") => Listener::decode(bytes.clone()).is_ok(),
        Some("RDS") => RouteConfiguration::decode(bytes.clone()).is_ok(),
        _ => false,
    }
}

/// `CDS +a +b -c ^nonce`.
impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(short(&self.type_url))?;
        self.items.iter().try_for_each(|i| write!(f, " {}{}", if i.any.is_some() { "+" } else { "~" }, i.name))?;
        self.removed.iter().try_for_each(|n| write!(f, " -{n}"))?;
        write!(f, " ^{}", self.nonce)
    }
}

/// `CDS [a b] -[c] holding [d] @version ^nonce !error`.
impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", short(&self.type_url), self.subscribe.join(" "))?;
        if !self.unsubscribe.is_empty() {
            write!(f, " -[{}]", self.unsubscribe.join(" "))?;
        }
        if !self.held.is_empty() {
            write!(f, " holding [{}]", self.held.keys().map(String::as_str).collect::<Vec<_>>().join(" "))?;
        }
        if !self.version.is_empty() {
            write!(f, " @{}", self.version)?;
        }
        if !self.nonce.is_empty() {
            write!(f, " ^{}", self.nonce)?;
        }
        self.error.as_ref().map_or(Ok(()), |e| write!(f, " !{}", e.message))
    }
}

/// `CDS`, or the name of the message.
pub(super) fn short(type_url: &TypeUrl) -> &str {
    type_url.short().unwrap_or_else(|| type_url.message_name())
}

/// Whether a SotW response holds all resources of the type.
pub(super) fn is_whole(type_url: &TypeUrl) -> bool {
    matches!(type_url.short(), Some("CDS" | "LDS"))
}
