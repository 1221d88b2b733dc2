//! Workers: threads that share nothing on the request path. Each has a runtime, listeners, pools and the current
//! snapshot.

mod context;
mod listeners;

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub(crate) use context::WorkerContext;
use listeners::Listeners;
pub(crate) use listeners::{Redirects, redirect};
use parking_lot::Mutex;
use tokio::{sync::watch, task::LocalSet};

use crate::{
    access_log::LogSinks,
    drain::Phase,
    istio::IstioMetrics,
    listener::bind::Binder,
    model::{Listener, RouteTable},
    route::Routes,
    state::Snapshot,
    stats::Stats,
    tls::SecretStore,
    upstream::Upstreams,
};

/// How often a draining worker looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// A table and what it was compiled to, while both are in use.
type CompiledRoutes = (Weak<RouteTable>, Weak<Routes>);

/// What all workers share; none of it is touched by a request that goes well, but statistics.
pub(crate) struct Shared {
    pub(crate) stats: Stats,
    pub(crate) sinks: LogSinks,
    pub(crate) secrets: SecretStore,
    pub(crate) istio: Option<IstioMetrics>,
    pub(crate) binder: Binder,
    /// How long connections of a removed or changed listener may go on.
    pub(crate) drain_time: Duration,
    connections: AtomicU64,
    open: Mutex<HashMap<String, Arc<AtomicU64>>>,
    routes: Mutex<HashMap<usize, CompiledRoutes>>,
    failures: Mutex<HashMap<String, String>>,
}

impl Shared {
    pub(crate) fn new(
        stats: Stats,
        sinks: LogSinks,
        secrets: SecretStore,
        istio: Option<IstioMetrics>,
        drain_time: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            stats,
            sinks,
            secrets,
            istio,
            binder: Binder::default(),
            drain_time,
            connections: AtomicU64::new(0),
            open: Mutex::default(),
            routes: Mutex::default(),
            failures: Mutex::default(),
        })
    }

    /// A connection id, unique in this process.
    pub(crate) fn connection_id(&self) -> u64 {
        self.connections.fetch_add(1, Relaxed)
    }

    /// Open connections of a listener, over all workers.
    pub(crate) fn open_connections(&self, listener: &str) -> Arc<AtomicU64> {
        self.open.lock().entry(listener.to_owned()).or_default().clone()
    }

    fn compiled_routes(&self, table: &Arc<RouteTable>) -> Arc<Routes> {
        let mut cache = self.routes.lock();
        let key = Arc::as_ptr(table) as usize;
        if let Some((known, routes)) = cache.get(&key)
            && let (Some(known), Some(routes)) = (known.upgrade(), routes.upgrade())
            && Arc::ptr_eq(&known, table)
        {
            return routes;
        }
        cache.retain(|_, (table, _)| table.strong_count() > 0);
        let routes = Arc::new(Routes::compile(table.clone()));
        cache.insert(key, (Arc::downgrade(table), Arc::downgrade(&routes)));
        routes
    }

    /// Notes how opening a listener's sockets went; the last failure is kept.
    fn note_bind(&self, listener: &str, result: Result<(), String>) {
        let mut failures = self.failures.lock();
        match result {
            Ok(()) => failures.remove(listener),
            Err(e) => failures.insert(listener.to_owned(), e),
        };
    }

    /// Listeners without sockets, and why.
    pub(crate) fn bind_failures(&self) -> Vec<(String, String)> {
        let mut failures: Vec<_> = self.failures.lock().iter().map(|(n, e)| (n.clone(), e.clone())).collect();
        failures.sort();
        failures
    }
}

/// What the workers are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Command {
    /// Serve.
    #[default]
    Serve,
    /// Connections are told to end; new ones are still taken (`/drain_listeners?graceful`).
    Drain {
        /// Of these listeners.
        which: Which,
        /// Then they close: when the drain time is over.
        close: bool,
    },
    /// Listeners stop accepting, connections are told to end; the worker goes on.
    Close {
        /// These listeners.
        which: Which,
    },
    /// No connection is taken; the worker ends when the last one has ended, or at the deadline.
    ShutDown {
        /// When the remaining connections are closed.
        deadline: Instant,
    },
}

