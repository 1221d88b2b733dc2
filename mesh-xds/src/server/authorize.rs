//! Who may open a stream.

use std::fmt;

use async_trait::async_trait;

use super::PeerInfo;
use crate::{Node, store::Refusal};

/// Decides whether a client may have a stream, and under which proven identity.
///
/// # Contract
/// Called once per stream, with the node of its first request, before the client gets anything. Many calls run at the
/// same time. It may wait; if the client goes away, the future is dropped at an await point. A refusal is sent to the
/// client, logged once and counted.
#[async_trait]
pub trait StreamAuthorizer: Send + Sync + 'static {
    /// The client's identity, `None` if it has proven none and needs none.
    ///
    /// # Errors
    /// [`Refusal`], whose text the client gets to see.
    async fn authorize(&self, peer: &PeerInfo, node: &Node) -> Result<Option<String>, Refusal>;
}

/// Everyone may, unproven. For plaintext on loopback, and tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

#[async_trait]
impl StreamAuthorizer for AllowAll {
    async fn authorize(&self, _peer: &PeerInfo, _node: &Node) -> Result<Option<String>, Refusal> {
        Ok(None)
    }
}

type Extract = dyn Fn(&PeerInfo) -> Option<String> + Send + Sync;

/// The node must be what its certificate says, as Istio checks it: the certificate's SPIFFE id must be
/// `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT` of the node's metadata `NAMESPACE` and `SERVICE_ACCOUNT`, and
/// the node id, `TYPE~IP~NAME.NAMESPACE~DOMAIN`, must name the same namespace.
pub struct NodeIdentity {
    trust_domains: Vec<String>,
    extract: Box<Extract>,
}

impl NodeIdentity {
    /// Accepts ids of `trust_domains`. `extract` gives the SPIFFE id of a peer's verified certificate.
    pub fn new(
        trust_domains: impl IntoIterator<Item = impl Into<String>>,
        extract: impl Fn(&PeerInfo) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { trust_domains: trust_domains.into_iter().map(Into::into).collect(), extract: Box::new(extract) }
    }

    fn check(&self, identity: &str, node: &Node) -> Result<(), String> {
        let (trust_domain, namespace, account) =
            parse(identity).ok_or_else(|| format!("identity {identity} names no namespace and service account"))?;
        if !self.trust_domains.iter().any(|t| t == trust_domain) {
            return Err(format!("identity {identity} is of a foreign trust domain"));
        }
        let claims = [("NAMESPACE", namespace), ("SERVICE_ACCOUNT", account)];
        for (key, proven) in claims {
            match node.metadata_text(key) {
                Some(claimed) if claimed == proven => {}
                Some(claimed) => {
                    return Err(format!("node {} claims {key} {claimed}, but is {identity}", node.id()));
                }
                None => return Err(format!("node {} has no metadata {key}", node.id())),
            }
        }
        match namespace_of(node.id().as_str()) {
            Some(claimed) if claimed == namespace => Ok(()),
            Some(claimed) => Err(format!("node id {} claims namespace {claimed}, but is {identity}", node.id())),
            None => Err(format!("node id {} is not TYPE~IP~NAME.NAMESPACE~DOMAIN", node.id())),
        }
    }
}

impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeIdentity").field("trust_domains", &self.trust_domains).finish_non_exhaustive()
    }
}

#[async_trait]
impl StreamAuthorizer for NodeIdentity {
    async fn authorize(&self, peer: &PeerInfo, node: &Node) -> Result<Option<String>, Refusal> {
        let Some(identity) = (self.extract)(peer) else {
            let reason = "a client certificate with a SPIFFE id is needed; get one from the mesh's CA first";
            return Err(Refusal::Unauthenticated(reason.into()));
        };
        self.check(&identity, node).map_err(Refusal::Denied)?;
        Ok(Some(identity))
    }
}

/// `spiffe://td/ns/NS/sa/SA`.
fn parse(identity: &str) -> Option<(&str, &str, &str)> {
    let mut parts = identity.strip_prefix("spiffe://")?.split('/');
    let trust_domain = parts.next()?;
    let (ns, namespace, sa, account) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (ns == "ns" && sa == "sa" && parts.next().is_none()).then_some((trust_domain, namespace, account))
}

/// The namespace in `TYPE~IP~NAME.NAMESPACE~DOMAIN`.
fn namespace_of(node_id: &str) -> Option<&str> {
    let mut parts = node_id.split('~');
    let name = parts.nth(2)?;
    parts.next()?;
    // A pod's name may have dots, a namespace's may not.
    name.rsplit_once('.').map(|(_, namespace)| namespace)
}

#[cfg(test)]
mod tests {
    use mesh_xds_api::envoy::config::core::v3 as core;

    use super::*;

    fn node(id: &str, metadata: &[(&str, &str)]) -> Node {
        let fields = metadata.iter().map(|(k, v)| ((*k).to_owned(), prost_types::Value::from(*v))).collect();
        Node::from(core::Node { id: id.into(), metadata: Some(prost_types::Struct { fields }), ..Default::default() })
    }

    async fn outcome(identity: Option<&str>, id: &str, metadata: &[(&str, &str)]) -> Result<Option<String>, Refusal> {
        let identity = identity.map(str::to_owned);
        let authorizer = NodeIdentity::new(["cluster.local"], move |_| identity.clone());
        authorizer.authorize(&PeerInfo::default(), &node(id, metadata)).await
    }

    const ID: &str = "sidecar~10.0.0.1~reviews.v1.books~books.svc.cluster.local";
    const META: &[(&str, &str)] = &[("NAMESPACE", "books"), ("SERVICE_ACCOUNT", "reviews")];

    #[tokio::test]
    async fn the_node_is_what_its_certificate_says() {
        let good = "spiffe://cluster.local/ns/books/sa/reviews";
        assert_eq!(outcome(Some(good), ID, META).await.unwrap().as_deref(), Some(good));
        assert!(matches!(outcome(None, ID, META).await, Err(Refusal::Unauthenticated(_))));
        for (identity, id, metadata) in [
            ("spiffe://other/ns/books/sa/reviews", ID, META),
            ("spiffe://cluster.local/ns/books/sa/ratings", ID, META),
            ("spiffe://cluster.local/ns/other/sa/reviews", ID, META),
            ("spiffe://cluster.local/ns/books/sa/reviews/x", ID, META),
            (good, "sidecar~10.0.0.1~reviews.other~other.svc.cluster.local", META),
            (good, "reviews", META),
            (good, ID, &META[..1]),
        ] {
            let refused = outcome(Some(identity), id, metadata).await;
            assert!(matches!(refused, Err(Refusal::Denied(_))), "{identity} as {id}: {refused:?}");
        }
    }
}
