//! What a server sends, in normal form, and its encoding: all but the nonce is made once, whoever it goes to.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use mesh_xds_api::{
    envoy::{
        config::cluster::v3::{
            Cluster,
            cluster::{ClusterDiscoveryType, DiscoveryType},
        },
        service::discovery::v3 as proto,
    },
    google::protobuf::Any,
};
use prost::{Message, Name, encoding::string};

use super::Variant;
use crate::{Nonce, Resource, ResourceName, TypeUrl, Version};

/// Number of the fields `DiscoveryResponse.nonce` and `DeltaDiscoveryResponse.nonce`.
const NONCE: u32 = 5;

/// One response to one client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Push {
    /// Ties the answer to this push.
    pub nonce: Nonce,
    /// The rest, which other clients may be told as well.
    pub content: Arc<Content>,
}

/// What a push says. Shared by all who are told the same.
#[derive(Debug)]
pub struct Content {
    /// The type.
    pub type_url: TypeUrl,
    /// The variant it is written in.
    pub variant: Variant,
    /// Made from the content: equal content has equal versions, in every process. In delta it only serves people.
    pub version: Version,
    /// New or changed resources; in SotW of a whole-set type, all.
    pub resources: Arc<[Arc<Resource>]>,
    /// Resources that have not changed, whose time to live starts anew ("TTL" in the protocol's text).
    pub heartbeats: Vec<Arc<Resource>>,
    /// Delta: names that do not exist, or no longer.
    pub removed: Vec<ResourceName>,
    /// Encoded bytes of the resources.
    pub bytes: usize,
    /// Whether times to live are said.
    ttl: bool,
    /// Encoded, without a nonce.
    body: OnceLock<Bytes>,
    endpoints: OnceLock<Vec<ResourceName>>,
}

impl Content {
    pub(crate) fn new(
        type_url: TypeUrl,
        variant: Variant,
        ttl: bool,
        resources: Vec<Arc<Resource>>,
        removed: Vec<ResourceName>,
    ) -> Self {
        Self {
            type_url,
            variant,
            version: content_version(resources.iter().map(|r| &**r)),
            bytes: resources.iter().map(|r| r.bytes().len()).sum(),
            resources: resources.into(),
            heartbeats: Vec::new(),
            removed,
            ttl,
            body: OnceLock::new(),
            endpoints: OnceLock::new(),
        }
    }

    pub(crate) fn heartbeat(type_url: TypeUrl, variant: Variant, heartbeats: Vec<Arc<Resource>>) -> Self {
        let version = content_version(heartbeats.iter().map(|r| &**r));
        Self { heartbeats, version, ..Self::new(type_url, variant, true, Vec::new(), Vec::new()) }
    }

    /// The endpoint resources that the clusters among this content wait for.
    pub(crate) fn endpoints(&self) -> &[ResourceName] {
        self.endpoints.get_or_init(|| self.resources.iter().filter_map(|r| endpoints_of(r)).collect())
    }

    fn body(&self) -> &Bytes {
        self.body.get_or_init(|| match self.variant {
            Variant::Sotw => self.to_sotw(String::new()).encode_to_vec().into(),
            Variant::Delta => self.to_delta(String::new()).encode_to_vec().into(),
        })
    }

    fn to_sotw(&self, nonce: String) -> proto::DiscoveryResponse {
        let plain = self.resources.iter().map(|r| match (self.ttl, r.ttl()) {
            (true, Some(_)) => packed(&self.wrapped(r, true)),
            _ => r.any().clone(),
        });
        proto::DiscoveryResponse {
            version_info: self.version.as_str().to_owned(),
            resources: plain.chain(self.heartbeats.iter().map(|r| packed(&self.wrapped(r, false)))).collect(),
            type_url: self.type_url.as_str().to_owned(),
            nonce,
            ..Default::default()
        }
    }

    fn to_delta(&self, nonce: String) -> proto::DeltaDiscoveryResponse {
        let resources = self.resources.iter().map(|r| self.wrapped(r, true));
        proto::DeltaDiscoveryResponse {
            system_version_info: self.version.as_str().to_owned(),
            resources: resources.chain(self.heartbeats.iter().map(|r| self.wrapped(r, false))).collect(),
            type_url: self.type_url.as_str().to_owned(),
            removed_resources: self.removed.iter().map(|n| n.as_str().to_owned()).collect(),
            nonce,
            ..Default::default()
        }
    }