/// Which listeners a command is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Which {
    /// All.
    #[default]
    All,
    /// Those with inbound traffic.
    Inbound,
}

impl Which {
    fn includes(self, listener: &Listener) -> bool {
        self == Which::All || listener.inbound == Some(true)
    }
}

/// One worker as its owner sees it.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Version of the last snapshot it has taken over.
    pub(crate) applied: watch::Receiver<Option<u64>>,
    /// Its thread.
    pub(crate) thread: JoinHandle<()>,
}

/// Starts worker number `index`.
///
/// # Errors
/// The thread or its runtime cannot be made.
pub(crate) fn spawn(
    index: usize,
    shared: &Arc<Shared>,
    snapshots: &watch::Receiver<Arc<Snapshot>>,
    commands: &watch::Receiver<Command>,
    seed: u64,
) -> io::Result<Worker> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (applied_to, applied) = watch::channel(None);
    let (shared, snapshots, commands) = (shared.clone(), snapshots.clone(), commands.clone());
    let thread = std::thread::Builder::new().name(format!("wrk:{index}")).spawn(move || {
        let local = LocalSet::new();
        let run = run(shared, snapshots, commands, seed, applied_to);
        local.block_on(&runtime, run);
    })?;
    Ok(Worker { applied, thread })
}

async fn run(
    shared: Arc<Shared>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    mut commands: watch::Receiver<Command>,
    seed: u64,
    applied: watch::Sender<Option<u64>>,
) {
    let snapshot = snapshots.borrow_and_update().clone();
    let context = WorkerContext::new(shared, Upstreams::new(seed), snapshot.clone(), seed);
    let mut listeners = Listeners::new(context.clone());
    apply(&context, &mut listeners, snapshot, &applied);
    let mut close = None;
    let deadline = loop {
        tokio::select! {
            changed = snapshots.changed() => {
                if changed.is_err() {
                    break Instant::now();
                }
                let snapshot = snapshots.borrow_and_update().clone();
                apply(&context, &mut listeners, snapshot, &applied);
            }
            changed = commands.changed() => {
                let command = if changed.is_ok() { *commands.borrow_and_update() } else { break Instant::now() };
                match command {
                    Command::Serve => {}
                    Command::Drain { which, close: then } => {
                        listeners.drain(which);
                        close = then.then(|| (which, Instant::now() + context.shared.drain_time));
                    }
                    Command::Close { which } => listeners.close(which),
                    Command::ShutDown { deadline } => break deadline,
                }
            }
            which = closing(close) => {
                close = None;
                listeners.close(which);
            }
        }
    };
    listeners.stop(Which::All);
    listeners.advance(Phase::Closing);
    while listeners.connections() > 0 && Instant::now() < deadline {
        tokio::time::sleep(DRAIN_POLL).await;
    }
    listeners.advance(Phase::Ended);
    // One more turn, so that ended connections say goodbye.
    tokio::time::sleep(DRAIN_POLL).await;
}

/// Waits until draining listeners are to close.
async fn closing(close: Option<(Which, Instant)>) -> Which {
    match close {
        Some((which, at)) => {
            tokio::time::sleep_until(at.into()).await;
            which
        }
        None => std::future::pending().await,
    }
}

fn apply(
    context: &WorkerContext,
    listeners: &mut Listeners,
    snapshot: Arc<Snapshot>,
    applied: &watch::Sender<Option<u64>>,
) {
    context.set_snapshot(snapshot.clone());
    // Clusters before listeners: a new route never meets an unknown cluster.
    context.upstreams.update(&snapshot.clusters);
    listeners.update(&snapshot);
    applied.send_replace(Some(snapshot.version));
}
