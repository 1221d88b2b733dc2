//! [`BundleHolders`]: the proof that a step may be made.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use super::machine::{Question, RootId};
use crate::{issuer::records::IssuedRecord, spiffe::SpiffeId};

/// Most names that an answer lists.
pub const MAX_NAMES: usize = 10;

/// Who is behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Laggards {
    /// How many.
    pub count: usize,
    /// The first [`MAX_NAMES`] of them, for people.
    pub names: Vec<String>,
    /// When the last of them will be behind no more at the latest, because its certificate ends; `None` when that is not known.
    pub until: Option<SystemTime>,
}

impl Laggards {
    /// Counts one more.
    pub fn add(&mut self, name: impl FnOnce() -> String, until: Option<SystemTime>) {
        if self.names.len() < MAX_NAMES {
            self.names.push(name());
        }
        self.until = if self.count == 0 { until } else { self.until.zip(until).map(|(a, b)| a.max(b)) };
        self.count += 1;
    }

    /// With those of another answer.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.until = match (self.count, other.count) {
            (_, 0) => self.until,
            (0, _) => other.until,
            _ => self.until.zip(other.until).map(|(a, b)| a.max(b)),
        };
        self.count += other.count;
        self.names.extend(other.names);
        self.names.truncate(MAX_NAMES);
        self
    }
}

/// Knows which workloads hold which bundle and certificate.
///
/// # Contract
/// - An answer counts everybody who may still use a certificate of this CA and is not known to have what is asked about. Who
///   cannot be known counts as behind: a rotation that goes on without somebody cuts it off.
/// - It returns at once, and is asked every few seconds while a rotation is under way.
///
/// Ready-made: [`HolderTable`].
pub trait BundleHolders: fmt::Debug + Send + Sync {
    /// Who is behind at the time `now`.
    fn behind(&self, question: &Question, now: SystemTime) -> Laggards;
}

#[derive(Debug)]
struct Leaf {
    id: SpiffeId,
    root: RootId,
    sequence: u64,
    not_after: SystemTime,
    /// The certificate that this one takes the place of, once it is seen in use.
    replaces: Option<String>,
}

#[derive(Debug)]
struct Stream {
    name: String,
    sequence: u64,
    roots: Vec<RootId>,
    /// Its other end is away, and counts until then.
    until: Option<SystemTime>,
}

#[derive(Debug, Default)]
struct Inner {
    leaves: HashMap<String, Leaf>,
    streams: HashMap<u64, Stream>,
    /// Ended leaves are dropped when there are this many.
    sweep_at: usize,
}

/// Every certificate that was issued and has not ended, with the bundle that went out with it; and every stream that hands out
/// bundles, with what its other end has acknowledged.
///
/// A certificate counts until its end, unless it is known to be out of use: [`HolderTable::retire`], or a successor named by
/// [`HolderTable::link`] that was [acknowledged](HolderTable::acknowledge).
#[derive(Debug, Default)]
pub struct HolderTable {
    inner: Mutex<Inner>,
    next_stream: AtomicU64,
}

impl HolderTable {
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A certificate was issued; the bundle `record.sequence` goes out with it.
    pub fn issued(&self, record: &IssuedRecord, now: SystemTime) {
        self.with(|inner| {
            if inner.leaves.len() >= inner.sweep_at.max(1024) {
                inner.leaves.retain(|_, l| now < l.not_after);
                inner.sweep_at = inner.leaves.len() * 2;
            }
            let leaf = Leaf {
                id: record.id.clone(),
                root: record.root.clone(),
                sequence: record.sequence,
                not_after: record.not_after,
                replaces: None,
            };
            inner.leaves.insert(record.serial.clone(), leaf);
        });
    }

    /// The holder of the certificate `old`, proven by it, was given `new` in its place; it may not have arrived yet. Nothing is
    /// noted when they are of different ids: somebody has asked for somebody else.
    pub fn link(&self, new: &str, old: &str) {
        self.with(|inner| {
            let Some(id) = inner.leaves.get(old).map(|l| l.id.clone()) else { return };
            if let Some(leaf) = inner.leaves.get_mut(new).filter(|l| l.id == id) {
                leaf.replaces = Some(old.to_owned());
            }
        });
    }

