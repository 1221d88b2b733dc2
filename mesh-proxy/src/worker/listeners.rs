//! The listeners of one worker: what a new snapshot means for their sockets and connections.
//!
//! - unchanged: nothing happens;
//! - changed, same addresses: sockets stay; new connections meet the new filter chains; connections of chains that are
//!   gone or changed drain, those of all others go on (`FilterChain::digest`);
//! - changed addresses, or removed: sockets close, connections drain.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::task::AbortHandle;

use super::{Which, WorkerContext};
use crate::{
    drain::{Drain, Phase},
    listener::{
        accept,
        active::ActiveListener,
        bind::{BindError, Binding},
    },
    model::{Address, Listener},
    state::Snapshot,
};

/// Sockets of one listener on this worker. Dropping it closes them.
struct Sockets {
    acceptors: Vec<AbortHandle>,
    _bindings: Vec<Arc<Binding>>,
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
    }
}

struct Entry {
    model: Arc<Listener>,
    /// What acceptors hand to new connections.
    current: Rc<RefCell<Rc<ActiveListener>>>,
    _sockets: Option<Sockets>,
}

/// Listeners that take connections by original destination, by the address they name.
pub(crate) type Redirects = Rc<RefCell<HashMap<SocketAddr, Rc<RefCell<Rc<ActiveListener>>>>>>;

/// The listener for a connection's original destination: its very address, else any address with its port.
pub(crate) fn redirect(redirects: &Redirects, destination: SocketAddr) -> Option<Rc<ActiveListener>> {
    let redirects = redirects.borrow();
    let any: IpAddr = match destination {
        SocketAddr::V4(_) => IpAddr::from([0; 4]),
        SocketAddr::V6(_) => IpAddr::from([0; 16]),
    };
    let found = redirects.get(&destination).or_else(|| redirects.get(&SocketAddr::new(any, destination.port())));
    found.map(|listener| listener.borrow().clone())
}

/// The listeners of one worker.
pub(super) struct Listeners {
    context: Rc<WorkerContext>,
    entries: HashMap<Arc<str>, Entry>,
    redirects: Redirects,
    /// Chains whose connections drain.
    draining: Vec<Rc<Drain>>,
    /// Of these listeners nothing is accepted any more.
    stopped: Option<Which>,
}

impl Listeners {
    pub(super) fn new(context: Rc<WorkerContext>) -> Self {
        Self { context, entries: HashMap::new(), redirects: Redirects::default(), draining: Vec::new(), stopped: None }
    }

    /// Takes over a snapshot.
    pub(super) fn update(&mut self, snapshot: &Arc<Snapshot>) {
        if self.stopped == Some(Which::All) {
            return;
        }
        self.draining.retain(|drain| drain.watchers() > 0);
        let gone: Vec<Arc<str>> =
            self.entries.keys().filter(|name| !snapshot.listeners.contains_key(*name)).cloned().collect();
        for name in gone {
            if let Some(entry) = self.entries.remove(&name) {
                self.context.shared.note_bind(&name, Ok(()));
                self.retire(&entry.current.borrow(), None);
            }
        }
        for (name, model) in snapshot.listeners.iter() {
            self.update_one(name, model);
        }
        for entry in self.entries.values() {
            entry.current.borrow().update(snapshot);
        }
        self.index_redirects();
    }

    fn update_one(&mut self, name: &Arc<str>, model: &Arc<Listener>) {
        let context = &self.context;
        let Some(entry) = self.entries.get_mut(name) else {
            let active = ActiveListener::new(model.clone(), context, None);
            return self.open(name, model, active);
        };
        if Arc::ptr_eq(&entry.model, model) {
            return;
        }
        let old = entry.current.borrow().clone();
        let new = ActiveListener::new(model.clone(), context, Some(&old));
        if same_sockets(&entry.model, model) {
            entry.model = model.clone();
            *entry.current.borrow_mut() = new.clone();
            self.retire(&old, Some(&new));
        } else {
            self.entries.remove(name);
            self.open(name, model, new.clone());
            self.retire(&old, Some(&new));
        }
    }

    fn is_stopped(&self, model: &Listener) -> bool {
        self.stopped.is_some_and(|which| which.includes(model))
    }

