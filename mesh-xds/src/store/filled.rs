//! Views made for their clients.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{ApiRules, Attach, Refusal, ResourceCheck, Scope, View, ViewHandle, ViewSource};

/// Makes what a client is to see.
///
/// # Contract
/// - [`ViewFiller::target`] is a pure function of the request. Clients whose targets have equal keys share a view; the key
///   must hold everything of the client that [`ViewFiller::fill`] looks at.
/// - [`ViewFiller::fill`] brings a view up to date, usually by [`View::replace`], from the newest state there is *when it is
///   called*: it reads that state itself. It is called for a new view before any client sees it, and for every view by
///   [`FilledViews::refresh`]; never twice at a time for one view. It may compute for long, and runs where blocking is
///   allowed, but must not wait for something that needs it.
pub trait ViewFiller: Send + Sync + 'static {
    /// What of a client matters.
    type Target: Send + Sync + 'static;

    /// The key of the client's view, and what the view is made from.
    ///
    /// # Errors
    /// [`Refusal`]: the stream ends with the reason.
    fn target(&self, request: &Attach) -> Result<(String, Self::Target), Refusal>;

    /// Brings `view` up to date.
    ///
    /// # Errors
    /// [`Refusal`], if this is the view's first filling: the stream ends with the reason. Later a view that cannot be
    /// filled stays as it is.
    fn fill(&self, target: &Self::Target, view: &View) -> Result<(), Refusal>;
}

/// Views that a [`ViewFiller`] makes for their clients. A view lives as long as it has clients. Cheap to clone; clones
/// share the views.
pub struct FilledViews<F: ViewFiller> {
    inner: Arc<Inner<F>>,
}

struct Inner<F: ViewFiller> {
    filler: F,
    scope: Scope,
    check: Arc<dyn ResourceCheck>,
    views: Mutex<HashMap<String, Weak<Filled<F::Target>>>>,
}

/// A view with what it is made from. Streams hold it through the handle's drop hook.
struct Filled<T> {
    target: T,
    view: Arc<View>,
    /// Whether it was filled. Locked while it is.
    done: Mutex<bool>,
}

impl<F: ViewFiller> Clone for FilledViews<F> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<F: ViewFiller> std::fmt::Debug for FilledViews<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilledViews").field("views", &self.inner.views.lock().keys()).finish_non_exhaustive()
    }
}

impl<F: ViewFiller> FilledViews<F> {
    /// No views yet.
    pub fn new(filler: F) -> Self {
        Self::checked(filler, ApiRules)
    }

    /// As [`FilledViews::new`], but resources must pass `check` instead of the API's rules.
    pub fn checked(filler: F, check: impl ResourceCheck) -> Self {
        let check = Arc::new(check);
        Self { inner: Arc::new(Inner { filler, scope: Scope::new(), check, views: Mutex::default() }) }
    }

    /// The filler.
    #[must_use]
    pub fn filler(&self) -> &F {
        &self.inner.filler
    }

    /// Fills every view anew: call it after the state that the filler reads has changed. Clients hear of what really
    /// changed. Blocks while it computes. Gives the number of views.
    pub fn refresh(&self) -> usize {
        let live = self.live();
        let _together = self.inner.scope.transaction();
        for filled in &live {
            let mut done = filled.done.lock();
            // One that was never filled is refused to its client and goes away.
            if self.inner.filler.fill(&filled.target, &filled.view).is_ok() {
                *done = true;
            }
        }
        live.len()
    }

    /// The view of a key, if it has clients.
    #[must_use]
    pub fn view(&self, key: &str) -> Option<Arc<View>> {
        self.inner.views.lock().get(key)?.upgrade().map(|filled| filled.view.clone())
    }

