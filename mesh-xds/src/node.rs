//! Who a client says it is.

use std::sync::Arc;

use mesh_xds_api::envoy::config::core::v3 as core;
use prost_types::value::Kind;

use crate::NodeId;

/// A client's node message, as sent on the first request of a stream. Cheap to clone.
///
/// Nothing in it is proven: see `server::StreamAuthorizer`.
#[derive(Debug, Clone)]
pub struct Node {
    id: NodeId,
    message: Arc<core::Node>,
}

impl Node {
    /// The node's name. May be empty.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// The cluster the node says it belongs to. May be empty.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.message.cluster
    }

    /// The whole message.
    #[must_use]
    pub fn message(&self) -> &core::Node {
        &self.message
    }

    /// A metadata value, if present.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&prost_types::Value> {
        self.message.metadata.as_ref()?.fields.get(key)
    }

    /// A metadata value that is text.
    #[must_use]
    pub fn metadata_text(&self, key: &str) -> Option<&str> {
        match self.metadata(key)?.kind.as_ref()? {
            Kind::StringValue(text) => Some(text),
            _ => None,
        }
    }

    /// Whether the node lists `feature` among its `client_features`.
    #[must_use]
    pub fn has_feature(&self, feature: &str) -> bool {
        self.message.client_features.iter().any(|f| f == feature)
    }
}

impl Default for Node {
    /// The node of a client that sends none: without a name.
    fn default() -> Self {
        Self::from(core::Node::default())
    }
}

impl From<core::Node> for Node {
    fn from(message: core::Node) -> Self {
        Self { id: NodeId::from(message.id.as_str()), message: Arc::new(message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_metadata_text() {
        let fields = [("NAMESPACE".to_owned(), prost_types::Value::from("default"))].into_iter().collect();
        let metadata = Some(prost_types::Struct { fields });
        let node = Node::from(core::Node { id: "sidecar~1".into(), metadata, ..Default::default() });
        assert_eq!(node.metadata_text("NAMESPACE"), Some("default"));
        assert_eq!(node.metadata_text("NAME"), None);
        assert_eq!(node.id(), &"sidecar~1");
    }
}
