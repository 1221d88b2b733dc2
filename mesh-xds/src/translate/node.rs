use std::{collections::BTreeMap, net::IpAddr};

use mesh_xds_api::envoy::config::core::v3::Node;
use prost_types::{Struct, Value, value::Kind};

use crate::discovery::Labels;

/// What a proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeKind {
    /// Beside one workload (`sidecar~...`).
    Sidecar,
    /// A gateway (`router~...`).
    Router,
}

/// How connections reach the proxy. Source: Istio's `INTERCEPTION_MODE`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Interception {
    /// The kernel redirects them to two ports (`REDIRECT`, the default).
    #[default]
    Redirect,
    /// Not at all (`NONE`): every listener binds a real port and callers address it.
    None,
}

/// Why a node cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The id has another form.
    #[error("node id {0:?} is not TYPE~IP~NAME.NAMESPACE~DOMAIN; set --service-node as Istio does")]
    Id(String),
    /// The type is neither `sidecar` nor `router`.
    #[error("node type {0:?} is not served; use sidecar or router")]
    Kind(String),
    /// The address is none.
    #[error("node address {0:?} is no IP address")]
    Address(String),
    /// `NAMESPACE` contradicts the id.
    #[error("metadata NAMESPACE {metadata:?} differs from {id:?} in the node id")]
    Namespace {
        /// Namespace in the id.
        id: String,
        /// Namespace in the metadata.
        metadata: String,
    },
    /// A metadata value is not usable.
    #[error("metadata {key} is {value:?}: {reason}")]
    Metadata {
        /// Key.
        key: &'static str,
        /// What was found.
        value: String,
        /// What it should be.
        reason: &'static str,
    },
}

/// Who asks: the facts of a node that decide what it is sent.
///
/// Source: Istio's node id and `BootstrapNodeMetadata`. Keys read: `NAMESPACE`, `NAME`, `LABELS`, `WORKLOAD_NAME`,
/// `SERVICE_ACCOUNT`, `CLUSTER_ID`, `MESH_ID`, `INTERCEPTION_MODE`, `INSTANCE_IPS`, and of this project
/// `OUTBOUND_BIND` and `APP_ADDRESS`. Others are left alone, as the metadata belongs to many readers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyNode {
    /// The whole id.
    pub id: String,
    /// What it does.
    pub kind: NodeKind,
    /// Its addresses, the one of the id first.
    pub addresses: Vec<IpAddr>,
    /// Name of the pod or machine.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// DNS domain, `default.svc.cluster.local`.
    pub domain: String,
    /// Labels of its workload; `None` if the node did not say.
    pub labels: Option<Labels>,
    /// Name of the workload, empty if not said.
    pub workload: String,
    /// Service account, empty if not said.
    pub service_account: String,
    /// Cluster it lives in, empty if not said.
    pub cluster: String,
    /// Name of its mesh, empty if not said.
    pub mesh: String,
    /// How connections reach it.
    pub interception: Interception,
    /// Address that outbound listeners bind when there is no interception. Default 127.0.0.1, as in Istio.
    pub outbound_bind: IpAddr,
    /// Address of the application when there is no interception. Default 127.0.0.1, as in Istio.
    pub app_address: IpAddr,
}

impl ProxyNode {
    /// Reads an id without metadata.
    ///
    /// # Errors
    /// [`NodeError`] if the id is not of Istio's form.
    pub fn from_id(id: &str) -> Result<Self, NodeError> {
        Self::from_parts(id, &BTreeMap::new())
    }

    /// Reads the node of a discovery request.
    ///
    /// # Errors
    /// [`NodeError`] if the id is not of Istio's form, or the metadata contradict it.
    pub fn from_node(node: &Node) -> Result<Self, NodeError> {
        let empty = BTreeMap::new();
        Self::from_parts(&node.id, node.metadata.as_ref().map_or(&empty, |metadata| &metadata.fields))
    }

    fn from_parts(id: &str, metadata: &BTreeMap<String, Value>) -> Result<Self, NodeError> {
        let parts: Vec<&str> = id.split('~').collect();
        let &[kind, address, full_name, domain] = parts.as_slice() else { return Err(NodeError::Id(id.to_owned())) };
        let kind = match kind {
            "sidecar" => NodeKind::Sidecar,
            "router" => NodeKind::Router,
            other => return Err(NodeError::Kind(other.to_owned())),
        };
        let address: IpAddr = address.parse().map_err(|_| NodeError::Address(address.to_owned()))?;
        // Pod names may hold dots, namespaces may not.
        let (name, namespace) = full_name.rsplit_once('.').ok_or_else(|| NodeError::Id(id.to_owned()))?;
        let said = text(metadata, "NAMESPACE");
        if !said.is_empty() && said != namespace {
            return Err(NodeError::Namespace { id: namespace.to_owned(), metadata: said });
        }
        Ok(Self {
            id: id.to_owned(),
            kind,
            addresses: addresses(address, metadata)?,
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            domain: domain.to_owned(),
            labels: labels(metadata),
            workload: text(metadata, "WORKLOAD_NAME"),
            service_account: text(metadata, "SERVICE_ACCOUNT"),
            cluster: text(metadata, "CLUSTER_ID"),
            mesh: text(metadata, "MESH_ID"),
            interception: interception(metadata)?,
            outbound_bind: ip(metadata, "OUTBOUND_BIND")?.unwrap_or(LOOPBACK),
            app_address: ip(metadata, "APP_ADDRESS")?.unwrap_or(LOOPBACK),
        })
    }

