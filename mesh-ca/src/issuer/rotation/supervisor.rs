//! Drives a [`RotatingCa`], and keeps identities of this process with it.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use super::{
    feed::{self, RotationFeed},
    root_ca::{Published, RotatingCa},
};
use crate::agent::{IdentityState, WorkloadIdentity};

/// The clocks are looked at this often at least, so that a jump or a sleep is noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The pause after a step that failed.
const RETRY: Duration = Duration::from_secs(5);

/// A task that runs until this is dropped.
#[derive(Debug)]
pub struct Supervision {
    task: JoinHandle<()>,
}

impl Supervision {
    fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { task: tokio::spawn(task) }
    }
}

impl Drop for Supervision {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RotatingCa {
    /// Makes each step of a rotation when it is due, and new revocation lists, for as long as the handle lives. A step that
    /// fails is tried again.
    pub fn supervise(self: &Arc<Self>) -> Supervision {
        let ca = Arc::clone(self);
        Supervision::spawn(async move {
            loop {
                let wait = ca.tick().await.unwrap_or_else(|error| {
                    tracing::error!(%error, "a step of the CA failed; trying again");
                    RETRY
                });
                tokio::select! {
                    () = ca.clock().sleep(wait.clamp(Duration::from_millis(1), LONGEST_WAIT)) => {}
                    () = ca.woken() => {}
                }
            }
        })
    }

    /// Keeps an identity of this process, which this CA signs, up to date for as long as the handle lives: it is renewed when
    /// whom to believe changes, or when its root is tainted; and its certificates before the last one count as out of use.
    pub fn follow(self: &Arc<Self>, identity: &WorkloadIdentity) -> Supervision {
        self.feed().follow(identity)
    }
}

impl Supervision {
    pub(super) fn follow(feed: &RotationFeed, identity: &WorkloadIdentity) -> Self {
        let (table, mut told) = (Arc::clone(feed.holders()), feed.subscribe());
        let (mut states, renew) = (identity.watch().subscribe(), identity.renewer());
        Self::spawn(async move {
            let mut held: Option<String> = None;
            // The bundle that a renewal was asked for, so that it is asked for once.
            let mut asked = None;
            loop {
                let (published, state) =
                    (Arc::clone(&told.borrow_and_update()), Arc::clone(&states.borrow_and_update()));
                let serial = state.svid.as_ref().map(|s| s.serial().to_owned());
                if serial != held {
                    if let Some(old) = held.take() {
                        table.retire(&old);
                    }
                    held = serial;
                }
                let bundle_changed = asked.replace(published.sequence).is_some_and(|asked| asked != published.sequence);
                if bundle_changed || is_outdated(&state, &published) {
                    renew.renew_now();
                }
                tokio::select! {
                    changed = told.changed() => if changed.is_err() { return },
                    changed = states.changed() => if changed.is_err() { return },
                }
            }
        })
    }
}

fn is_outdated(state: &IdentityState, published: &Published) -> bool {
    let Some(svid) = &state.svid else { return false };
    let own = state.bundles.bundle(published.bundle.trust_domain());
    let believes = own.is_some_and(|own| {
        published.bundle.roots().iter().all(|r| own.roots().iter().any(|o| o.certificate() == r.certificate()))
    });
    let tainted = published.tainted.as_ref();
    !believes || tainted.is_some_and(|tainted| feed::root_of(svid, &published.bundle).as_ref() == Some(tainted))
}