    fn wrapped(&self, resource: &Resource, with_content: bool) -> proto::Resource {
        let ttl = resource.ttl().filter(|_| self.ttl);
        proto::Resource {
            name: resource.name().as_str().to_owned(),
            version: resource.version().as_str().to_owned(),
            resource: with_content.then(|| resource.any().clone()),
            // A time that does not fit would be for ever all the same.
            ttl: ttl.and_then(|ttl| prost_types::Duration::try_from(ttl).ok()),
            ..Default::default()
        }
    }
}

impl Push {
    /// The SotW message.
    #[must_use]
    pub fn into_sotw(self) -> proto::DiscoveryResponse {
        self.content.to_sotw(self.nonce.into())
    }

    /// The delta message.
    #[must_use]
    pub fn into_delta(self) -> proto::DeltaDiscoveryResponse {
        self.content.to_delta(self.nonce.into())
    }

    /// The message of its variant, encoded, in two parts to be sent one after the other: the first is shared by all who
    /// are told the same, the second holds the nonce. (Fields may come in any order on the wire.)
    #[must_use]
    pub fn encoded(&self) -> (Bytes, Bytes) {
        let mut nonce = Vec::with_capacity(self.nonce.as_str().len() + 2);
        string::encode(NONCE, &self.nonce.as_str().to_owned(), &mut nonce);
        (self.content.body().clone(), nonce.into())
    }
}

/// The version that a push of `resources` says, in whichever order they are: equal content, equal version.
pub fn content_version<'a>(resources: impl Iterator<Item = &'a Resource>) -> Version {
    let hash = |text: &str, seed| xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), seed);
    let one = |r: &Resource| hash(r.version().as_str(), hash(r.name().as_str(), 0));
    let (count, sum) = resources.fold((0u64, 0u64), |(count, sum), r| (count + 1, sum.wrapping_add(one(r))));
    Version::from_hash(sum.wrapping_add(count))
}

fn packed(resource: &proto::Resource) -> Any {
    Any { type_url: proto::Resource::type_url(), value: resource.encode_to_vec().into() }
}

/// The endpoint resource that a cluster waits for, if it is of type EDS.
pub(crate) fn endpoints_of(cluster: &Resource) -> Option<ResourceName> {
    let cluster: Cluster = cluster.unpack().ok()?;
    let eds = cluster.eds_cluster_config.filter(|_| {
        matches!(cluster.cluster_discovery_type, Some(ClusterDiscoveryType::Type(kind)) if kind == DiscoveryType::Eds as i32)
    })?;
    Some(if eds.service_name.is_empty() { cluster.name } else { eds.service_name }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts_are_the_message() {
        for variant in [Variant::Sotw, Variant::Delta] {
            let cluster = Cluster { name: "c".into(), ..Default::default() };
            let resources = vec![Arc::new(Resource::pack("c", &cluster))];
            let content = Content::new(TypeUrl::CLUSTER, variant, false, resources, vec!["gone".into()]);
            let push = Push { nonce: "7.1".into(), content: Arc::new(content) };
            let (shared, own) = push.encoded();
            let bytes = [shared, own].concat();
            match variant {
                Variant::Sotw => {
                    assert_eq!(proto::DiscoveryResponse::decode(&*bytes).unwrap(), push.into_sotw());
                }
                Variant::Delta => {
                    assert_eq!(proto::DeltaDiscoveryResponse::decode(&*bytes).unwrap(), push.into_delta());
                }
            }
        }
    }

    #[test]
    fn times_to_live_are_said_to_those_who_know_of_them() {
        let second = std::time::Duration::from_secs(1);
        let resource = Arc::new(Resource::pack("c", &Cluster::default()).with_ttl(Some(second)));
        for (ttl, told) in [(true, Some(1)), (false, None)] {
            let resources = vec![resource.clone()];
            let content = Arc::new(Content::new(TypeUrl::CLUSTER, Variant::Delta, ttl, resources, Vec::new()));
            let message = Push { nonce: "1".into(), content }.into_delta();
            assert_eq!(message.resources[0].ttl.as_ref().map(|t| t.seconds), told);
        }
        let content = Content::heartbeat(TypeUrl::CLUSTER, Variant::Sotw, vec![resource.clone()]);
        let message = Push { nonce: "1".into(), content: Arc::new(content) }.into_sotw();
        let beat: proto::Resource = mesh_xds_api::any::unpack(&message.resources[0]).unwrap();
        assert_eq!((beat.version.as_str(), beat.resource), (resource.version().as_str(), None));
    }
}
