//! Following a view.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Revision, View, scope::Participant};
use crate::protocol::server::{Ledger, ServerStream};

/// Follows one view. Holds a position, no changes: a slow watcher costs nothing.
#[derive(Debug)]
pub struct ViewWatcher {
    view: Arc<View>,
    revision: watch::Receiver<Revision>,
    seen: Revision,
}

impl ViewWatcher {
    pub(super) fn new(view: Arc<View>, revision: watch::Receiver<Revision>) -> Self {
        Self { view, revision, seen: Revision::NONE }
    }

    /// The view.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Waits until the view has changed since it was last read. Cancel safe.
    pub async fn changed(&mut self) {
        // Invariant: the sender lives in the view, which `self.view` keeps.
        let _ = self.revision.wait_for(|r| *r > self.seen).await;
    }

    /// Reads the content as of one moment, together with the revision that was read last: [`Ledger::changes`] tells what
    /// changed since. Writers wait meanwhile: be short, and call no method of the view.
    pub fn read<T>(&mut self, read: impl FnOnce(&Ledger, Revision) -> T) -> T {
        let Self { view, seen, .. } = self;
        view.read(|ledger| {
            let before = std::mem::replace(seen, ledger.revision());
            read(ledger, before)
        })
    }
}

/// Follows one view for a stream, and tells the scope how far the stream is.
#[derive(Debug)]
pub(crate) struct Follower {
    watcher: ViewWatcher,
    released: watch::Receiver<Revision>,
    participant: Participant,
    told: Arc<AtomicU64>,
}

impl Follower {
    pub(crate) fn new(view: &Arc<View>) -> Self {
        // Until it has looked, nothing may be forgotten.
        let told = Arc::new(AtomicU64::new(Revision::NONE.0));
        view.remember_for(&told);
        let released = view.scope().follow();
        Self { watcher: view.watch(), released, participant: view.member().participate(), told }
    }

    /// Waits until there may be something to do: the view has changed, or removals that wait may be told. Cancel safe.
    pub(crate) async fn changed(&mut self, removals_wait: bool) {
        let released = async {
            // Invariant: the sender lives in the view's scope.
            let _ = self.released.changed().await;
        };
        tokio::select! {
            () = self.watcher.changed() => {}
            () = released, if removals_wait => {}
        }
    }

    /// Calls `read` with the content as of one moment and up to where removals may be told; then takes over how far the
    /// stream is.
    pub(crate) fn read<T>(
        &mut self,
        stream: &mut ServerStream,
        now: Instant,
        read: impl FnOnce(&mut ServerStream, &Ledger, Revision) -> T,
    ) -> T {
        self.released.mark_unchanged();
        let released = self.participant.released();
        let (answer, accepted, told, revision) = self.watcher.read(|ledger, _| {
            let answer = read(stream, ledger, released);
            (answer, stream.accepted(ledger), stream.told(ledger), ledger.revision())
        });
        self.told.store(told.0, Ordering::Relaxed);
        self.participant.observe(accepted, revision, now);
        answer
    }

    /// When the stream is given up by those who wait for it, if it goes on not answering.
    pub(crate) fn deadline(&self, limit: Duration) -> Option<Instant> {
        self.participant.deadline(limit)
    }

    pub(crate) fn give_up_if_due(&mut self, limit: Duration, now: Instant) {
        self.participant.give_up_if_due(limit, now);
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

    fn names(watcher: &mut ViewWatcher) -> Vec<String> {
        watcher
            .read(|ledger, since| ledger.changes(&TypeUrl::CLUSTER, since).map(|(name, _)| name.to_string()).collect())
    }

    #[tokio::test]
    async fn tells_names_once() {
        let view = View::unchecked();
        let mut watcher = view.watch();
        put(&view, "a", "1");
        watcher.changed().await;
        put(&view, "b", "1");
        assert_eq!(names(&mut watcher), ["a", "b"]);
        assert_eq!(names(&mut watcher), [""; 0]);
        put(&view, "a", "2");
        watcher.changed().await;
        assert_eq!(names(&mut watcher), ["a"]);
    }
}
