//! What each connected proxy is to see: translated when it connects and whenever the configuration changes.

use mesh_xds::{
    store::{Attach, FilledViews, Refusal, View, ViewFiller},
    translate::{NodeKind, ProxyNode},
};

use super::{mesh::Mesh, sidecars::Sidecars};

/// Translates for one proxy. Nothing but the node decides what it sees, so that nodes with equal facts share a view.
pub(crate) struct Translate {
    mesh: Mesh,
    sidecars: Sidecars,
}

impl ViewFiller for Translate {
    type Target = ProxyNode;

    fn target(&self, request: &Attach) -> Result<(String, ProxyNode), Refusal> {
        let node = ProxyNode::from_node(request.node.message()).map_err(|e| Refusal::Denied(e.to_string()))?;
        // A node without a proven identity may say any address.
        if request.identity.is_some() && node.kind == NodeKind::Sidecar {
            self.sidecars.connected(node.address().to_string());
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