    /// Opens the sockets of a listener. A failure is noted, and the listener waits for its next change.
    fn open(&mut self, name: &Arc<str>, model: &Arc<Listener>, active: Rc<ActiveListener>) {
        let current = Rc::new(RefCell::new(active));
        let sockets = if model.bind_to_port && !self.is_stopped(model) {
            match self.bind(model, &current) {
                Ok(sockets) => Some(sockets),
                Err(e) => {
                    tracing::error!(listener = %name, error = %e, "listener has no socket");
                    self.context.stats.counter("listener_manager.listener_create_failure").inc();
                    self.context.shared.note_bind(name, Err(e.to_string()));
                    return;
                }
            }
        } else {
            None
        };
        self.context.shared.note_bind(name, Ok(()));
        self.entries.insert(name.clone(), Entry { model: model.clone(), current, _sockets: sockets });
    }

    fn bind(&self, model: &Arc<Listener>, current: &Rc<RefCell<Rc<ActiveListener>>>) -> Result<Sockets, BindError> {
        let mut sockets = Sockets { acceptors: Vec::new(), _bindings: Vec::new() };
        for index in 0..model.addresses.len() {
            let (binding, socket) = self.context.shared.binder.bind(model, index)?;
            let accepting =
                accept::run(self.context.clone(), current.clone(), self.redirects.clone(), binding.clone(), socket);
            sockets.acceptors.push(tokio::task::spawn_local(accepting).abort_handle());
            sockets._bindings.push(binding);
        }
        Ok(sockets)
    }

    /// Drains the chains of `old` that `new` does not go on with.
    fn retire(&mut self, old: &ActiveListener, new: Option<&ActiveListener>) {
        let drain_time = self.context.shared.drain_time;
        for chain in old.all_chains() {
            let kept = new.is_some_and(|new| new.all_chains().any(|c| Rc::ptr_eq(&c.drain, &chain.drain)));
            if !kept && chain.drain.watchers() > 0 {
                self.draining.push(chain.drain.clone());
                tokio::task::spawn_local(drain(chain.drain.clone(), drain_time));
            }
        }
    }

    fn index_redirects(&self) {
        let mut redirects = self.redirects.borrow_mut();
        redirects.clear();
        for entry in self.entries.values() {
            for address in &entry.model.addresses {
                if let Address::Tcp(address) = address {
                    redirects.insert(*address, entry.current.clone());
                }
            }
        }
    }

    /// Tells connections to end as they can; listeners go on.
    pub(super) fn drain(&mut self, which: Which) {
        for entry in self.entries.values().filter(|entry| which.includes(&entry.model)) {
            for chain in entry.current.borrow().all_chains() {
                chain.drain.advance(Phase::Draining);
            }
        }
    }

    /// Closes sockets, and tells connections to end as they can.
    pub(super) fn close(&mut self, which: Which) {
        self.stop(which);
        self.drain(which);
    }

    /// Closes sockets, also those of listeners to come.
    pub(super) fn stop(&mut self, which: Which) {
        if self.stopped != Some(Which::All) {
            self.stopped = Some(which);
        }
        for entry in self.entries.values_mut().filter(|entry| which.includes(&entry.model)) {
            entry._sockets = None;
            if which == Which::All {
                for chain in entry.current.borrow().all_chains() {
                    self.draining.push(chain.drain.clone());
                }
            }
        }
        if which == Which::All {
            self.redirects.borrow_mut().clear();
        }
    }

    /// Moves all connections on to `phase`.
    pub(super) fn advance(&self, phase: Phase) {
        for drain in &self.draining {
            drain.advance(phase);
        }
        for entry in self.entries.values() {
            for chain in entry.current.borrow().all_chains() {
                chain.drain.advance(phase);
            }
        }
    }

    /// Connections that have not ended, after [`stop`](Self::stop).
    pub(super) fn connections(&self) -> usize {
        self.draining.iter().map(|drain| drain.watchers()).sum()
    }
}

async fn drain(drain: Rc<Drain>, time: Duration) {
    drain.advance(Phase::Draining);
    tokio::time::sleep(time).await;
    drain.advance(Phase::Ended);
}

/// Whether the sockets of `old` serve `new` as well.
fn same_sockets(old: &Listener, new: &Listener) -> bool {
    old.addresses == new.addresses
        && old.bind_to_port == new.bind_to_port
        && old.reuse_port == new.reuse_port
        && old.backlog == new.backlog
        && old.sockets == new.sockets
        && old.mptcp == new.mptcp
}
