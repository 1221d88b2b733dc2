//! Following a view.

use std::sync::Arc;

use tokio::sync::watch;

use super::View;
use crate::{ResourceKey, protocol::server::ResourceSet};

/// Follows one view. Holds a position, no changes: a slow watcher costs nothing.
#[derive(Debug)]
pub struct ViewWatcher {
    view: Arc<View>,
    revision: watch::Receiver<u64>,
    seen: u64,
}

/// What changed since a watcher last looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// These, perhaps more than once.
    Keys(Vec<ResourceKey>),
    /// Too much to tell: anything may have changed.
    Everything,
}

impl ViewWatcher {
    pub(super) fn new(view: Arc<View>, revision: watch::Receiver<u64>) -> Self {
        Self { view, revision, seen: 0 }
    }

    /// The view.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Waits until there may be something that [`ViewWatcher::read`] has not told yet. Cancel safe.
    pub async fn changed(&mut self) {
        // Invariant: the sender lives in the view, which `self.view` keeps.
        let _ = self.revision.wait_for(|r| *r > self.seen).await;
    }

    /// Takes what changed since the last call, together with the content as of the same moment.
    pub fn read<T>(&mut self, read: impl FnOnce(Changes, &dyn ResourceSet) -> T) -> T {
        let Self { view, seen, .. } = self;
        view.read_content(|content| {
            let changes = match content.log.since(*seen) {
                Some(keys) => Changes::Keys(keys.cloned().collect()),
                None => Changes::Everything,
            };
            *seen = content.revision;
            read(changes, content)
        })
    }
}

#[cfg(test)]
mod tests {
    use mesh_xds_api::google::protobuf::Any;

    use super::*;
    use crate::{Resource, TypeUrl, store::Batch};

    fn put(view: &View, name: &str, value: &str) {
        let any = Any { type_url: TypeUrl::CLUSTER.as_str().into(), value: value.as_bytes().to_vec().into() };
        view.update(Batch::new().put(Resource::new(name, any)));
    }

    fn names(watcher: &mut ViewWatcher) -> Option<Vec<String>> {
        watcher.read(|changes, _| match changes {
            Changes::Keys(keys) => Some(keys.iter().map(|k| k.name.to_string()).collect()),
            Changes::Everything => None,
        })
    }

    #[tokio::test]
    async fn tells_names_once() {
        let view = View::new();
        let mut watcher = view.watch();
        put(&view, "a", "1");
        watcher.changed().await;
        put(&view, "b", "1");
        assert_eq!(names(&mut watcher), Some(vec!["a".into(), "b".into()]));
        assert_eq!(names(&mut watcher), Some(vec![]));
        put(&view, "a", "2");
        watcher.changed().await;
        assert_eq!(names(&mut watcher), Some(vec!["a".into()]));
    }

    #[tokio::test]
    async fn lagging_far_behind_is_everything() {
        let view = View::new();
        let mut watcher = view.watch();
        for i in 0..20_000 {
            put(&view, "a", &i.to_string());
        }
        assert_eq!(names(&mut watcher), None);
        assert_eq!(names(&mut watcher), Some(vec![]));
    }
}
