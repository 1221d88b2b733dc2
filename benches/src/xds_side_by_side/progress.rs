//! What all subscribers together have got so far. Everything runs on one thread, so that cells suffice.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    ops::Range,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::{
    subscriber::Resume,
    wire::{self, Kind, Variant},
};

/// Connections that open at a time: fewer than a listener's backlog.
const OPENING: usize = 200;

/// What every subscriber is to receive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) clusters: Range<usize>,
    /// These assignments, with this weight.
    pub(crate) assignments: Range<usize>,
    pub(crate) weight: u32,
    /// The last cluster goes, so that so many are left.
    pub(crate) left: Option<usize>,
}

impl Target {
    fn len(&self) -> usize {
        self.clusters.len() + self.assignments.len() + usize::from(self.left.is_some())
    }
}

/// What one subscriber has of the target.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    epoch: u64,
    bits: Vec<u64>,
    count: usize,
    told: bool,
}

/// See the module page.
#[derive(Debug)]
pub(crate) struct Progress {
    epoch: Cell<u64>,
    target: RefCell<Target>,
    opened: Cell<usize>,
    done: Cell<usize>,
    advanced: Notify,
    last_sent: Cell<Instant>,
    received: Cell<u64>,
    opening: Arc<Semaphore>,
    names: RefCell<HashMap<Range<usize>, Bytes>>,
    /// As the first subscriber was told: versions by index, and the version of the last response.
    versions: RefCell<[Vec<Bytes>; 2]>,
    version: RefCell<[Bytes; 2]>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Cell::new(0),
            target: RefCell::default(),
            opened: Cell::new(0),
            done: Cell::new(0),
            advanced: Notify::new(),
            last_sent: Cell::new(Instant::now()),
            received: Cell::new(0),
            opening: Arc::new(Semaphore::new(OPENING)),
            names: RefCell::default(),
            versions: RefCell::default(),
            version: RefCell::default(),
        }
    }

    /// From now on this is what counts.
    pub(crate) fn aim(&self, target: Target) {
        self.epoch.set(self.epoch.get() + 1);
        self.target.replace(target);
        self.opened.set(0);
        self.done.set(0);
        self.received.set(0);
        self.last_sent.set(Instant::now());
    }

    /// Waits until so many subscribers have all of the target and have acknowledged it.
    pub(crate) async fn reached(&self, subscribers: usize) {
        while self.done.get() < subscribers {
            self.advanced.notified().await;
        }
    }

    /// Waits until so many subscribers have opened their streams since [`Progress::aim`].
    pub(crate) async fn connected(&self, subscribers: usize) {
        while self.opened.get() < subscribers {
            self.advanced.notified().await;
        }
    }

    pub(crate) fn opened(&self) {
        self.opened.set(self.opened.get() + 1);
        self.advanced.notify_one();
    }

    /// How many subscribers have all of the target.
    pub(crate) fn done(&self) -> usize {
        self.done.get()
    }

    /// Bytes read from sockets since [`Progress::aim`].
    pub(crate) fn bytes(&self) -> u64 {
        self.received.get()
    }

    /// When the last request, an acknowledgement as a rule, was handed to the connection.
    pub(crate) fn last_sent(&self) -> Instant {
        self.last_sent.get()
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
    }

    pub(crate) fn sent(&self) {
        self.last_sent.set(Instant::now());
    }

    /// Waits for a turn to connect.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.opening.clone().acquire_owned().await.ok()
    }

    /// Names of clusters as a request's field, encoded once.
    pub(crate) fn names(&self, range: Range<usize>) -> Bytes {
        self.names.borrow_mut().entry(range.clone()).or_insert_with(|| wire::names(range)).clone()
    }

    /// Takes note of one resource. What the `first` subscriber is told is kept, to be resumed with.
    pub(crate) fn resource(&self, seen: &mut Seen, first: bool, kind: Kind, index: usize, version: &[u8], weight: u32) {
        if first {
            let held = &mut self.versions.borrow_mut()[kind as usize];
            held.resize(held.len().max(index + 1), Bytes::new());
            held[index] = Bytes::copy_from_slice(version);
        }
        let target = self.target.borrow();
        match kind {
            Kind::Cluster if target.clusters.contains(&index) => self.note(seen, index - target.clusters.start),
            Kind::Endpoint if target.assignments.contains(&index) && weight == target.weight => {
                self.note(seen, index - target.assignments.start + target.clusters.len());
            }
            _ => {}
        }
    }

    /// Takes note of how many clusters there are after a response.
    pub(crate) fn counted(&self, seen: &mut Seen, clusters: usize) {
        let target = self.target.borrow();
        if target.left == Some(clusters) {
            self.note(seen, target.len() - 1);
        }
    }

    fn note(&self, seen: &mut Seen, bit: usize) {
        if seen.epoch != self.epoch.get() {
            let words = self.target.borrow().len().div_ceil(64);
            *seen = Seen { epoch: self.epoch.get(), bits: vec![0; words], ..Seen::default() };
        }
        if seen.told {
            return;
        }
        let (word, mask) = (&mut seen.bits[bit / 64], 1 << (bit % 64));
        if *word & mask == 0 {
            *word |= mask;
            seen.count += 1;
        }
    }

    /// Takes note of the version of a response to the first subscriber.
    pub(crate) fn versioned(&self, kind: Kind, version: &Bytes) {
        self.version.borrow_mut()[kind as usize] = version.clone();
    }

    /// A response was acknowledged.
    pub(crate) fn finished(&self, seen: &mut Seen) {
        if seen.epoch == self.epoch.get() && !seen.told && seen.count == self.target.borrow().len() {
            seen.told = true;
            // The target is met: the bits are not needed while nothing moves.
            seen.bits = Vec::new();
            self.done.set(self.done.get() + 1);
            self.advanced.notify_one();
        }
    }

    /// What a subscriber says on a new stream after all that came so far, with `clusters` clusters.
    pub(crate) fn resume(&self, variant: Variant, clusters: usize) -> Resume {
        let versions = self.versions.borrow();
        let initial = |i: usize| match variant {
            Variant::Delta => wire::versions(&versions[i][..clusters.min(versions[i].len())]),
            Variant::Sotw => Bytes::new(),
        };
        let version = match variant {
            Variant::Delta => Default::default(),
            Variant::Sotw => self.version.borrow().clone(),
        };
        Resume { clusters, initial: [initial(0), initial(1)], version }
    }
}