    /// How many views have clients.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live().len()
    }

    /// Whether no view has clients.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn live(&self) -> Vec<Arc<Filled<F::Target>>> {
        self.inner.views.lock().values().filter_map(Weak::upgrade).collect()
    }

    fn join(&self, key: String, target: F::Target) -> Arc<Filled<F::Target>> {
        let mut views = self.inner.views.lock();
        if let Some(filled) = views.get(&key).and_then(Weak::upgrade) {
            return filled;
        }
        views.retain(|_, filled| filled.strong_count() > 0);
        let filled = Arc::new(Filled {
            target,
            view: View::with(self.inner.scope.clone(), self.inner.check.clone()),
            done: Mutex::new(false),
        });
        views.insert(key, Arc::downgrade(&filled));
        filled
    }
}

#[async_trait]
impl<F: ViewFiller> ViewSource for FilledViews<F> {
    async fn attach(&self, request: &Attach) -> Result<ViewHandle, Refusal> {
        let (key, target) = self.inner.filler.target(request)?;
        let (views, filled) = (self.clone(), self.join(key, target));
        let filling = tokio::task::spawn_blocking(move || {
            let mut done = filled.done.lock();
            if !*done {
                views.inner.filler.fill(&filled.target, &filled.view)?;
                *done = true;
            }
            drop(done);
            Ok(filled)
        });
        // A filler that panicked has printed why.
        let filled = filling.await.map_err(|_| Refusal::NotReady("the view could not be made".into()))??;
        Ok(ViewHandle::new(filled.view.clone()).on_drop(move || drop(filled)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use mesh_xds_api::{envoy::config::core::v3 as core, google::protobuf::Any};

    use super::*;
    use crate::{Node, Resource, TypeUrl, store::Unchecked};

    /// Fills views with one cluster named after the node, of the current state.
    #[derive(Default)]
    struct Named {
        state: AtomicU64,
        fillings: AtomicU64,
    }

    impl ViewFiller for Named {
        type Target = String;

        fn target(&self, request: &Attach) -> Result<(String, String), Refusal> {
            match request.node.id().as_str() {
                "" => Err(Refusal::Denied("no name".into())),
                id => Ok((id.to_owned(), id.to_owned())),
            }
        }

        fn fill(&self, target: &String, view: &View) -> Result<(), Refusal> {
            self.fillings.fetch_add(1, Ordering::Relaxed);
            let value = self.state.load(Ordering::Relaxed).to_be_bytes().to_vec().into();
            view.replace([Resource::new(target.as_str(), Any { type_url: TypeUrl::CLUSTER.as_str().into(), value })]);
            Ok(())
        }
    }

    fn attach(id: &str) -> Attach {
        let node = Node::from(core::Node { id: id.into(), ..Default::default() });
        Attach { node, identity: None, peer_addr: None }
    }

    #[tokio::test]
    async fn made_with_the_first_client_and_gone_with_the_last() {
        let views = FilledViews::checked(Named::default(), Unchecked);
        let first = views.attach(&attach("a")).await.unwrap();
        let second = views.attach(&attach("a")).await.unwrap();
        assert!(first.get(&TypeUrl::CLUSTER, "a").is_some());
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(views.filler().fillings.load(Ordering::Relaxed), 1);
        drop(first);
        assert_eq!(views.len(), 1);
        drop(second);
        assert!(views.is_empty() && views.view("a").is_none());
    }

    #[tokio::test]
    async fn refresh_tells_what_changed() {
        let views = FilledViews::checked(Named::default(), Unchecked);
        let handle = views.attach(&attach("a")).await.unwrap();
        let before = handle.revision();
        assert_eq!(views.refresh(), 1);
        assert_eq!(handle.revision(), before);
        views.filler().state.store(1, Ordering::Relaxed);
        views.refresh();
        assert!(handle.revision() > before);
    }

    #[tokio::test]
    async fn a_refused_target_is_refused() {
        let views = FilledViews::checked(Named::default(), Unchecked);
        assert_eq!(views.attach(&attach("")).await.unwrap_err(), Refusal::Denied("no name".into()));
    }
}
