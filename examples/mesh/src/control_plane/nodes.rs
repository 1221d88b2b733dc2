//! The connected proxies: one view for each, translated when it connects and whenever the configuration changes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Instant,
};

use async_trait::async_trait;
use mesh_xds::{
    store::{Attach, Refusal, View, ViewHandle, ViewSource},
    translate::ProxyNode,
};
use tokio::sync::watch;

use super::mesh::{Configured, Mesh};

/// Views by proxy. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Nodes {
    mesh: Mesh,
    views: Arc<Views>,
}

#[derive(Default)]
struct Views {
    by_node: Mutex<HashMap<String, Entry>>,
}

/// One proxy, which may have several streams for a moment (it reconnects), or for good (one for each type).
struct Entry {
    node: ProxyNode,
    view: Arc<View>,
    streams: usize,
}

impl Nodes {
    /// Keeps the views as the configuration says, for as long as `self` or a clone lives.
    pub(crate) fn serve(mesh: Mesh) -> Self {
        let views = Arc::new(Views::default());
        tokio::spawn(follow(mesh.subscribe(), Arc::downgrade(&views)));
        Self { mesh, views }
    }
}

async fn follow(mut states: watch::Receiver<Option<Arc<Configured>>>, views: Weak<Views>) {
    while states.changed().await.is_ok() {
        let Some(configured) = states.borrow_and_update().clone() else { continue };
        let Some(views) = views.upgrade() else { return };
        let started = Instant::now();
        // Translation takes no lock and may take long in a large mesh; a proxy that attaches meanwhile translates for itself.
        for (id, node, view) in views.all() {
            let changed = fill(&configured, &node, &view);
            tracing::debug!(node = id, changed, "translated");
        }
        tracing::debug!(version = configured.state.snapshot.version(), took = ?started.elapsed(), "configuration is in every view");
    }
}

/// Makes `view` what `node` is to see; the number of resources that changed.
fn fill(configured: &Configured, node: &ProxyNode, view: &View) -> usize {
    let translation = configured.context.translate(node);
    for notice in &translation.notices {
        tracing::debug!(node = node.id, object = %notice.object, path = notice.path, message = notice.message, "not carried out");
    }
    let changed = view.replace(translation.resources);
    changed.put.len() + changed.removed.len()
}

impl Views {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Entry>> {
        // Every change of the map is one call: a panic elsewhere cannot leave it half done.
        self.by_node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<(String, ProxyNode, Arc<View>)> {
        self.lock().iter().map(|(id, e)| (id.clone(), e.node.clone(), e.view.clone())).collect()
    }

    /// The view of `node`, and whether it is new.
    fn join(&self, key: &str, node: &ProxyNode) -> (Arc<View>, bool) {
        let mut by_node = self.lock();
        let new = !by_node.get(key).is_some_and(|e| e.node == *node);
        if new {
            // The same id with other facts is another proxy: the streams of the old one keep the old view.
            by_node.insert(key.to_owned(), Entry { node: node.clone(), view: View::new(), streams: 0 });
        }
        // Invariant: it was inserted above if it was not there.
        let entry = by_node.entry(key.to_owned()).or_insert_with(|| Entry {
            node: node.clone(),
            view: View::new(),
            streams: 0,
        });
        entry.streams += 1;
        (entry.view.clone(), new)
    }

    fn leave(&self, key: &str, view: &Arc<View>) {
        let mut by_node = self.lock();
        let Some(entry) = by_node.get_mut(key).filter(|e| Arc::ptr_eq(&e.view, view)) else { return };
        entry.streams -= 1;
        if entry.streams == 0 {
            by_node.remove(key);
        }
    }
}

#[async_trait]
impl ViewSource for Nodes {
    async fn attach(&self, request: &Attach) -> Result<ViewHandle, Refusal> {
        let node = ProxyNode::from_node(request.node.message()).map_err(|e| Refusal::Denied(e.to_string()))?;
        let Some(_) = self.mesh.ready().await else {
            return Err(Refusal::NotReady("the configuration has not been read yet".into()));
        };
        let key = node.id.clone();
        let (view, new) = self.views.join(&key, &node);
        if new && let Some(configured) = self.mesh.current() {
            fill(&configured, &node, &view);
            // A change that came in between has either seen the view in the map, or is the one just read.
            if let Some(newest) = self.mesh.current().filter(|n| !Arc::ptr_eq(n, &configured)) {
                fill(&newest, &node, &view);
            }
        }
        let (views, left) = (self.views.clone(), view.clone());
        Ok(ViewHandle::new(view).on_drop(move || views.leave(&key, &left)))
    }
}
