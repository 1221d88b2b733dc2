//! Views by group of nodes.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{ApiRules, Attach, Refusal, ResourceCheck, Scope, View, ViewHandle, ViewSource};
use crate::Node;

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

/// Views by group, filled by hand. Cheap to clone; clones share the views.
///
/// A view is there while somebody holds it: the hand that fills it ([`GroupedViews::view`]) or a client. A client of a
/// group nobody fills sees an empty view. For views that are made for their clients, see [`super::FilledViews`].
#[derive(Clone)]
pub struct GroupedViews {
    inner: Arc<Inner>,
}

struct Inner {
    group: Box<dyn NodeGroup>,
    scope: Scope,
    check: Arc<dyn ResourceCheck>,
    views: Mutex<HashMap<String, Weak<View>>>,
}

impl std::fmt::Debug for GroupedViews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupedViews").field("views", &self.inner.views.lock().keys()).finish_non_exhaustive()
    }
}

impl GroupedViews {
    /// Views for the groups that `group` names.
    pub fn new(group: impl NodeGroup) -> Self {
        Self::checked(group, ApiRules)
    }

    /// As [`GroupedViews::new`], but resources must pass `check` instead of the API's rules.
    pub fn checked(group: impl NodeGroup, check: impl ResourceCheck) -> Self {
        let (group, check) = (Box::new(group), Arc::new(check));
        Self { inner: Arc::new(Inner { group, scope: Scope::new(), check, views: Mutex::default() }) }
    }

    /// One view per node id.
    #[must_use]
    pub fn per_node() -> Self {
        Self::new(|node: &Node| Ok(node.id().as_str().to_owned()))
    }

    /// The group's view, made empty if there is none. It stays while the returned `Arc` does.
    #[must_use]
    pub fn view(&self, group: &str) -> Arc<View> {
        let mut views = self.inner.views.lock();
        if let Some(view) = views.get(group).and_then(Weak::upgrade) {
            return view;
        }
        views.retain(|_, view| view.strong_count() > 0);
        let view = View::with(self.inner.scope.clone(), self.inner.check.clone());
        views.insert(group.to_owned(), Arc::downgrade(&view));
        view
    }

    /// What the views have in common. Changes to several of them that belong together are to be made within a
    /// [`Scope::transaction`].
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.inner.scope
    }

    /// The views in use, by group.
    #[must_use]
    pub fn live(&self) -> Vec<(String, Arc<View>)> {
        let views = self.inner.views.lock();
        views.iter().filter_map(|(group, view)| Some((group.clone(), view.upgrade()?))).collect()
    }
}

#[async_trait]
impl ViewSource for GroupedViews {
    async fn attach(&self, request: &Attach) -> Result<ViewHandle, Refusal> {
        let group = self.inner.group.group(&request.node)?;
        Ok(ViewHandle::new(self.view(&group)))
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
