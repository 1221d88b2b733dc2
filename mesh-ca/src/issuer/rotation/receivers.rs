//! [`Receivers`]: who is at the other ends of a server's streams, and what they hold.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use super::{
    feed::RotationFeed,
    holders::{HolderStream, HolderTable},
    machine::RootId,
};
use crate::clock::Clock;

/// What the other end of a stream holds of a rotating CA.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holding {
    /// The bundle acknowledged last, 0 for none yet; `None` when the stream carries no bundles.
    pub(crate) sequence: Option<u64>,
    /// The roots of the certificates that it holds or may hold.
    pub(crate) roots: BTreeSet<RootId>,
    /// When the last of these certificates ends.
    pub(crate) until: Option<SystemTime>,
}

impl Holding {
    fn and(mut self, other: &Self) -> Self {
        self.sequence = match (self.sequence, other.sequence) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.roots.extend(other.roots.iter().cloned());
        self.until = self.until.max(other.until);
        self
    }
}

/// One workload or proxy. It may have several streams: Envoy opens one for each secret.
#[derive(Debug)]
struct Receiver {
    stream: HolderStream,
    open: HashMap<u64, Holding>,
    /// What it held by streams that have ended, and has not replaced since.
    left: Holding,
}

impl Receiver {
    fn tell(&self) {
        let all = self.open.values().fold(self.left.clone(), Holding::and);
        // Who asks for no bundle is never behind with one.
        self.stream.acknowledge(all.sequence.unwrap_or(u64::MAX), all.roots.into_iter().collect());
        self.stream.expect_back(if self.open.is_empty() { all.until } else { None });
    }
}

/// Keeps the books of one server in a [`HolderTable`]. Bounded by the server's streams, and by the certificates of those who
/// have left, which end.
#[derive(Debug)]
pub(crate) struct Receivers {
    table: Arc<HolderTable>,
    clock: Arc<dyn Clock>,
    next: AtomicU64,
    all: Mutex<BTreeMap<String, Receiver>>,
}

impl Receivers {
    pub(crate) fn new(feed: &RotationFeed, clock: Arc<dyn Clock>) -> Arc<Self> {
        let table = Arc::clone(feed.holders());
        Arc::new(Self { table, clock, next: AtomicU64::new(0), all: Mutex::default() })
    }

    /// A stream to `who` has been opened; it is open until the value is dropped.
    pub(crate) fn open(self: &Arc<Self>, who: &str) -> Receiving {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.now().wall;
        self.with(|all| {
            all.retain(|_, r| !r.open.is_empty() || r.left.until.is_some_and(|until| now < until));
            let new =
                || Receiver { stream: self.table.open_stream(who), open: HashMap::new(), left: Holding::default() };
            let receiver = all.entry(who.to_owned()).or_insert_with(new);
            receiver.open.insert(key, Holding::default());
            receiver.tell();
        });
        Receiving { receivers: Arc::clone(self), who: who.to_owned(), key }
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Receiver>) -> T) -> T {
        work(&mut self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One open stream in [`Receivers`].
#[derive(Debug)]
pub(crate) struct Receiving {
    receivers: Arc<Receivers>,
    who: String,
    key: u64,
}

impl Receiving {
    /// Changes what the other end holds.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Holding)) {
        self.receivers.with(|all| {
            let Some(receiver) = all.get_mut(&self.who) else { return };
            let Some(holding) = receiver.open.get_mut(&self.key) else { return };
            change(holding);
            // What it has by this stream takes the place of what it had by streams that have ended.
            if holding.sequence.is_some_and(|s| s > 0) {
                receiver.left.sequence = None;
            }
            if !holding.roots.is_empty() {
                receiver.left.roots.clear();
                receiver.left.until = None;
            }
            receiver.tell();
        });
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let now = self.receivers.clock.now().wall;
        self.receivers.with(|all| {
            let Some(receiver) = all.get_mut(&self.who) else { return };
            if let Some(holding) = receiver.open.remove(&self.key) {
                receiver.left = std::mem::take(&mut receiver.left).and(&holding);
            }
            // Without a certificate it is nobody.
            if receiver.open.is_empty() && receiver.left.until.is_none_or(|until| until <= now) {
                all.remove(&self.who);
            } else {
                receiver.tell();
            }
        });
    }
}
