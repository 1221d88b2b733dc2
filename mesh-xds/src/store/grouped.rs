//! Views by group of nodes.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Attach, Refusal, View, ViewHandle, ViewSource};
use crate::{Node, NodeId};

/// Names the group a node belongs to. Nodes of one group see the same resources.
///
/// A pure function of the node: it is called once per stream and must not block. A closure is one.
pub trait NodeGroup: Send + Sync + 'static {
    /// The group's name.
    ///
    /// # Errors
    /// [`Refusal`] if the node belongs to none.
    fn group(&self, node: &Node) -> Result<String, Refusal>;
}

impl<F> NodeGroup for F
where
    F: Fn(&Node) -> Result<String, Refusal> + Send + Sync + 'static,
{
    fn group(&self, node: &Node) -> Result<String, Refusal> {
        self(node)
    }
}

type Fill = dyn Fn(&Attach, &View) -> Result<(), Refusal> + Send + Sync;

/// Views by group. Cheap to clone; clones share the views.
///
/// A view is there while somebody holds it: the hand that fills it ([`GroupedViews::view`]) or a client. A group whose
/// view is made by its first client may be filled at that moment: [`GroupedViews::fill_with`].
#[derive(Clone)]
pub struct GroupedViews {
    inner: Arc<Inner>,
}

struct Inner {
    group: Box<dyn NodeGroup>,
    fill: Option<Box<Fill>>,
    views: Mutex<HashMap<String, Entry>>,
}

struct Entry {
    view: Weak<View>,
    /// Locked while the view is being filled, so that a second client does not see half of it.
    filled: Arc<Mutex<bool>>,
}

impl std::fmt::Debug for GroupedViews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupedViews").field("views", &self.inner.views.lock().keys()).finish_non_exhaustive()
    }
}

impl GroupedViews {
    /// Views for the groups that `group` names.
    pub fn new(group: impl NodeGroup) -> Self {
        Self::build(Box::new(group), None)
    }

    /// One view per node id.
    #[must_use]
    pub fn per_node() -> Self {
        Self::new(|node: &Node| Ok(node.id().as_str().to_owned()))
    }

    /// As [`GroupedViews::new`]; `fill` is called for a view made by its first client, before any client sees it. It
    /// must not wait; other clients of the group wait for it. Its refusal ends the stream. A view taken by hand first
    /// ([`GroupedViews::view`]) counts as filled.
    pub fn fill_with(
        group: impl NodeGroup,
        fill: impl Fn(&Attach, &View) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Self {
        Self::build(Box::new(group), Some(Box::new(fill)))
    }

    fn build(group: Box<dyn NodeGroup>, fill: Option<Box<Fill>>) -> Self {
        Self { inner: Arc::new(Inner { group, fill, views: Mutex::default() }) }
    }

    /// The group's view, made empty if there is none. It stays while the returned `Arc` does.
    #[must_use]
    pub fn view(&self, group: &str) -> Arc<View> {
        let (view, filled) = self.view_or_new(group);
        *filled.lock() = true;
        view
    }

    /// The view of one node, for [`GroupedViews::per_node`].
    #[must_use]
    pub fn node_view(&self, node: &NodeId) -> Arc<View> {
        self.view(node.as_str())
    }

    /// The views in use, by group.
    #[must_use]
    pub fn live(&self) -> Vec<(String, Arc<View>)> {
        let views = self.inner.views.lock();
        views.iter().filter_map(|(group, view)| Some((group.clone(), view.view.upgrade()?))).collect()
    }

    fn view_or_new(&self, group: &str) -> (Arc<View>, Arc<Mutex<bool>>) {
        let mut views = self.inner.views.lock();
        if let Some(entry) = views.get(group)
            && let Some(view) = entry.view.upgrade()
        {
            return (view, entry.filled.clone());
        }
        views.retain(|_, entry| entry.view.strong_count() > 0);
        let (view, filled) = (View::new(), Arc::new(Mutex::new(false)));
        views.insert(group.to_owned(), Entry { view: Arc::downgrade(&view), filled: filled.clone() });
        (view, filled)
    }
}

#[async_trait]
impl ViewSource for GroupedViews {
    async fn attach(&self, request: &Attach) -> Result<ViewHandle, Refusal> {
        let group = self.inner.group.group(&request.node)?;
        let (view, filled) = self.view_or_new(&group);
        if let Some(fill) = &self.inner.fill {
            let mut filled = filled.lock();
            if !*filled {
                fill(request, &view)?;
                *filled = true;
            }
        }
        Ok(ViewHandle::new(view))
    }
}

#[cfg(test)]
mod tests {
    use mesh_xds_api::envoy::config::core::v3 as core;

    use super::*;

    fn attach(id: &str) -> Attach {
        let node = Node::from(core::Node { id: id.into(), ..Default::default() });
        Attach { node, identity: None, peer_addr: None }
    }

    #[tokio::test]
    async fn a_view_goes_with_its_last_holder() {
        let views = GroupedViews::per_node();
        let first = views.attach(&attach("a")).await.unwrap();
        let second = views.attach(&attach("a")).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        drop(first);
        assert_eq!(views.live().len(), 1);
        drop(second);
        assert!(views.live().is_empty());
    }

    #[tokio::test]
    async fn group_may_refuse() {
        let views = GroupedViews::new(|_: &Node| Err(Refusal::Denied("no".into())));
        assert_eq!(views.attach(&attach("a")).await.unwrap_err(), Refusal::Denied("no".into()));
    }
}