    /// The address of the id.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.addresses.first().copied().unwrap_or(LOOPBACK)
    }

    /// Whether `address` is one of the node's own.
    #[must_use]
    pub fn has_address(&self, address: &str) -> bool {
        address.parse().is_ok_and(|ip: IpAddr| self.addresses.contains(&ip))
    }

    /// Whether connections are redirected by the kernel.
    #[must_use]
    pub fn is_redirected(&self) -> bool {
        self.kind == NodeKind::Sidecar && self.interception == Interception::Redirect
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn text(metadata: &BTreeMap<String, Value>, key: &str) -> String {
    match metadata.get(key).and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

fn ip(metadata: &BTreeMap<String, Value>, key: &'static str) -> Result<Option<IpAddr>, NodeError> {
    let value = text(metadata, key);
    if value.is_empty() {
        return Ok(None);
    }
    let parsed = value.parse();
    parsed.map(Some).map_err(|_| NodeError::Metadata { key, value, reason: "must be an IP address" })
}

fn addresses(first: IpAddr, metadata: &BTreeMap<String, Value>) -> Result<Vec<IpAddr>, NodeError> {
    let mut all = vec![first];
    for part in text(metadata, "INSTANCE_IPS").split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let ip = part.parse().map_err(|_| NodeError::Metadata {
            key: "INSTANCE_IPS",
            value: part.to_owned(),
            reason: "must be IP addresses separated by commas",
        })?;
        if !all.contains(&ip) {
            all.push(ip);
        }
    }
    Ok(all)
}

fn labels(metadata: &BTreeMap<String, Value>) -> Option<Labels> {
    let Some(Kind::StructValue(Struct { fields })) = metadata.get("LABELS").and_then(|v| v.kind.as_ref()) else {
        return None;
    };
    Some(fields.keys().map(|key| (key.clone(), text(fields, key))).collect())
}

fn interception(metadata: &BTreeMap<String, Value>) -> Result<Interception, NodeError> {
    match text(metadata, "INTERCEPTION_MODE") {
        mode if mode.is_empty() || mode == "REDIRECT" => Ok(Interception::Redirect),
        mode if mode == "NONE" => Ok(Interception::None),
        value => Err(NodeError::Metadata { key: "INTERCEPTION_MODE", value, reason: "must be REDIRECT or NONE" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_xds_api::json;

    const ID: &str = "sidecar~10.0.0.1~reviews-v1-abc.default~default.svc.cluster.local";

    fn node(metadata: serde_json::Value) -> Result<ProxyNode, NodeError> {
        ProxyNode::from_node(&json::from_value(&serde_json::json!({"id": ID, "metadata": metadata})).unwrap())
    }

    #[test]
    fn defaults() {
        let node = ProxyNode::from_id(ID).unwrap();
        assert_eq!((node.name.as_str(), node.namespace.as_str()), ("reviews-v1-abc", "default"));
        assert_eq!(node.outbound_bind, LOOPBACK);
        assert!(node.is_redirected() && node.has_address("10.0.0.1") && node.labels.is_none());
    }

    #[test]
    fn metadata() {
        let node = node(serde_json::json!({
            "NAMESPACE": "default", "LABELS": {"app": "reviews"}, "INTERCEPTION_MODE": "NONE",
            "OUTBOUND_BIND": "127.0.2.11", "APP_ADDRESS": "127.0.3.11", "INSTANCE_IPS": "10.0.0.1,fe80::1",
        }))
        .unwrap();
        assert_eq!(node.labels.unwrap().app(), Some("reviews"));
        assert_eq!(node.interception, Interception::None);
        assert_eq!(node.outbound_bind.to_string(), "127.0.2.11");
        assert_eq!(node.addresses.len(), 2);
    }

    #[test]
    fn refusals() {
        for id in ["", "sidecar~10.0.0.1~x~d", "ingress~10.0.0.1~a.b~d", "sidecar~host~a.b~d", "sidecar~1.1.1.1~a.b"] {
            assert!(ProxyNode::from_id(id).is_err(), "{id}");
        }
        assert!(matches!(node(serde_json::json!({"NAMESPACE": "x"})), Err(NodeError::Namespace { .. })));
        assert!(node(serde_json::json!({"INTERCEPTION_MODE": "TPROXY"})).is_err());
        assert!(node(serde_json::json!({"APP_ADDRESS": "localhost"})).is_err());
    }
}