    /// The holder of a certificate uses it, and holds this bundle.
    pub fn acknowledge(&self, serial: &str, sequence: u64) {
        self.with(|inner| {
            let Some(leaf) = inner.leaves.get_mut(serial) else { return };
            leaf.sequence = leaf.sequence.max(sequence);
            if let Some(old) = leaf.replaces.take() {
                inner.leaves.remove(&old);
            }
        });
    }

    /// The holder of a certificate shows it, and so has what came with it.
    pub fn seen(&self, serial: &str) {
        self.acknowledge(serial, 0);
    }

    /// A certificate is out of use: its key is gone.
    pub fn retire(&self, serial: &str) {
        self.with(|inner| inner.leaves.remove(serial));
    }

    /// A certificate that has not ended.
    pub fn leaf(&self, serial: &str, now: SystemTime) -> Option<(SpiffeId, RootId, SystemTime)> {
        self.with(|inner| {
            let leaf = inner.leaves.get(serial).filter(|l| now < l.not_after)?;
            Some((leaf.id.clone(), leaf.root.clone(), leaf.not_after))
        })
    }

    /// How many certificates have not ended and are not known to be out of use.
    pub fn leaves(&self, now: SystemTime) -> usize {
        self.with(|inner| inner.leaves.values().filter(|l| now < l.not_after).count())
    }

    /// A stream has been opened; it counts until the value is dropped.
    pub fn open_stream(self: &Arc<Self>, name: impl Into<String>) -> HolderStream {
        let key = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let stream = Stream { name: name.into(), sequence: 0, roots: Vec::new(), until: None };
        self.with(|inner| inner.streams.insert(key, stream));
        HolderStream { table: Arc::clone(self), key }
    }
}

impl BundleHolders for HolderTable {
    fn behind(&self, question: &Question, now: SystemTime) -> Laggards {
        let mut behind = Laggards::default();
        self.with(|inner| {
            inner.leaves.retain(|_, l| now < l.not_after);
            for (serial, leaf) in &inner.leaves {
                let is_behind = match question {
                    Question::WithoutBundle(sequence) => leaf.sequence < *sequence,
                    Question::UnderRoot(root) => leaf.root == *root,
                };
                if is_behind {
                    behind.add(|| format!("{} (serial {serial})", leaf.id), Some(leaf.not_after));
                }
            }
            let away = |stream: &&Stream| stream.until.is_some_and(|until| until <= now);
            for stream in inner.streams.values().filter(|s| !away(s)) {
                let is_behind = match question {
                    Question::WithoutBundle(sequence) => stream.sequence < *sequence,
                    Question::UnderRoot(root) => stream.roots.contains(root),
                };
                if is_behind {
                    behind.add(|| stream.name.clone(), stream.until);
                }
            }
        });
        behind
    }
}

/// One stream in a [`HolderTable`].
#[derive(Debug)]
pub struct HolderStream {
    table: Arc<HolderTable>,
    key: u64,
}

impl HolderStream {
    /// The other end has acknowledged a bundle, and certificates that end at these roots, in place of what it had.
    pub fn acknowledge(&self, sequence: u64, roots: Vec<RootId>) {
        self.table.with(|inner| {
            if let Some(stream) = inner.streams.get_mut(&self.key) {
                (stream.sequence, stream.roots) = (sequence, roots);
            }
        });
    }

    /// The other end has gone, but may be back with what it has; it counts until its certificate ends at `until`. `None`: it is
    /// here.
    pub fn expect_back(&self, until: Option<SystemTime>) {
        self.table.with(|inner| {
            if let Some(stream) = inner.streams.get_mut(&self.key) {
                stream.until = until;
            }
        });
    }
}

impl Drop for HolderStream {
    fn drop(&mut self) {
        self.table.with(|inner| inner.streams.remove(&self.key));
    }
}
