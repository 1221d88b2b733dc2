//! What each connected proxy is to see: translated when it connects and whenever the configuration changes.

use mesh_ca::spiffe::SpiffeId;
use mesh_xds::{
    discovery::Workload,
    store::{Attach, FilledViews, Refusal, View, ViewFiller},
    translate::{NodeKind, ProxyNode},
};

use super::{mesh::Mesh, sidecars::Sidecars};

/// Translates for one proxy. Nothing but the node decides what it sees, so that nodes with equal facts share a view.
pub(crate) struct Translate {
    mesh: Mesh,
    sidecars: Sidecars,
}

impl Translate {
    /// Remembers where a sidecar is, if nobody else is known to be there: an identity proves a service account, not an
    /// address, and a false claim would have others speak mutual TLS to a workload that cannot.
    fn count_sidecar(&self, identity: &str, node: &ProxyNode) {
        let address = node.address().to_string();
        let configured = self.mesh.current();
        let known = configured.as_ref().and_then(|c| c.registry.workload_at(&address));
        if known.is_some_and(|workload| !runs_as(workload, identity)) {
            tracing::warn!(node = ?node.id, identity, address, "another workload is known at the address that this node claims");
            return;
        }
        self.sidecars.connected(address);
    }
}

/// Whether a workload runs under this SPIFFE id.
fn runs_as(workload: &Workload, identity: &str) -> bool {
    let id = SpiffeId::parse(identity).ok();
    id.as_ref()
        .and_then(SpiffeId::workload)
        .is_some_and(|(namespace, account)| workload.namespace == namespace && workload.service_account == account)
}

impl ViewFiller for Translate {
    type Target = ProxyNode;

    fn target(&self, request: &Attach) -> Result<(String, ProxyNode), Refusal> {
        let node = ProxyNode::from_node(request.node.message()).map_err(|e| Refusal::Denied(e.to_string()))?;
        if let Some(identity) = request.identity.as_deref().filter(|_| node.kind == NodeKind::Sidecar) {
            self.count_sidecar(identity, &node);
        }
        Ok((format!("{node:?}"), node))
    }

    fn fill(&self, node: &ProxyNode, view: &View) -> Result<(), Refusal> {
        let Some(configured) = self.mesh.current() else {
            return Err(Refusal::NotReady("the configuration has not been read yet".into()));
        };
        let translation = configured.context.translate(node);
        for notice in &translation.notices {
            tracing::debug!(node = node.id, object = %notice.object, path = notice.path, message = notice.message, "not carried out");
        }
        let changed = view.replace(translation.resources);
        tracing::debug!(node = node.id, put = changed.put.len(), removed = changed.removed.len(), "translated");
        Ok(())
    }
}

/// Views that follow the configuration for as long as the process runs.
pub(crate) fn views(mesh: Mesh, sidecars: Sidecars) -> FilledViews<Translate> {
    let views = FilledViews::new(Translate { mesh: mesh.clone(), sidecars });
    let mut states = mesh.subscribe();
    tokio::spawn({
        let views = views.clone();
        async move {
            while states.changed().await.is_ok() {
                states.borrow_and_update();
                let views = views.clone();
                // Translation computes: not on a thread that streams need.
                if tokio::task::spawn_blocking(move || views.refresh()).await.is_err() {
                    tracing::error!("translation failed; proxies keep what they have");
                }
            }
        }
    });
    views
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_service_account_that_is_known_there() {
        let mut workload = Workload::new("reviews-1", "books", "10.0.0.1");
        workload.service_account = "reviews".into();
        assert!(runs_as(&workload, "spiffe://cluster.local/ns/books/sa/reviews"));
        assert!(!runs_as(&workload, "spiffe://cluster.local/ns/books/sa/ratings"));
        assert!(!runs_as(&workload, "spiffe://cluster.local/ns/other/sa/reviews"));
        assert!(!runs_as(&workload, "nonsense"));
    }
}
