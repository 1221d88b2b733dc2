//! What others may ask of a running proxy and tell it.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::{
    admin::{AdminState, ClusterStatus, ConfigDump, DrainRequest, ListenerStatus, ServerState},
    model::{Address, Secret},
    stats::Stats,
    worker::{Command, Shared, Which},
    xds::ControlHandle,
};

/// A running proxy, from outside. Cheap to clone; keeps nothing alive.
#[derive(Clone)]
pub struct ProxyHandle {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) commands: Arc<watch::Sender<Command>>,
    pub(super) live: watch::Sender<bool>,
    pub(super) quit: Notify,
    pub(super) admin: Option<Address>,
    pub(super) control: ControlHandle,
    pub(super) static_clusters: std::collections::HashSet<String>,
}

impl std::fmt::Debug for ProxyHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyHandle").field("admin", &self.inner.admin).finish_non_exhaustive()
    }
}

impl ProxyHandle {
    /// Where the administration interface listens, with the port that the system chose; `None` = there is none.
    #[must_use]
    pub fn admin_address(&self) -> Option<&Address> {
        self.inner.admin.as_ref()
    }

    /// Bound addresses of listeners, with the ports that the system chose, sorted by name.
    #[must_use]
    pub fn listeners(&self) -> Vec<(String, Address)> {
        self.inner.shared.binder.bound()
    }

    /// Listeners that could not be bound, and why.
    #[must_use]
    pub fn listener_failures(&self) -> Vec<(String, String)> {
        self.inner.shared.bind_failures()
    }

    /// True once the first configuration is in force on every worker.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.inner.live.subscribe()
    }

    /// The statistics.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.inner.shared.stats
    }

    /// Tells connections to end as they can; listeners go on accepting.
    pub fn drain(&self) {
        self.begin_draining(Which::All, false);
    }

    /// What is draining goes on as it began.
    fn begin_draining(&self, which: Which, close: bool) {
        self.inner.commands.send_if_modified(|command| {
            let serving = *command == Command::Serve;
            if serving {
                *command = Command::Drain { which, close };
            }
            serving
        });
    }

    /// Ends the proxy gracefully, as the `shutdown` future of [`Proxy::run`](super::Proxy::run) does.
    pub fn shut_down(&self) {
        self.inner.quit.notify_one();
    }

    /// Opens access log files again under their names, after they were moved away.
    pub fn reopen_logs(&self) {
        self.inner.shared.sinks.reopen();
    }
}

impl AdminState for ProxyHandle {
    fn server_state(&self) -> ServerState {
        match *self.inner.commands.borrow() {
            Command::ShutDown { .. } | Command::Drain { .. } | Command::Close { .. } => ServerState::Draining,
            Command::Serve if *self.inner.live.borrow() => ServerState::Live,
            Command::Serve if *self.inner.control.ready().borrow() => ServerState::Initializing,
            Command::Serve => ServerState::PreInitializing,
        }
    }

    fn config(&self) -> ConfigDump {
        self.inner.control.config()
    }

    fn clusters(&self) -> Vec<ClusterStatus> {
        let snapshot = self.inner.control.snapshots().borrow().clone();
        let mut clusters: Vec<_> = snapshot
            .clusters
            .values()
            .map(|handle| ClusterStatus {
                handle: handle.clone(),
                added_via_api: !self.inner.static_clusters.contains(&*handle.config().name),
            })
            .collect();
        clusters.sort_by(|a, b| a.handle.config().name.cmp(&b.handle.config().name));
        clusters
    }

    fn listeners(&self) -> Vec<ListenerStatus> {
        let bound = self.inner.shared.binder.bound();
        let snapshot = self.inner.control.snapshots().borrow().clone();
        let status = |listener: &Arc<crate::model::Listener>| {
            let own: Vec<_> = bound.iter().filter(|(n, _)| *n == listener.name).map(|(_, a)| a.clone()).collect();
            let addresses = if own.is_empty() { listener.addresses.clone() } else { own };
            ListenerStatus { name: listener.name.clone(), addresses }
        };
        snapshot.listeners.values().map(status).collect()
    }

    fn secrets(&self) -> Vec<Arc<Secret>> {
        self.inner.control.secrets()
    }

    fn drain_listeners(&self, request: DrainRequest) {
        let which = if request.inbound_only { Which::Inbound } else { Which::All };
        if request.graceful {
            self.begin_draining(which, !request.skip_exit);
        } else {
            self.inner.commands.send_replace(Command::Close { which });
        }
    }

    fn quit(&self) {
        self.shut_down();
    }

    fn reopen_logs(&self) {
        ProxyHandle::reopen_logs(self);
    }
}
